"""The encoders of a process: each held once, whoever uses it, and how they are pickled."""

from __future__ import annotations

import json
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from skgeo_embed._errors import ModelFormatError
from skgeo_embed.nn.inference import InferenceEngine
from skgeo_embed.nn.location import EncodedNetwork

_BY_NAME = ("bundled", "hub")


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """A frozen location encoder with the facts about where it came from.

    Instances are shared: the same weights are held once in a process, however many
    estimators use them, so copies of an instance are the instance. Bundled encoders and
    those of the hub are pickled by name, others by value.
    """

    engine: InferenceEngine
    info: dict[str, Any]
    default_layer: str = "embedding"
    request: dict[str, Any] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, Any]) -> LoadedEncoder:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self.info["source"] in _BY_NAME:
            return _open_again, (self.request, self.info["sha256"])
        return _rebuild, (self.engine, self.info, self.default_layer)


# What pickles open is held for the process's next task: each partition of a cluster's table
# brings its own pickle, and the weights and tables are to be loaded once a worker.
_opened: deque[LoadedEncoder] = deque(maxlen=2)
_shared: weakref.WeakValueDictionary[tuple[str, str], LoadedEncoder] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _open_again(request: dict[str, Any], expected_sha256: str) -> LoadedEncoder:
    """Open what a pickle names, and insist on the same weights."""
    from skgeo_embed.checkpoints.loading import open_location_encoder

    loaded = open_location_encoder(**request)
    if expected_sha256 != loaded.info["sha256"]:
        raise ModelFormatError(
            f"the encoder {request['model']!r} now has other weights (sha256 "
            f"{loaded.info['sha256'][:12]}…) than the pickled object was made with "
            f"({expected_sha256[:12]}…); use the version it was made with, or fit again."
        )
    return _hold(loaded)


def _rebuild(engine: InferenceEngine, info: dict[str, Any], default_layer: str) -> LoadedEncoder:
    config = engine.module.config
    variant = variant_of(config, str(config.get("harmonics", "exact")))
    return _hold(share_encoder(info, default_layer, variant, {}, lambda: engine.module))


def variant_of(description: dict[str, Any] | None, harmonics: str) -> str:
    """What else than the weights' file makes an encoder what it is."""
    return json.dumps({**(description or {}), "harmonics": harmonics}, sort_keys=True, default=str)


def _hold(loaded: LoadedEncoder) -> LoadedEncoder:
    with _lock:
        if loaded not in _opened:
            _opened.append(loaded)
    return loaded


def share_encoder(
    info: dict[str, Any],
    default_layer: str,
    variant: str,
    request: dict[str, Any],
    build: Callable[[], EncodedNetwork],
) -> LoadedEncoder:
    """Return the process's encoder with these weights and facts, building it on first use."""
    weights = f"{info['sha256']}:{variant}"
    key = (weights, f"{info['source']}:{info['name']}:{info['path']}:{sorted(request.items())}")
    with _lock:
        loaded = _shared.get(key)
        if loaded is None:
            twin = next((other for k, other in _shared.items() if k[0] == weights), None)
            engine = twin.engine if twin is not None else InferenceEngine(build())
            facts = {**info, **engine.module.config}
            loaded = LoadedEncoder(engine, facts, default_layer, request)
            _shared[key] = loaded
        return loaded
