"""The bands that a fitted model has of a place, computed in one pass over its encoders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count, islice
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._errors import UsageError
from skgeo_embed.encoders.shared_encodings import shared_encodings
from skgeo_embed.places.numbers import to_numpy
from skgeo_embed.prediction.applicability import AreaOfApplicability
from skgeo_embed.streaming.maps.layers import Layer, class_dtype

AXES = ("lon", "lat", "x", "y", "spatial_ref")
NOT_IN_NAMES = re.compile(r"[/\x00-\x1f]")  # Zarr and HDF5 read the slash as a path
LONGEST_NAME = 100  # of characters: a variable is a folder in Zarr


class ModelValues:
    """The bands of a fitted model.

    Parameters
    ----------
    model : estimator object
        Fitted, with `predict`.
    beside : bool
        Whether it takes places as `coords` beside X.
    probabilities : bool
        Whether to add the probability of each class.
    applicability : AreaOfApplicability, Pipeline that ends in one, or None
        Adds its index and its verdict.
    names, units : str, sequence of str, or None
        Of the predictions.
    floats : str or None
        Type of bands that are not classes; None is the model's own.
    codes : str or None
        Type of classes; None is the smallest that has room for them.

    Raises
    ------
    UsageError
        If the model cannot give what is asked for.
    """

    def __init__(
        self,
        model: Any,
        *,
        beside: bool,
        probabilities: bool,
        applicability: Any,
        names: str | Sequence[str] | None,
        units: str | Sequence[str] | None,
        floats: str | None,
        codes: str | None,
    ) -> None:
        if not hasattr(model, "predict"):
            raise UsageError(
                f"{type(model).__name__} has no predict. For a map of an encoder's features use "
                "encode_grid."
            )
        self._model = model
        self._beside = beside
        self._classifies = is_classifier(model)
        if probabilities and not (self._classifies and hasattr(model, "predict_proba")):
            raise UsageError(
                f"probabilities=True, but {type(model).__name__} "
                + ("has no predict_proba." if self._classifies else "is not a classifier.")
            )
        if not self._classifies and codes is not None and np.dtype(codes).kind in "iu":
            raise UsageError(f'dtype="{codes}" would round predictions; choose float32 or float64.')
        self._probabilities = probabilities
        self._intervals = not self._classifies and _interval_maker(model) is not None
        self._area = _checked_area(applicability)
        self._names, self._units = names, units
        self._floats_wanted, self._codes_wanted = floats, codes
        if self._classifies and isinstance(getattr(model, "classes_", None), list):
            raise UsageError("a map of several class outputs is not possible; fit one model each.")

    def layers(self, found: Sequence[np.ndarray]) -> list[Layer]:
        """Describe the bands, from some of their values."""
        layers = [
            *(self._class_layers() if self._classifies else self._number_layers(found)),
            *self._area_layers(),
        ]
        _check_names([layer.name for layer in layers])
        return layers

    def compute(self, table: Any, lonlat: np.ndarray) -> list[np.ndarray]:
        """Return the values of each layer, (n,) or (n, bands)."""
        given = {"coords": lonlat} if self._beside else {}
        with shared_encodings():
            make = self._classes if self._classifies else self._numbers
            found = make(table, given)
            if self._area is not None:
                index, inside = _applicability(self._area, self._model, table)
                found += [index, inside]
        return found

    def _classes(self, table: Any, given: dict[str, Any]) -> list[np.ndarray]:
        classes = np.asarray(self._model.classes_)
        labels = to_numpy(self._model.predict(table, **given))
        order = np.argsort(classes)
        found = [order[np.searchsorted(classes[order], labels)]]
        if self._probabilities:
            found += list(to_numpy(self._model.predict_proba(table, **given)).T)
        return found

    def _numbers(self, table: Any, given: dict[str, Any]) -> list[np.ndarray]:
        predicted = to_numpy(self._model.predict(table, **given))
        found = [predicted] if predicted.ndim == 1 else list(predicted.T)
        if self._intervals:
            make, transformed = _interval_maker(self._model), table
            for step in make.before:  # type: ignore[union-attr]
                transformed = step.transform(transformed)
            found += list(make.estimator.interval_around(found[0], transformed, **given).T)  # type: ignore[union-attr]
        return found

    def _class_layers(self) -> list[Layer]:
        classes = tuple(np.asarray(self._model.classes_).tolist())
        name = "class" if self._names is None else _one(self._names, "name", 1)[0]
        codes = class_dtype(len(classes), self._codes_wanted)
        found = [Layer(name, codes, "predicted class", classes=classes)]
        if self._probabilities:
            floats = self._floats(np.dtype("float32"))
            names = _variables([f"probability_{one}" for one in classes])
            found += [
                Layer(variable, floats, f"probability of {one}")
                for variable, one in zip(names, classes, strict=True)
            ]
        return found

    def _number_layers(self, found: Sequence[np.ndarray]) -> list[Layer]:
        n_outputs = len(found) - 2 * self._intervals - 2 * (self._area is not None)
        default = (
            ["prediction"] if n_outputs == 1 else [f"prediction_{i}" for i in range(n_outputs)]
        )
        names = default if self._names is None else _one(self._names, "name", n_outputs)
        units = [""] * n_outputs if self._units is None else _one(self._units, "units", n_outputs)
        floats = self._floats(
            np.result_type(*(part.dtype for part in found[:n_outputs]), "float32")
        )
        layers = [
            Layer(name, floats, "prediction" if name in default else name, unit)
            for name, unit in zip(names, units, strict=True)
        ]
        if self._intervals:
            level = _interval_maker(self._model).estimator.confidence_level  # type: ignore[union-attr]
            layers += [
                Layer(bound, floats, f"{bound} bound of the {level:.0%} interval", units[0])
                for bound in ("lower", "upper")
            ]
        return layers

    def _area_layers(self) -> list[Layer]:
        if self._area is None:
            return []
        return [
            Layer("dissimilarity", np.dtype("float32"), "dissimilarity index", "1"),
            Layer("applicable", np.dtype("uint8"), "1 inside the area of applicability, 0 outside"),
        ]

    def _floats(self, own: np.dtype) -> np.dtype:
        return own if self._floats_wanted is None else np.dtype(self._floats_wanted)


class _IntervalMaker:
    """The estimator that gives intervals, and the steps before it."""

    def __init__(self, estimator: Any, before: list[Any]) -> None:
        self.estimator, self.before = estimator, before


def _interval_maker(model: Any) -> _IntervalMaker | None:
    before: list[Any] = []
    while True:
        if hasattr(model, "interval_around"):
            return _IntervalMaker(model, before)
        if isinstance(model, Pipeline):
            before += [step for _, step in model.steps[:-1] if step not in (None, "passthrough")]
            model = model.steps[-1][1]
        elif hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        else:
            return None


def _checked_area(area: Any) -> Any:
    last = area.steps[-1][1] if isinstance(area, Pipeline) else area
    if area is not None and not isinstance(last, AreaOfApplicability):
        raise UsageError(
            "applicability must be a fitted AreaOfApplicability or a pipeline that ends in one, "
            f"got {type(area).__name__}."
        )
    if area is not None:
        check_is_fitted(last)
    return area


def _applicability(area: Any, model: Any, table: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of rows, and 1 where the model may be believed."""
    if isinstance(area, Pipeline):
        table, area = area[:-1].transform(table), area.steps[-1][1]
    elif not area.takes_tables:
        table = _features(model, area, table)
    index = area.dissimilarity(table)
    return index, (index <= area.threshold_).astype(np.uint8)


