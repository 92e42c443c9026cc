import numpy as np
import pandas as pd
import pytest
import torch

from skgeo_embed import PositionalEncoder, SatCLIPEncoder
from skgeo_embed._errors import CoordinateError, InvalidCoordinateWarning
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.places import distinct
from skgeo_embed.places.reading import Reader


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return SatCLIPEncoder(LocationEncoder(4, 8, 16), dtype="float64").fit()


@pytest.fixture
def short_tables_count(monkeypatch):
    monkeypatch.setattr(distinct, "MIN_ROWS", 10)
    monkeypatch.setattr(distinct, "COPIED_ROWS", 7)


@pytest.fixture
def encoded(monkeypatch, encoder):
    """Points that reached the network, call by call."""
    counts = []
    encode = type(encoder).encode

    def counting(self, lonlat):
        counts.append(len(lonlat))
        return encode(self, lonlat)

    monkeypatch.setattr(type(encoder), "encode", counting)
    return counts


def test_places_and_inverse(short_tables_count):
    rows = np.array([3, 1, 3, 0, 1, 3, 3, 2, 0, 1, 3, 3])
    places = np.array([[0.0, 1.0], [2.0, 3.0], [3.0, 2.0], [-5.0, 7.0]])
    first, inverse = distinct.distinct_places(places[rows])
    np.testing.assert_array_equal(first, [0, 1, 3, 7])
    np.testing.assert_array_equal(places[rows][first[inverse]], places[rows])


@pytest.mark.parametrize("n_places", [1, 20, 95, 1000])
def test_repeats_give_what_the_rows_give(encoder, short_tables_count, sphere_points, n_places):
    rng = np.random.RandomState(0)
    rows = rng.randint(0, min(n_places, len(sphere_points)), 450)
    alone = np.vstack([encoder.transform(place[None]) for place in sphere_points])
    expected, ours = alone[rows], encoder.transform(sphere_points[rows])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-13)


def test_repeats_among_missing_rows(encoder, short_tables_count, sphere_points):
    encoder.set_params(on_invalid="nan").fit()
    X = np.tile(sphere_points[:20], (5, 1))
    X[::7] = np.nan
    features = encoder.transform(X)
    there = np.isfinite(X).all(axis=1)
    assert np.isnan(features[~there]).all()
    np.testing.assert_allclose(
        features[there], np.tile(encoder.transform(sphere_points[:20]), (5, 1))[there], atol=1e-14
    )


def test_each_place_is_encoded_once(encoder, short_tables_count, encoded, sphere_points):
    places = sphere_points[:20]
    encoder.transform(np.tile(places, (50, 1)))
    encoder.transform(np.vstack([np.tile(places, (5, 1)), sphere_points[15:40], places]))
    assert encoded == [20, 40]


def test_both_notations_are_one_place(encoder, short_tables_count, encoded):
    X = [[180.0, 10.0], [-180.0, 10.0], [0.0, 90.0], [77.0, 90.0], [-0.0, 0.0], [0.0, 0.0]] * 4
    features = encoder.transform(X)
    assert encoded == [3]
    np.testing.assert_array_equal(features[0], features[1])
    np.testing.assert_array_equal(features[2], features[3])
    np.testing.assert_array_equal(features[4], features[5])


def test_distinct_places_are_not_copied(encoder, short_tables_count, encoded, monkeypatch):
    def refuse(*_):
        raise AssertionError("rows were copied")

    monkeypatch.setattr("skgeo_embed.encoders.filling.spread_rows", refuse)
    encoder.transform(np.random.RandomState(0).uniform(-90, 90, (250, 2)))
    assert encoded == [250]
    with pytest.raises(AssertionError, match="rows were copied"):
        encoder.transform(np.zeros((250, 2)))


def test_few_rows_are_not_looked_through(encoder, encoded, monkeypatch):
    def refuse(_):
        raise AssertionError("the rows were hashed")

    monkeypatch.setattr(distinct, "_hashes", refuse)
    encoder.transform([[1, 2]] * 50)
    assert encoded == [50]
    with pytest.raises(AssertionError, match="were hashed"):
        encoder.transform([[1, 2]] * distinct.MIN_ROWS)


def test_fit_transform_reads_the_table_once(encoder, monkeypatch):
    reads = []
    read = Reader.read
    monkeypatch.setattr(
        Reader,
        "read",
        lambda self, source, **kind: reads.append(len(source.X)) or read(self, source, **kind),
    )
    encoder.fit_transform(np.zeros((20, 2)))
    assert reads == [20]
    encoder.transform(np.zeros((30, 2)))
    assert reads == [20, 30]


def test_long_frames_keep_their_index(encoder, short_tables_count):
    frame = pd.DataFrame({"lat": np.arange(150) % 80, "lon": 10.0}, index=np.arange(150) + 7)
    out = encoder.set_output(transform="pandas").fit_transform(frame)
    assert out.index.equals(frame.index)
    assert list(encoder.feature_names_in_) == ["lat", "lon"]


def test_bad_rows_of_long_tables_are_named(encoder, short_tables_count):
    X = np.random.RandomState(0).uniform(-90, 90, (250, 2))
    X[[130, 240], 1] = np.nan
    message = r"2 row\(s\) with NaN, out of 250 \(first: row 130, row 240\)"
    with pytest.raises(CoordinateError, match=message):
        encoder.transform(X)
    with pytest.raises(CoordinateError, match=message):
        encoder.fit(X)
    X[7], X[199, 1] = [10, 95], -91
    encoder.set_params(on_invalid="nan").fit()
    with pytest.warns(InvalidCoordinateWarning, match=r"2 of 250 .*row 7: .*row 199: ") as caught:
        features = encoder.transform(X)
    assert caught[0].filename == __file__
    assert np.flatnonzero(np.isnan(features).any(axis=1)).tolist() == [7, 130, 199, 240]
    X[:] = np.nan
    assert np.isnan(encoder.transform(X)).all()


def test_closed_form_encodings_have_repeats_too(short_tables_count, sphere_points):
    encoder = PositionalEncoder("wrap").fit()
    rows = np.random.RandomState(0).randint(0, 9, 300)
    expected = encoder.transform(sphere_points[:9])[rows]
    np.testing.assert_array_equal(encoder.transform(sphere_points[rows]), expected)


def test_equal_coordinates_are_different_places(encoder, short_tables_count, encoded):
    diagonal = np.repeat(np.linspace(-80, 80, 40), 2)
    points = np.column_stack([diagonal, diagonal])
    expected = np.vstack([encoder.transform(point[None]) for point in points])
    encoded.clear()
    np.testing.assert_allclose(encoder.transform(points), expected, atol=1e-14)
    assert encoded == [40]
    hashes = distinct._hashes(np.column_stack([np.linspace(-80, 80, 10**5)] * 2))
    assert len(np.unique(hashes)) == 10**5


def test_places_with_one_hash_are_told_apart(encoder, short_tables_count, monkeypatch):
    points = np.random.RandomState(0).uniform(-80, 80, (250, 2))
    expected = encoder.transform(points)
    monkeypatch.setattr(distinct, "_hashes", lambda lonlat: (lonlat[:, 0] > 0).astype(np.uint64))
    np.testing.assert_allclose(encoder.transform(points), expected, atol=1e-14)


def test_a_late_bad_row_is_found_before_the_work(encoder, short_tables_count, encoded):
    X = np.random.RandomState(0).uniform(-90, 90, (450, 2))
    X[449, 0] = np.nan
    with pytest.raises(CoordinateError, match="row 449"):
        encoder.transform(X)
    assert encoded == []
