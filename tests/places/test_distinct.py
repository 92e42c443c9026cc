import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from skgeo_embed import PositionalEncoder, SatCLIPEncoder, _base, _repeats
from skgeo_embed._errors import CoordinateError, InvalidCoordinateWarning
from skgeo_embed.nn.location import LocationEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return SatCLIPEncoder(LocationEncoder(4, 8, 16), dtype="float64").fit()


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(_base, "ROWS_AT_A_TIME", 100)
    monkeypatch.setattr(_repeats, "MIN_ROWS", 10)
    monkeypatch.setattr(_repeats, "COPIED_ROWS", 7)


@pytest.fixture
def encoded(monkeypatch, encoder):
    """Points that reached the network, call by call."""
    counts = []
    encode = type(encoder)._encode

    def counting(self, lonlat, rows, *, out):
        counts.append(len(lonlat))
        encode(self, lonlat, rows, out=out)

    monkeypatch.setattr(type(encoder), "_encode", counting)
    return counts


@pytest.mark.parametrize("max_places", [3, 1000])
@pytest.mark.parametrize("n_places", [1, 20, 95, 1000])
def test_repeats_give_what_the_rows_give(
    monkeypatch, encoder, small_parts, sphere_points, n_places, max_places
):
    monkeypatch.setattr(_repeats, "MAX_PLACES", max_places)
    rng = np.random.RandomState(0)
    rows = rng.randint(0, min(n_places, len(sphere_points)), 450)
    alone = np.vstack([encoder.transform(place[None]) for place in sphere_points])
    expected, ours = alone[rows], encoder.transform(sphere_points[rows])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14)


def test_each_place_is_encoded_once(encoder, small_parts, encoded, sphere_points):
    places = sphere_points[:20]
    encoder.transform(np.tile(places, (50, 1)))
    assert encoded == [20]
    encoded.clear()
    encoder.transform(np.vstack([np.tile(places, (5, 1)), sphere_points[15:40], places]))
    assert encoded == [20, 20]


def test_both_notations_are_one_place(encoder, small_parts, encoded):
    X = [[180.0, 10.0], [-180.0, 10.0], [0.0, 90.0], [77.0, 90.0], [-0.0, 0.0], [0.0, 0.0]] * 4
    features = encoder.transform(X)
    assert encoded == [3]
    np.testing.assert_array_equal(features[0], features[1])
    np.testing.assert_array_equal(features[2], features[3])
    np.testing.assert_array_equal(features[4], features[5])


def test_distinct_places_are_not_copied(encoder, small_parts, encoded):
    rng = np.random.RandomState(0)
    encoder.transform(rng.uniform(-90, 90, (250, 2)))
    assert encoded == [100, 100, 50]


def test_few_rows_do_not_load_pandas(encoder, encoded):
    encoder.transform([[1, 2]] * 50)
    assert encoded == [50]


@pytest.mark.parametrize("make", [np.asarray, pd.DataFrame, pl.DataFrame, torch.tensor, list])
def test_long_tables_are_read_in_parts(encoder, small_parts, encoded, make):
    X = np.random.RandomState(0).uniform(-90, 90, (250, 2))
    expected = encoder.transform(X)
    encoded.clear()
    kinds = {pd.DataFrame: {"columns": ["lon", "lat"]}, pl.DataFrame: {"schema": ["lon", "lat"]}}
    encoder.fit(make(X, **kinds.get(make, {})))
    np.testing.assert_array_equal(encoder.transform(make(X, **kinds.get(make, {}))), expected)
    assert encoded == [100, 100, 50]


def test_long_frames_keep_their_index(encoder, small_parts):
    frame = pd.DataFrame({"lat": np.arange(150) % 80, "lon": 10.0}, index=np.arange(150) + 7)
    out = encoder.set_output(transform="pandas").fit_transform(frame)
    assert out.index.equals(frame.index)
    assert list(encoder.feature_names_in_) == ["lat", "lon"]


def test_bad_rows_of_long_tables_are_named(encoder, small_parts):
    X = np.random.RandomState(0).uniform(-90, 90, (250, 2))
    X[[130, 240], 1] = np.nan
    message = r"2 row\(s\) with NaN, out of 250 \(first: row 130, row 240\)"
    with pytest.raises(CoordinateError, match=message):
        encoder.transform(X)
    with pytest.raises(CoordinateError, match=message):
        encoder.fit(X)
    X[7], X[199, 1] = [10, 95], -91
    encoder.set_params(on_invalid="nan").fit()
    with pytest.warns(InvalidCoordinateWarning, match=r"row 7: .*1 later part") as caught:
        features = encoder.transform(X)
    assert caught[0].filename == __file__
    assert np.flatnonzero(np.isnan(features).any(axis=1)).tolist() == [7, 130, 199, 240]
    X[:] = np.nan
    assert np.isnan(encoder.transform(X)).all()


def test_closed_form_encodings_have_repeats_too(small_parts, sphere_points):
    encoder = PositionalEncoder("wrap").fit()
    rows = np.random.RandomState(0).randint(0, 9, 300)
    expected = encoder.transform(sphere_points[:9])[rows]
    np.testing.assert_array_equal(encoder.transform(sphere_points[rows]), expected)


def test_equal_coordinates_are_different_places(encoder, small_parts, encoded):
    diagonal = np.repeat(np.linspace(-80, 80, 40), 2)
    points = np.column_stack([diagonal, diagonal])
    expected = np.vstack([encoder.transform(point[None]) for point in points])
    encoded.clear()
    np.testing.assert_allclose(encoder.transform(points), expected, atol=1e-14)
    assert encoded == [40]
    hashes = _repeats._hashes(np.column_stack([np.linspace(-80, 80, 10**5)] * 2))
    assert len(np.unique(hashes)) == 10**5


def test_places_with_one_hash_are_told_apart(encoder, small_parts, monkeypatch):
    points = np.random.RandomState(0).uniform(-80, 80, (250, 2))
    expected = encoder.transform(points)
    monkeypatch.setattr(_repeats, "_hashes", lambda lonlat: (lonlat[:, 0] > 0).astype(np.uint64))
    np.testing.assert_allclose(encoder.transform(points), expected, atol=1e-14)


def test_a_late_bad_row_is_found_before_the_work(encoder, small_parts, encoded):
    X = np.random.RandomState(0).uniform(-90, 90, (450, 2))
    X[449, 0] = np.nan
    with pytest.raises(CoordinateError, match="row 449"):
        encoder.transform(X)
    assert encoded == []