def _features(model: Any, area: AreaOfApplicability, table: Any) -> Any:
    """Return what the last step of a model reads, which `area` was fitted on."""
    from skgeo_embed.prediction.inner_models import features_of_model

    features = features_of_model(model, table)
    if features.shape[1] != area.n_features_in_:
        raise UsageError(
            f"applicability was fitted on {area.n_features_in_} features, and the model's last "
            f"step reads {features.shape[1]}; make it by AreaOfApplicability.from_model(model, X)."
        )
    return features


def _variables(names: list[str]) -> list[str]:
    """Return names that files can have, none of them twice; GeoTIFFs, Zarr and HDF5 differ."""
    found: list[str] = []
    for name in names:
        plain = NOT_IN_NAMES.sub("_", name)[:LONGEST_NAME]
        again = (f"{plain}_{number}" for number in count(2))
        found.append(next(one for one in (plain, *islice(again, len(names))) if one not in found))
    return found


def _check_names(names: list[str]) -> None:
    for number, name in enumerate(names):
        reason = ""
        if name in names[:number]:
            reason = "is there twice"
        elif name in AXES:
            reason = "is the name of an axis"
        elif name in ("", ".", "..") or NOT_IN_NAMES.search(name) or len(name) > 2 * LONGEST_NAME:
            reason = 'cannot be written to files (it is empty or long, or holds "/")'
        if reason:
            raise UsageError(
                f"the bands of the map would be {', '.join(map(repr, names))}, of which {name!r} "
                f"{reason}; choose another with name=."
            )


def _one(given: str | Sequence[str], what: str, count: int) -> list[str]:
    """Read a text for each output."""
    texts = [given] if isinstance(given, str) else list(given)
    if len(texts) != count or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"{what} must be {count} text(s), one for each output; got {given!r}.")
    return texts
