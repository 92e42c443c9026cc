"""Files in ONNX: they give what the estimators give, everywhere, and say what they are."""

import json
import os

import numpy as np
import pytest

from skgeo_embed import PositionalEncoder, SatCLIPEncoder, to_onnx
from skgeo_embed.export.checks import places_to_check
from tests.encoders.zoo import GLOBAL, MAKERS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RELATIVE = 1e-5
IN_TORCH_ALONE = [name for name in GLOBAL if name != "range"]


def _places(n):
    random = np.random.default_rng(7)
    sine = random.uniform(-1, 1, n)
    return np.column_stack([random.uniform(-180, 360, n), np.rad2deg(np.arcsin(sine))])


def _run(path, lonlat):
    return onnxruntime.InferenceSession(path).run(None, {"lonlat": np.asarray(lonlat, float)})


def _small(**options):
    return PositionalEncoder(legendre_polys=3, dtype="float32", **options)


def _assert_same(found, expected):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert np.abs(found - expected).max() <= RELATIVE * np.abs(expected).max()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A network encoder, its file, and the deviation that was returned."""
    encoder = MAKERS["module"](dtype="float64").fit()
    path = tmp_path_factory.mktemp("onnx") / "encoder.onnx"
    return encoder, path, to_onnx(encoder, path)


def test_constants_keep_double_precision(written):
    """torch's own step to ONNX rounds 1 / 180 and the like to single precision: 1e-7 then."""
    encoder, path, deviation = written
    places = places_to_check()
    found = np.abs(_run(path, places)[0] - encoder.transform(places)).max()
    assert deviation == found < 1e-13


@pytest.mark.parametrize("n", [1, 2, 300])
def test_takes_any_number_of_places(written, n):
    encoder, path, _ = written
    _assert_same(_run(path, _places(n))[0], encoder.transform(_places(n)))


def test_both_notations_and_poles_are_one_place(written):
    _, path, _ = written
    places = [[180, 10], [-180, 10], [350, 5], [-10, 5], [3, 90], [200, 90], [3, -90], [9, -90]]
    first, second = _run(path, places)[0].reshape(4, 2, -1).swapaxes(0, 1)
    np.testing.assert_array_equal(first, second)


def test_invalid_places_are_nan_and_the_others_are_not(written):
    encoder, path, _ = written
    places = [[np.nan, 1], [1, np.nan], [361, 1], [-181, 1], [1, 91], [1, -91], [np.inf, 1], [7, 8]]
    found = _run(path, places)[0]
    assert np.isnan(found[:-1]).all()
    _assert_same(found[-1:], encoder.transform(places[-1:]))


def test_values_beyond_the_limit_by_rounding_count_as_the_limit(written):
    encoder, path, _ = written
    places = [[360 + 5e-10, 90 + 5e-10], [-180 - 5e-10, 3]]
    _assert_same(_run(path, places)[0], encoder.transform(places))


def test_metadata_says_what_the_file_is(written):
    encoder, path, deviation = written
    facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    info = json.loads(facts["encoder_info"])
    assert info["sha256"] == encoder.encoder_info_["sha256"]
    assert "path" not in info
    assert float(facts["largest_deviation"]) == deviation
    assert json.loads(facts["feature_names"]) == list(encoder.get_feature_names_out())
    assert facts["encoder"] == "SatCLIPEncoder"


def test_one_file(written):
    _, path, _ = written
    assert os.listdir(path.parent) == [path.name]


def test_the_file_does_not_say_where_it_was_made(written):
    """torch notes lines of code, with their folders, at every operation."""
    _, path, _ = written
    assert b".py" not in path.read_bytes()


def test_encoders_that_cannot_be_exported_are_named(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(TypeError, match="RANGEEncoder cannot be exported"):
        to_onnx(MAKERS["range"]().fit(), path)
    with pytest.raises(ValueError, match='area_statistic="mean", got "std"'):
        to_onnx(_small(area_statistic="std").fit(), path)
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_TORCH_ALONE)
def test_every_network_encoder(tmp_path, name):
    encoder = MAKERS[name]().fit()
    to_onnx(encoder, tmp_path / "encoder.onnx")
    places = _places(10_000)
    _assert_same(_run(tmp_path / "encoder.onnx", places)[0], encoder.transform(places))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"layer": "embedding"}, {"layer": "content"}, {"layer": "hidden", "n_components": 64}],
    ids=str,
)
def test_every_layer_of_the_default_in_20_mb(tmp_path, options):
    encoder = SatCLIPEncoder(**options).fit()
    to_onnx(encoder, tmp_path / "encoder.onnx")
    assert (tmp_path / "encoder.onnx").stat().st_size < 20.5e6
    places = _places(10_000)
    _assert_same(_run(tmp_path / "encoder.onnx", places)[0], encoder.transform(places))
