import warnings

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import PositionalEncoder
from skgeo_embed.encoders.positional import KINDS
from skgeo_embed.nn.encodings.building import BUILDERS
from tests.folding import Folding


class FoldingPositionalEncoder(Folding, PositionalEncoder):
    pass


@parametrize_with_checks([FoldingPositionalEncoder(kind) for kind in KINDS])
def test_common_checks(estimator, check):
    check(estimator)


def test_every_kind_is_built_and_documented():
    """Names stand where torch is not imported, builders where it is."""
    assert set(KINDS) == {"sphericalharmonics", *BUILDERS}
    assert [kind for kind in KINDS if f'"{kind}"' not in PositionalEncoder.__doc__] == []


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_batches(kind, sphere_points):
    encoder = PositionalEncoder(kind, n_frequencies=3, legendre_polys=4).fit(sphere_points)
    features = encoder.transform(sphere_points)
    names = encoder.get_feature_names_out()
    assert features.shape == (len(sphere_points), len(set(names)))
    batched = PositionalEncoder(kind, n_frequencies=3, legendre_polys=4, batch_size=7)
    # few points' harmonics are one product, which rounds otherwise
    np.testing.assert_allclose(batched.fit_transform(sphere_points), features, atol=1e-13)
    frame = encoder.set_output(transform="pandas").transform(sphere_points)
    assert list(frame.columns) == list(names)


def test_column_names_say_what_a_column_is():
    place = [[30.0, 60.0]]
    wrap = PositionalEncoder("wrap").set_output(transform="pandas").fit_transform(place)
    assert wrap["sin_lon"].item() == pytest.approx(0.5)
    assert wrap["cos_lat"].item() == pytest.approx(0.5)
    harmonics = PositionalEncoder(harmonics_calculation="closed-form", legendre_polys=4)
    columns = harmonics.set_output(transform="pandas").fit_transform(place)
    assert columns["sh_l3_m-2"].notna().all()
    assert columns["sh_l0_m0"].item() == pytest.approx(0.5 / np.sqrt(np.pi))
    grid = PositionalEncoder("grid", n_frequencies=2).set_output(transform="pandas")
    assert grid.fit_transform(place)["sin_lat_f0"].item() == pytest.approx(np.sin(60.0))


def test_antimeridian_and_single_precision():
    for kind in KINDS:
        encoder = PositionalEncoder(kind, dtype="float32").fit()
        west, east = encoder.transform([[-180, 10], [180, 10]])
        assert west.dtype == np.float32
        np.testing.assert_array_equal(west, east)


def test_bad_parameters():
    with pytest.raises(ValueError, match="'kind' parameter"):
        PositionalEncoder("fourier").fit()
    with pytest.raises(ValueError, match="'min_radius' parameter"):
        PositionalEncoder("grid", min_radius=0).fit()


@pytest.mark.parametrize("kind", ["fields", "xarray"])
def test_an_array_after_variables_with_names_is_warned_of(kind):
    """scikit-learn keeps no names of these, so (lat, lon) was read as (lon, lat) without a word."""
    lon, lat = np.array([10.0, 11.0]), np.array([50.0, 51.0])
    if kind == "fields":
        named = np.rec.fromarrays([lat, lon], names="lat,lon")
    else:
        xarray = pytest.importorskip("xarray")
        named = xarray.Dataset({"lat": ("site", lat), "lon": ("site", lon)})
    encoder = PositionalEncoder("grid").fit(named)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = encoder.transform(named)
        PositionalEncoder("grid").fit(np.column_stack([lon, lat])).transform([[1.0, 2.0]])
    with pytest.warns(UserWarning, match="does not have valid feature names.*in this order"):
        found = encoder.transform(np.column_stack([lon, lat]))
    np.testing.assert_array_equal(found, expected)
