"""Loaded encoders: a process holds the same weights once, and a pickle says how to open them."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from operator import attrgetter
from typing import Any, TypeVar

from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models.hub import HubOptions
from skgeo_embed.models.model_file import ModelFile, Origin
from skgeo_embed.models.registry import hub_encoders
from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.inference.engine import InferenceEngine
from skgeo_embed.nn.inference.images import ImageEngine
from skgeo_embed.nn.inference.locks import ForkSafeLock
from skgeo_embed.nn.location import EncodedNetwork


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """A frozen location encoder with the facts about where it came from.

    Engines are shared: the same weights are held once in a process, however many estimators use
    them, so copies of an instance are the instance.

    Attributes
    ----------
    engine : InferenceEngine
        The network.
    variant : str
        Distinguishes the engines of one file.
    info : dict
        Name, source, path, revision, sha256, licence, training data and sizes.
    default_layer : str
        The layer that the model declares as its default.
    details : dict
        Further facts about its training.
    reopen : callable or None
        Opens it again: a pickle holds this in place of the weights. With None it holds the weights.
    content : callable or None
        Reads the content layers that it was made of, if there are any.
    """

    engine: InferenceEngine
    variant: str
    info: dict[str, Any]
    default_layer: str = "embedding"
    details: dict[str, Any] = field(default_factory=dict)
    reopen: Callable[[], LoadedEncoder] | None = None
    content: Callable[[], ContentLayers | None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> LoadedEncoder:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self.reopen is not None:
            held = (self.info["name"], self.info["sha256"], self.variant)
            return _open_again, (self.reopen, *held)
        return _rebuild, (
            self.engine, self.variant, self.info, self.default_layer, self.details, self.content,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:  # of skops; pickle asks __reduce__
        return _describe(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(_open_described(state)))


@dataclass(frozen=True, eq=False)
class LoadedTower:
    """A frozen image tower with the facts about where it came from.

    Attributes
    ----------
    engine : ImageEngine
        The network.
    info : dict
        Name, source, path, revision, sha256, licence and training data.
    reopen : callable or None
        Opens it again: a pickle holds this in place of the weights. With None it holds the weights.
    """

    engine: ImageEngine
    info: dict[str, Any]
    reopen: Callable[[], LoadedTower] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> LoadedTower:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self.reopen is not None:
            return _open_again, (self.reopen, self.info["name"], self.info["sha256"])
        return LoadedTower, (self.engine, self.info)


# what skops may open, by module and name, since these modules import this one
OPENERS = {
    "location": ("opening", "open_location_encoder"),
    "content": ("opening", "open_content"),
    **{name: (f"third_party.{name}", f"{name.upper()}.open") for name in hub_encoders()},
}
Loaded = TypeVar("Loaded", LoadedEncoder, LoadedTower)

# each partition of a cluster's table brings a pickle of its own, but a worker loads weights once
_opened: deque[InferenceEngine] = deque(maxlen=2)
_engines: weakref.WeakValueDictionary[str, InferenceEngine] = weakref.WeakValueDictionary()
_lock = ForkSafeLock()


def share_engine(sha256: str, variant: str, build: Callable[[], EncodedNetwork]) -> InferenceEngine:
    """Return the process's engine with these weights, building it on first use."""
    key = f"{sha256}:{variant}"
    with _lock:
        engine = _engines.get(key)
        if engine is None:
            engine = InferenceEngine(build())
            _engines[key] = engine
        return engine


def load_encoder(
    file: ModelFile,
    variant: str,
    build: Callable[[], EncodedNetwork],
    *,
    reopen: Callable[[], LoadedEncoder] | None = None,
    content: Callable[[], ContentLayers | None] | None = None,
) -> LoadedEncoder:
    """Build a file's location encoder, or take the one that the process has, with its facts."""
    engine = share_engine(file.origin.sha256, variant, build)
    info = {**file.facts, **engine.module.config}
    return LoadedEncoder(engine, variant, info, file.default_layer, file.details, reopen, content)


