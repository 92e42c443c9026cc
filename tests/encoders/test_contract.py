"""What every transformer of places promises, for each of them."""

import copy
import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skgeo_embed import CoordinateError, SatCLIPEncoder
from tests.encoders.zoo import GLOBAL, MAKERS

# within zone 48 N, which every one of them knows
PLACES = np.array([[103.76, 1.32], [104.0, 1.5], [105.5, 7.25]])

every = pytest.mark.parametrize("name", MAKERS)
every_global = pytest.mark.parametrize("name", GLOBAL)


@every
def test_what_is_masked_is_missing(name):
    X = np.ma.masked_equal([[0.0, 0.0], *PLACES], 0.0)
    with pytest.raises(CoordinateError, match=r"1 row\(s\) with NaN, out of 4 \(first: row 0\)"):
        MAKERS[name]().fit(X)
    encoder = MAKERS[name](on_invalid="nan").fit(X)
    features = encoder.transform(X)
    assert np.isnan(features[0]).all()
    np.testing.assert_allclose(features[1:], encoder.transform(PLACES), rtol=1e-5, atol=1e-6)


@every
def test_the_tags_say_which_type_the_output_has(name):
    """RANGE's said float64, whatever its `dtype`."""
    encoder = MAKERS[name]()
    if "dtype" in encoder.get_params():
        assert get_tags(encoder).transformer_tags.preserves_dtype == [encoder.dtype]


@every
def test_masked_axes_are_missing(name):
    axis = np.ma.masked_equal([0.0, 104.0], 0.0)
    encoder = MAKERS[name]().fit()
    with pytest.raises(CoordinateError, match="row 0"):
        encoder.transform_grid(axis, [1.0])
    with pytest.raises(CoordinateError, match="row 0"):
        encoder.transform_grid([104.0], np.ma.masked_equal([0.0, 1.0], 0.0))


@every_global
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_grids_agree_with_points_everywhere(name, dtype):
    encoder = MAKERS[name](dtype=dtype).fit()
    lon, lat = np.array([-180.0, -77.3, 0.0, 45.0, 180.0, 360.0]), np.array([-90.0, -60, 0, 90])
    grid = encoder.transform_grid(lon, lat)
    points = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
    expected = encoder.transform(points).reshape(grid.shape)
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(grid, expected, rtol=0, atol=tolerance * abs(expected).max())
    np.testing.assert_allclose(grid[0], grid[0, :1].repeat(6, axis=0), atol=tolerance)


def test_grids_of_a_zone():
    encoder = MAKERS["gps2vec"](on_invalid="nan").fit()
    with pytest.warns(UserWarning, match="without a file"):
        grid = encoder.transform_grid([103.76, 0.0], [1.32])
    np.testing.assert_allclose(grid[0, 0], encoder.transform(PLACES[:1])[0], atol=1e-6)
    assert np.isnan(grid[0, 1]).all()


@every
@pytest.mark.parametrize("swapped", [False, True])
def test_other_names(name, swapped):
    table = pd.DataFrame({"x": PLACES[:, 0], "y": PLACES[:, 1], "price": 1.0})
    if swapped:
        table = table[["price", "y", "x"]]
    encoder = MAKERS[name](lon="x", lat="y").fit(table)
    expected = MAKERS[name]().fit().transform(PLACES)
    np.testing.assert_allclose(encoder.transform(table), expected, rtol=1e-6, atol=1e-7)
    with pytest.raises(CoordinateError, match=r"if 'x' and 'y' are degrees, name them with lon="):
        MAKERS[name]().fit(table[["y", "x"]])


@every
def test_a_fit_that_fails_leaves_it_unfitted(name):
    encoder = MAKERS[name]().fit(PLACES)
    for bad in ([[np.nan, 1.0]], [[1.0, 200.0]], "nonsense"):
        with pytest.raises(ValueError, match=r"coordinates|row|text"):
            encoder.fit(bad)
        with pytest.raises(NotFittedError):
            check_is_fitted(encoder)
        with pytest.raises(NotFittedError):
            encoder.transform(PLACES)
        encoder.fit(PLACES)
    with pytest.raises(ValueError, match="on_invalid"):
        encoder.set_params(on_invalid="ignore").fit(PLACES)
    with pytest.raises(NotFittedError):
        check_is_fitted(encoder)


