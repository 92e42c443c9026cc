"""What a page of an encoder holds; test_pages_in_browser.py opens one and clicks."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from skgeo_embed import PositionalEncoder, SatCLIPEncoder
from skgeo_embed.datasets import land_mask
from skgeo_embed.inspection import EmbeddingMapDisplay, write_encoder_page
from skgeo_embed.inspection import _encoder_page as encoder_page
from skgeo_embed.inspection._earth import sample_features
from tests.inspection.page_maps import content_of

pytest.importorskip("bokeh")
EUROPE = (-10, 35, 30, 60)


@pytest.fixture(scope="module")
def encoder():
    return SatCLIPEncoder("bluemarble-l10").fit()


def test_colours_are_those_of_the_display(encoder):
    display = EmbeddingMapDisplay.from_estimator(encoder, region=EUROPE, resolution=5)
    lon, lat = np.arange(-7.5, 30, 5), np.arange(57.5, 35, -5)
    shown = ~np.isnan(display.values[..., 0])
    colours = encoder_page.Colours(sample_features(encoder, land_only=True))
    picture = encoder_page._picture(encoder, lon, lat, shown, colours)
    channels = picture.view(np.uint8).reshape(*picture.shape, 4)
    np.testing.assert_allclose(channels[shown][:, :3], 255 * display.values[shown], atol=0.51)
    np.testing.assert_array_equal(channels[..., 3], np.where(shown, 255, 0))


def test_similarities_are_nearly_those_of_all_features(encoder):
    lon, lat = np.arange(-178.5, 180, 15), np.arange(85.0, -90, -10)
    on_land = land_mask(lon, lat)
    sample = sample_features(encoder, land_only=True)
    compared = encoder_page._Compared(encoder, lon, lat, on_land, sample)
    features = encoder.transform_grid(lon, lat)[on_land] - sample.mean(axis=0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    bytes_ = compared.features.astype(float) / encoder_page.STEPS
    apart = ~np.eye(len(features), dtype=bool)
    error = np.abs(bytes_ @ bytes_.T - features @ features.T)[apart]
    assert np.quantile(error, 0.99) < 0.02
    np.testing.assert_array_equal(compared.cells, np.flatnonzero(on_land))


def test_large_pages_compare_coarser_cells(encoder, tmp_path, monkeypatch):
    page = write_encoder_page(encoder, tmp_path / "fine.html", region=EUROPE, resolution=1)
    content = content_of(page)
    assert (content["rows"], content["columns"]) == (25, 40)
    monkeypatch.setattr(encoder_page, "MOST_BYTES", 128 * 100)
    content = content_of(
        write_encoder_page(encoder, tmp_path / "coarse.html", region=EUROPE, resolution=1)
    )
    assert 60 < content["rows"] * content["columns"] * 0.6 < 160  # of which some 100 are land
    assert any("25 × 40 cells; places are compared in" in note for note in content["notes"])


def test_few_features_and_the_ocean(tmp_path):
    encoder = PositionalEncoder("cartesian3d").fit()
    page = write_encoder_page(
        encoder, tmp_path / "sea.html", region=(-40, 30, -30, 36), resolution=1, land_only=False
    )
    assert content_of(page)["land_only"] is False


def test_bad_arguments(encoder, tmp_path):
    with pytest.raises(TypeError, match="a map needs an encoder with transform_grid"):
        write_encoder_page(StandardScaler(), tmp_path / "a.html")
    with pytest.raises(ValueError, match=r"1,800 × 3,600 cells, too many for a page"):
        write_encoder_page(encoder, tmp_path / "a.html", resolution=0.1)
    with pytest.raises(ValueError, match="no land"):
        write_encoder_page(encoder, tmp_path / "a.html", region=(-40, 30, -30, 36))
    with pytest.raises(ValueError, match=r"must end with \.html"):
        write_encoder_page(encoder, tmp_path / "a.txt")
    (tmp_path / "b.html").touch()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_encoder_page(encoder, tmp_path / "b.html")
    assert [file.name for file in tmp_path.iterdir()] == ["b.html"]
