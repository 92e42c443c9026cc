"""How estimators show themselves in notebooks."""

from __future__ import annotations

from html import escape
from typing import Any, ClassVar

from sklearn.utils import estimator_html_repr

_FACTS = {
    "name": "model",
    "layer": "layer",
    "legendre_polys": "L",
    "embed_dim": "embedding columns",
    "hidden_dim": "hidden columns",
    "harmonics": "harmonics",
    "trained_on": "trained on",
    "licence": "licence",
    "source": "source",
    "revision": "revision",
    "sha256": "sha256",
}
_DIGITS = 12  # of a hash that are shown


class NotebookMixin:
    """Links to this library's documentation, and the facts of what was loaded."""

    _doc_link_module: ClassVar[str] = "skgeo_embed"
    _doc_link_template = (
        "https://skgeo-embed.readthedocs.io/en/latest/generated/skgeo_embed.{estimator_name}.html"
    )

    def _html_repr(self) -> str:
        return estimator_html_repr(self) + facts_table(getattr(self, "encoder_info_", {}))

    def _repr_html_inner(self) -> str:  # what scikit-learn before 1.7 calls
        return self._html_repr()


def facts_table(info: dict[str, Any]) -> str:
    """Write what is known about a model as an HTML table; nothing where nothing is known."""
    rows = []
    for key, label in _FACTS.items():
        value = info.get(key)
        if value is not None:
            text = str(value)[:_DIGITS] + "…" if key in ("sha256", "revision") else str(value)
            rows.append(f"<tr><th>{label}</th><td>{escape(text)}</td></tr>")
    if not rows:
        return ""
    return f"<table><caption>what was loaded</caption>{''.join(rows)}</table>"
