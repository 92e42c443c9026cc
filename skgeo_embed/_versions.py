"""Versions and hardware, for bug reports."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    ("required", ("numpy", "pandas", "scikit-learn", "torch", "lightning", "safetensors")),
    ("hub", ("huggingface_hub", "hf-xet")),
    ("optional", ("matplotlib", "pillow", "rasterio", "geopandas", "pyarrow", "polars")),
    ("scale", ("xarray", "zarr", "dask", "distributed", "ray")),
)


def show_versions() -> None:
    """Print the versions of relevant packages, the device and the cache folder, for bug reports.

    Examples
    --------
    >>> import skgeo_embed
    >>> skgeo_embed.show_versions()  # doctest: +ELLIPSIS
    skgeo-embed ...
    """
    import torch

    from skgeo_embed import __version__
    from skgeo_embed._files import cache_folder
    from skgeo_embed.nn.inference.devices import resolve_device

    print(f"skgeo-embed {__version__}")
    print(f"python      {sys.version.split()[0]} on {platform.platform()}, {os.cpu_count()} cores")
    for heading, names in _PACKAGES:
        print(f"{heading:11} {', '.join(f'{name} {_version(name)}' for name in names)}")
    print(f"device      {resolve_device(None)}, {torch.get_num_threads()} threads")
    try:
        cache = str(cache_folder())
    except OSError as error:
        cache = f"cannot be used: {error}"
    print(f"cache       {cache}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
