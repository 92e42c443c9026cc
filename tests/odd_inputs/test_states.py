"""Odd states of estimators: parameters changed after `fit`, fits that fail, names left over."""

import copy
import inspect
import pickle
from decimal import Decimal
from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from skgeo_embed import ImageGeolocator, PositionalEncoder, SatCLIPImageEncoder
from tests.odd_inputs.arrays import structured
from tests.odd_inputs.checking import REFUSALS, check
from tests.odd_inputs.encoders import CLASSES, ENCODERS, LAT, LON, PLACES, features, fitted, make
from tests.odd_inputs.frames import swapped
from tests.odd_inputs.geometries import points
from tests.odd_inputs.test_geolocator import geolocator
from tests.odd_inputs.test_images import PIXELS, image_encoder

pytestmark = pytest.mark.slow
every_encoder = pytest.mark.parametrize("encoder", ENCODERS)


def parameters_of(encoder):
    return inspect.signature(CLASSES[encoder]).parameters


# --- parameters changed after fit


CHANGES = {  # after `fit` none of these may change anything
    "model": "nothing", "database": "nothing", "location_encoder": PositionalEncoder(),
    "location_encoder__layer": "hidden", "beta": 0.5, "month": 1, "year": 2020, "layer": "hidden",
    "n_components": 3, "scaling": "unit", "kind": "tag", "harmonics": "published",
    "harmonics_calculation": "closed-form", "legendre_polys": 3, "n_frequencies": 3,
    "min_radius": 9.0, "max_radius": 9.0, "normalize": True, "device": "gpu", "dtype": "float64",
    "batch_size": 1, "on_invalid": "nan", "lon": 1, "lat": 0, "token": "x", "revision": "x",
    "cache_dir": "/",
}  # fmt: skip
OWN_CHANGES = {  # where the others are what it has anyway
    "SatCLIPEncoder": {"layer": "embedding", "model": "bluemarble-l10"},
    "PositionalEncoder": {"kind": "wrap", "dtype": "float32"},
    "TTEEncoder": {"normalize": False},
}


def everything(estimator):
    """All that a fitted encoder does, in one list of numbers and texts."""
    refused = ""
    try:
        estimator.transform([[np.nan, 1.0]])
    except ValueError as error:
        refused = str(error)
    return [
        np.asarray(estimator.transform(PLACES), dtype=float).tolist(),
        np.asarray(estimator.transform_grid(LON, LAT), dtype=float).tolist(),
        str(estimator.transform(PLACES).dtype),
        list(estimator.get_feature_names_out()),
        refused,
    ]


@cache
def everything_of(encoder):
    return everything(fitted(encoder))


@pytest.mark.parametrize(
    ("encoder", "name", "value"),
    [
        pytest.param(encoder, name, value, id=f"{encoder}, {name}={value!r}")
        for encoder in ENCODERS
        for name, value in {**CHANGES, **OWN_CHANGES.get(encoder, {})}.items()
        if name.partition("__")[0] in parameters_of(encoder)
    ],
)
def test_parameters_changed_after_fit(encoder, name, value):
    changed = make(encoder).fit().set_params(**{name: value})
    check(lambda: everything(changed), lambda: everything_of(encoder))


@every_encoder
@pytest.mark.parametrize("how", ["pickle", "deepcopy"])
def test_copies_after_a_parameter_changed(encoder, how):
    changed = make(encoder).fit().set_params(on_invalid="nan")
    other = pickle.loads(pickle.dumps(changed)) if how == "pickle" else copy.deepcopy(changed)
    check(lambda: everything(other), lambda: everything_of(encoder))


def images_score(**changes):
    return ImageGeolocator(n_candidates=500).fit().set_params(**changes).score(PIXELS, PLACES)


def test_radius_of_a_geolocator_changed_after_fit():
    check(lambda: images_score(radius_km=1e5), images_score)


OF_IMAGES = {"device": "gpu", "resize": True, "batch_size": 1, "model": "nothing"}


def of_images(more):
    table = {**OF_IMAGES, **more}
    return pytest.mark.parametrize(("name", "value"), table.items(), ids=list(table))


@of_images({"n_candidates": 3})
def test_parameters_of_a_geolocator_changed_after_fit(name, value):
    changed = ImageGeolocator(n_candidates=500).fit().set_params(**{name: value})
    check(lambda: changed.predict(PIXELS), lambda: geolocator().predict(PIXELS))


@of_images({"normalize": True})
def test_parameters_of_an_image_encoder_changed_after_fit(name, value):
    changed = SatCLIPImageEncoder("bluemarble-l10").fit().set_params(**{name: value})
    check(lambda: changed.transform(PIXELS), lambda: image_encoder().transform(PIXELS))


# --- parameters that are refused, and fits that fail


