"""Packages that the export needs."""

from __future__ import annotations

from importlib.util import find_spec


def check_packages(*names: str) -> None:
    """Refuse to go on if packages are missing, which the message names."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ImportError(f'to_onnx needs {", ".join(missing)}: pip install "skgeo-embed[onnx]"')
