"""Display of estimators in notebooks and as text, without access tokens."""

from __future__ import annotations

from html import escape
from itertools import product
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
HIDDEN = "<hidden>"


class HiddenText(str):
    """An access token that works as text but is not shown by `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN


class HiddenBytes(bytes):
    """An access token of bytes that is not shown by `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN


_HIDING: dict[type, type] = {str: HiddenText, bytes: HiddenBytes}


class NotebookMixin:
    """Adds links to this library's documentation, and facts about the loaded model."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of nested estimators.

        Returns
        -------
        params : dict
            Names and values. An access token equals the one that was passed, but its `repr` does
            not show it.
        """
        # whatever prints an estimator, or one around it, takes the values from here
        params: dict[str, Any] = super().get_params(deep=deep)  # type: ignore[misc]
        tokens = [name for name in params if name.rpartition("__")[2] == "token"]
        for name, (kind, hiding) in product(tokens, _HIDING.items()):
            if isinstance(params[name], kind) and not isinstance(params[name], hiding):
                params[name] = hiding(params[name])
        return params

    def __sklearn_clone__(self) -> Any:
        copy = super().__sklearn_clone__()  # type: ignore[misc]
        if "token" in vars(self):
            copy.token = self.token  # type: ignore[attr-defined]
        return copy

    _doc_link_module: ClassVar[str] = "skgeo_embed"
    _doc_link_template = (
        "https://skgeo-embed.readthedocs.io/en/latest/generated/skgeo_embed.{estimator_name}.html"
    )

    def _html_repr(self) -> str:
        return estimator_html_repr(self) + facts_table(getattr(self, "encoder_info_", {}))

    def _repr_html_inner(self) -> str:  # what scikit-learn before 1.7 calls
        return self._html_repr()


def facts_table(info: dict[str, Any]) -> str:
    """Write the known facts about a model as an HTML table, or nothing if there are none."""
    rows = []
    for key, label in _FACTS.items():
        value = info.get(key)
        if value is not None:
            text = str(value)[:_DIGITS] + "…" if key in ("sha256", "revision") else str(value)
            rows.append(f"<tr><th>{label}</th><td>{escape(text)}</td></tr>")
    if not rows:
        return ""
    return f"<table><caption>loaded model</caption>{''.join(rows)}</table>"
