"""Odd candidates, truths and temperatures in `ImageGeolocator`."""

from functools import cache

import dask.dataframe
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import Ridge

from skgeo_embed import ImageGeolocator, SatCLIPEncoder
from skgeo_embed.models.registry import WEIGHTS_FOLDER
from skgeo_embed.nn.location import LocationEncoder
from tests.odd_inputs.arrays import ARRAYS, with_value
from tests.odd_inputs.checking import BAD_FILE, by_name, check, each, refuses, shown
from tests.odd_inputs.encoders import LON, PLACES
from tests.odd_inputs.frames import PANDAS, TABLES, frame
from tests.odd_inputs.test_images import PIXELS

pytestmark = pytest.mark.slow
CANDIDATES = [
    *ARRAYS[:6],
    *(odd for odd in ARRAYS if odd.words and ("mask" in odd.name or "bool" in odd.name)),
    *PANDAS[:10],
    *(odd for odd in TABLES if not odd.options),
    refuses("dask frame", lambda: dask.dataframe.from_pandas(frame(LON), npartitions=1), "compute"),
]


@cache
def geolocator():
    return ImageGeolocator("bluemarble-l10", n_candidates=500).fit()


@each(CANDIDATES)
def test_candidates(odd):
    odd.check(lambda X: ImageGeolocator().fit(X).candidates_, lambda: odd.places_or(PLACES))


@pytest.mark.parametrize("k", [0, 501, -1, 2.5, "3", None, np.nan], ids=shown)
def test_number_of_places(k):
    check(lambda: geolocator().predict_top_k(PIXELS, k), words=("k must",))


TRUTHS = [
    refuses("fewer", lambda: PLACES[:2], "3 images", "2 coordinates"),
    refuses("booleans", lambda: PLACES > 3, "booleans"),
    refuses("NaN", lambda: with_value(np.nan, float), "NaN"),
    refuses("masked", lambda: np.ma.masked_equal(PLACES, 1.75), "NaN"),
    next(odd for odd in PANDAS if odd.name == "lat, lon"),
]


@each(TRUTHS)
def test_truths(odd):
    odd.check(
        lambda places: geolocator().score(PIXELS, places),
        lambda: geolocator().score(PIXELS, PLACES),
    )


MODELS = {
    "an estimator": (Ridge(), ("Ridge", "two towers")),
    "a class": (Ridge, ("model",)),
    "None": (None, ("model",)),
    "a layer": (torch.nn.Linear(2, 2), ("two-tower",)),
    "a location tower": (LocationEncoder(4, 8, 8), ("two-tower",)),
    "an encoder": (SatCLIPEncoder("bluemarble-l10"), ("two towers",)),
}


@by_name("model, words", MODELS)
def test_models(model, words):
    check(lambda: ImageGeolocator(model).fit(), words=words)


SCALES = {
    "NaN": (np.nan, "NaN"),
    "infinite": (np.inf, "infinite"),
    "800, which makes the temperature zero": (800.0, ""),
    "120, which makes it zero in single precision": (120.0, ""),
    "-800, which makes it infinite": (-800.0, ""),
    "two numbers": ([1.0, 2.0], ""),
    "missing": (None, ""),
}


@by_name("scale, word", SCALES)
def test_logit_scales(scale, word, tmp_path):
    """The bundled two towers with another temperature."""
    source = WEIGHTS_FOLDER / "bluemarble-l10"
    weights = load_file(source / "model.safetensors")
    weights.pop("logit_scale")
    if scale is not None:
        weights["logit_scale"] = torch.tensor(scale)
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    check(
        lambda: ImageGeolocator(tmp_path, n_candidates=50).fit().predict(PIXELS),
        words=("logit_scale", word),
        kinds=BAD_FILE,
    )
