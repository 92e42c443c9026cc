"""Features of the same places, encoded once for several estimators."""

import numpy as np

from skgeo_embed import PositionalEncoder
from skgeo_embed.encoders.shared_encodings import shared_encodings

PLACES = np.array([[10.0, 50.0], [20.0, -30.0]])


def counted(monkeypatch):
    calls = []
    encode = PositionalEncoder.encode
    monkeypatch.setattr(
        PositionalEncoder, "encode", lambda self, x: calls.append(len(x)) or encode(self, x)
    )
    return calls


def test_within_the_block_alone(monkeypatch):
    calls = counted(monkeypatch)
    encoder = PositionalEncoder(legendre_polys=3).fit()
    expected = encoder.transform(PLACES)
    with shared_encodings():
        first, second = encoder.transform(PLACES), encoder.transform(PLACES)
    encoder.transform(PLACES)
    assert len(calls) == 3
    np.testing.assert_array_equal(first, expected)
    first[:] = 0  # each has an array of its own
    np.testing.assert_array_equal(second, expected)


def test_other_places_and_other_encoders_are_encoded(monkeypatch):
    calls = counted(monkeypatch)
    one = PositionalEncoder(legendre_polys=3).fit()
    two = PositionalEncoder(legendre_polys=4).fit()
    with shared_encodings():
        one.transform(PLACES)
        assert two.transform(PLACES).shape == (2, 16)
        one.transform(PLACES[:1])
        found = one.transform(PLACES + 1)
    assert len(calls) == 4
    np.testing.assert_array_equal(found, one.transform(PLACES + 1))


def test_areas_are_not_taken_for_their_places():
    from shapely.geometry import box

    encoder = PositionalEncoder(legendre_polys=3).fit()
    small, large = [box(9, 49, 11, 51)], [box(0, 40, 20, 60)]
    with shared_encodings():
        found = encoder.transform(small), encoder.transform(large)
    np.testing.assert_array_equal(found[0], encoder.transform(small))
    np.testing.assert_array_equal(found[1], encoder.transform(large))
    assert np.abs(found[0] - found[1]).max() > 0.01