@every
def test_fit_forgets_an_earlier_fit(name):
    table = pd.DataFrame(PLACES, columns=["lon", "lat"])
    encoder = MAKERS[name]().fit(table)
    assert list(encoder.feature_names_in_) == ["lon", "lat"]
    encoder.fit(None)
    assert not hasattr(encoder, "feature_names_in_")
    assert encoder.n_features_in_ == 2


@every
def test_parameters_act_at_the_next_fit(name):
    encoder = MAKERS[name]().fit()
    before = encoder.transform(PLACES)
    encoder.set_params(on_invalid="nan", lon="x", lat="y")
    changes = {
        "dtype": "float64" if before.dtype == np.float32 else "float32",
        "normalize": True,
        "layer": "hidden",
        "device": "nowhere",
        "batch_size": 1,
        "harmonics": "published",
        "kind": "tag" if name == "gps2vec" else "wrap",
    }
    encoder.set_params(**{k: v for k, v in changes.items() if k in encoder.get_params()})
    after = encoder.transform(PLACES)
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(after, before)
    assert len(encoder.get_feature_names_out()) == before.shape[1]
    with pytest.raises(CoordinateError, match="row 0"):
        encoder.transform([[np.nan, 1.0]])


@pytest.mark.parametrize("name", [n for n in MAKERS if n != "positional"])
@pytest.mark.parametrize("device", ["gpu", "cuda:9", "mps"])
def test_the_device_is_checked_in_fit(name, device):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has it")
    with pytest.raises(ValueError, match="device"):
        MAKERS[name](device=device).fit()


@every
def test_fit_without_data_compares_no_names(name, recwarn):
    table = pd.DataFrame(PLACES, columns=["lon", "lat"])
    MAKERS[name]().fit().transform(table)
    assert [str(w.message) for w in recwarn] == []


@every
def test_copies_and_pickles(name):
    encoder = MAKERS[name]().fit(PLACES)
    expected = encoder.transform(PLACES)
    for other in (copy.deepcopy(encoder), copy.copy(encoder), pickle.loads(pickle.dumps(encoder))):
        np.testing.assert_array_equal(other.transform(PLACES), expected)


@every
def test_booleans_are_not_degrees(name):
    with pytest.raises(CoordinateError, match="booleans"):
        MAKERS[name]().fit(np.array([[True, False]]))


def test_a_pickle_of_another_machine_opens_here():
    encoder = SatCLIPEncoder("bluemarble-l10").fit()
    expected = encoder.transform(PLACES)
    here = encoder._options
    try:
        object.__setattr__(here, "device", torch.device("cuda", 3))
        data = pickle.dumps(encoder)
    finally:
        object.__setattr__(here, "device", None)
    with pytest.warns(RuntimeWarning, match="fitted for the device 'cuda:3', which this machine"):
        again = pickle.loads(data)
    np.testing.assert_allclose(again.transform(PLACES), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["csp", "geoclip", "gps2vec"])
def test_same_reading_and_same_frames(name):
    encoder = MAKERS[name]()
    table = pd.DataFrame({"lat": [1.32, 1.5], "lon": [103.76, 104.0]}, index=["a", "b"])
    out = encoder.set_output(transform="pandas").fit_transform(table)
    assert list(out.index) == ["a", "b"]
    plain = encoder.set_output(transform="default").transform(table)
    east = encoder.fit([[103.76, 1.32]]).transform([[103.76, 1.32]])
    np.testing.assert_allclose(plain[:1], east, rtol=1e-4, atol=1e-6)
    with pytest.raises(CoordinateError, match="columns look swapped"):
        encoder.fit([[1.32, 103.76]])
    lenient = encoder.set_params(on_invalid="nan").fit()
    gap = lenient.transform([[np.nan, 1.0], [103.76, 1.32]])
    np.testing.assert_array_equal(np.isnan(gap).all(axis=1), [True, False])


def test_few_functions_lie_between_transform_and_the_product(monkeypatch):
    """Whoever reads from `transform` to the matrix product meets at most six functions."""
    frames = []

    def spy(function):
        def counted(*arguments, **options):
            modules = [entry.frame.f_globals["__name__"] for entry in inspect.stack(0)]
            frames.append(sum(module.startswith("skgeo_embed.") for module in modules))
            return function(*arguments, **options)

        return counted

    for name in ("addmm", "mm"):
        monkeypatch.setattr(torch, name, spy(getattr(torch, name)))
    for encoder in (SatCLIPEncoder("bluemarble-l10"), SatCLIPEncoder("bluemarble-l20")):
        encoder.fit().transform(np.random.RandomState(0).uniform(-80, 80, (9000, 2)))
    assert 0 < max(frames) <= 6