BAD_PARAMETERS = {
    "device": ("gpu", "cuda:9", "cuda", "meta", 5, [], "cpu:7:7", ""),
    "dtype": ("float16", np.float32, None, 5),
    "batch_size": (0, -1, 2.5, "8", np.nan, 10.0),
    "on_invalid": ("ignore", None, True),
    "normalize": ("yes", None, 2),
    "layer": ("x", None, 5),
    "lon": ("no such column", 7),
    "local_files_only": ("yes",),
    "revision": (5,),
    "token": (5,),
    "month": (0, 13, -1, 0.999, 12.001, np.nan, np.inf, 10**400, True, [7], b"7", Decimal(7),
              np.array([7])),
    "year": (2020, 1e9, np.nan, True, [2020]),
    "n_components": (0, -1, 2.5, "8", np.nan, 10**6),
    "beta": (-0.1, 1.1, np.nan, np.inf, "0.5", [0.5]),
    "location_encoder": (5, "satclip-vit16-l40", Ridge()),
}  # fmt: skip


@pytest.mark.parametrize(
    ("encoder", "name", "value"),
    [
        pytest.param(encoder, name, value, id=f"{encoder}, {name}={value!r:.40}")
        for encoder in ENCODERS
        for name, values in BAD_PARAMETERS.items()
        if name in parameters_of(encoder)
        for value in values
    ],
)
def test_bad_parameters(encoder, name, value):
    check(lambda: make(encoder, **{name: value}).fit(PLACES), words=(name,))


FAILURES = {  # parameters that change before a second fit, and its places
    "bad places": ({}, [[2.5, 95.0]]),
    "booleans": ({}, PLACES > 3),
    "a bad parameter": ({"batch_size": 0}, PLACES),
    "no such device": ({"device": "gpu"}, PLACES),
    "no such model": ({"model": "./nowhere"}, PLACES),
    "no such database": ({"database": "./nowhere"}, PLACES),
    "no such month": ({"month": 13}, PLACES),
    "a year that the network does not take": ({"year": 2020}, PLACES),
    "no such column": ({"lon": "x"}, swapped()),
}


@pytest.mark.parametrize(
    ("encoder", "parameters", "X"),
    [
        pytest.param(encoder, parameters, X, id=f"{encoder}, {name}")
        for encoder in ENCODERS
        for name, (parameters, X) in FAILURES.items()
        if parameters.keys() <= parameters_of(encoder).keys()
    ],
)
def test_a_fit_that_fails_leaves_nothing_fitted(encoder, parameters, X):
    estimator = make(encoder).fit().set_params(**parameters)
    with pytest.raises(REFUSALS):
        estimator.fit(X)
    check(lambda: estimator.transform(PLACES), words=("not fitted",))


@pytest.mark.parametrize(
    ("estimator", "X", "method"),
    [
        (SatCLIPImageEncoder("bluemarble-l10"), PIXELS[0], "transform"),
        (ImageGeolocator(n_candidates=500), [[2.5, 95.0]], "predict"),
    ],
    ids=["SatCLIPImageEncoder", "ImageGeolocator"],
)
def test_a_fit_of_images_that_fails_leaves_nothing_fitted(estimator, X, method):
    estimator.fit()
    with pytest.raises(REFUSALS):
        estimator.fit(X)
    check(lambda: getattr(estimator, method)(PIXELS), words=("not fitted",))


@every_encoder
def test_transform_before_fit(encoder):
    check(lambda: make(encoder).transform(PLACES), words=("not fitted",))


# --- names of columns


NAMED_OTHERWISE = swapped("latitude", "longitude")
FITTED_AND_GIVEN = {  # what is fitted, what is transformed
    "nothing, a frame": ([None], swapped()),
    "a frame, another order": ([swapped()], swapped()[["lon", "lat"]]),
    "a frame, then nothing, other names": ([swapped(), None], NAMED_OTHERWISE),
}


@every_encoder
@pytest.mark.parametrize(("fits", "X"), FITTED_AND_GIVEN.values(), ids=list(FITTED_AND_GIVEN))
def test_names_that_are_read(encoder, fits, X):
    def act():
        estimator = make(encoder)
        for given in fits:
            estimator.fit(given)
        return estimator.transform(X)

    check(act, lambda: features(encoder, PLACES))


@every_encoder
def test_names_other_than_those_of_fit(encoder):
    check(lambda: make(encoder).fit(swapped()).transform(NAMED_OTHERWISE), words=("feature names",))


@every_encoder
def test_a_new_fit_forgets_names(encoder):
    check(lambda: hasattr(make(encoder).fit(swapped()).fit(), "feature_names_in_"), lambda: False)


@every_encoder
def test_transform_changes_no_attribute(encoder):
    estimator = make(encoder).fit()
    before = {key: repr(value) for key, value in vars(estimator).items()}
    for given in (swapped(), points(4326), structured()):
        estimator.transform(given)
    estimator.transform_grid(LON, LAT)
    assert {key: repr(value) for key, value in vars(estimator).items()} == before
