"""What encoders that run a third party's network have in common."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from skgeo_embed.encoders.model_mixin import HUB_CONSTRAINTS, ModelMixin
from skgeo_embed.encoders.network import NETWORK_CONSTRAINTS, NetworkTransformer

if TYPE_CHECKING:
    import torch

    from skgeo_embed.models.loaded import LoadedEncoder


def store_parameters(estimator: Any, arguments: dict[str, Any]) -> None:
    """Store a constructor's arguments untouched: ``store_parameters(self, locals())``."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


class ThirdPartyEncoder(ModelMixin, NetworkTransformer):
    """Base of encoders that run a third party's network.

    A subclass says in `_open` how its file is opened. Without parameters of its own it inherits
    the constructor, and gives the defaults as keywords of the class:
    ``class SINREncoder(ThirdPartyEncoder, model="sinr")``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, Path],
        **NETWORK_CONSTRAINTS,
        **HUB_CONSTRAINTS,
    }

    def __init_subclass__(
        cls, *, model: str | None = None, normalize: bool = False, **keywords: Any
    ) -> None:
        super().__init_subclass__(**keywords)
        if model is not None:
            cls.__init__ = _with_defaults(model, normalize)  # type: ignore[method-assign]

    def __init__(
        self,
        model: str | Path = "",
        *,
        normalize: bool = False,
        device: str | torch.device | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        batch_size: int | None = None,
        on_invalid: Literal["raise", "nan"] = "raise",
        lon: str | int | None = None,
        lat: str | int | None = None,
        area_points: int | str = 64,
        area_statistic: Literal["mean", "std"] = "mean",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> None:
        store_parameters(self, locals())

    @abstractmethod
    def _open(self) -> LoadedEncoder:
        """Open the file that `model` names."""

    def _output(self, info: dict[str, Any]) -> tuple[str, int | None]:
        """Return the layer that is the output, and how many of its columns; None is all."""
        return "embedding", None

    def prepare(self) -> None:
        loaded = self._open()
        self._use_network(loaded, *self._output(loaded.info))


def _with_defaults(model: str, normalize: bool) -> Any:
    """Copy the shared constructor with other defaults, which scikit-learn reads from it."""
    shared: Any = ThirdPartyEncoder.__init__
    own = FunctionType(shared.__code__, shared.__globals__, "__init__", (model,))
    own.__kwdefaults__ = {**shared.__kwdefaults__, "normalize": normalize}
    own.__annotations__ = shared.__annotations__
    own.__qualname__ = shared.__qualname__
    return own