def reopening(
    open_model: Callable[..., Any], origin: Origin, options: HubOptions, **arguments: Any
) -> Callable[[], Any] | None:
    """Return what a pickle holds of a model with a name: how to open it again, at its commit."""
    if origin.source not in ("bundled", "hub"):
        return None
    return partial(open_model, origin.name, options=options.pinned(origin.revision), **arguments)


def _open_again(
    reopen: Callable[[], Loaded],
    name: str,
    expected_sha256: str,
    expected_variant: str | None = None,
) -> Loaded:
    """Open what a pickle names, and insist on the same weights and on the same use of them."""
    loaded = reopen()
    if expected_sha256 != loaded.info["sha256"]:
        raise ModelFormatError(
            f"the encoder {name!r} now has other weights (sha256 "
            f"{loaded.info['sha256'][:12]}…) than the pickled object was made with "
            f"({expected_sha256[:12]}…); use the version it was made with, or fit again."
        )
    if isinstance(loaded, LoadedEncoder):
        if expected_variant not in (None, loaded.variant):
            raise ModelFormatError(
                f"the description of the encoder {name!r} has changed since the object was "
                "pickled, although its weights are the same; use the version it was made with, or "
                "fit again."
            )
        _hold(loaded.engine)
    return loaded


def _rebuild(
    engine: InferenceEngine,
    variant: str,
    info: dict[str, Any],
    default_layer: str,
    details: dict[str, Any],
    content: Callable[[], ContentLayers | None] | None = None,
) -> LoadedEncoder:
    shared = share_engine(info["sha256"], variant, lambda: engine.module)
    _hold(shared)
    return LoadedEncoder(shared, variant, info, default_layer, details, content=content)


def _hold(engine: InferenceEngine) -> None:
    with _lock:
        if engine not in _opened:
            _opened.append(engine)


def _describe(loaded: LoadedEncoder) -> dict[str, Any]:
    """Return what opens an encoder of the package or of the hub again, at its commit.

    Raises
    ------
    TypeError
        If the encoder has no such name, or opening it may run code.
    """
    reopen: Any = loaded.reopen
    function = getattr(reopen, "func", None)
    opener = next((name for name in OPENERS if function == _opener(name)), "")
    settings = dict(reopen.keywords) if opener else {}
    if not opener or settings.pop("allow_pickle", False):
        why = "opening it needs allow_pickle=True" if opener else "it has no name that opens it"
        raise TypeError(
            f"the encoder {loaded.info['name']!r} cannot be described without its weights: {why}. "
            "Use a bundled encoder or one that the hub has; or write the model with pickle or "
            "to_onnx."
        )
    options = settings.pop("options")
    return {
        "opener": opener,
        "model": reopen.args[0],
        "revision": options.revision,
        "cache_dir": None if options.cache_dir is None else str(options.cache_dir),
        "local_files_only": options.local_files_only,
        "settings": settings,
        "name": loaded.info["name"],
        "sha256": loaded.info["sha256"],
        "variant": loaded.variant,
    }


def _open_described(state: dict[str, Any]) -> LoadedEncoder:
    """Open what :func:`_describe` returned; a file that runs code when it is opened is refused."""
    options = HubOptions(
        state["revision"], state["cache_dir"], local_files_only=state["local_files_only"]
    )
    settings = {key: value for key, value in state["settings"].items() if key != "allow_pickle"}

    def reopen() -> LoadedEncoder:
        return _opener(state["opener"])(state["model"], options=options, **settings)

    return _open_again(reopen, state["name"], state["sha256"], state["variant"])


def _opener(name: str) -> Callable[..., LoadedEncoder]:
    module, function = OPENERS[name]
    return attrgetter(function)(import_module(f"skgeo_embed.models.{module}"))
