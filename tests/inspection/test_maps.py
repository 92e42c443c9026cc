import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from skgeo_embed import ImageGeolocator, PositionalEncoder, SatCLIPEncoder
from skgeo_embed._errors import CoordinateError
from skgeo_embed._region import WORLD
from skgeo_embed._sphere import great_circle_km
from skgeo_embed.datasets import land_mask, load_blue_marble
from skgeo_embed.inspection import (
    EmbeddingMapDisplay,
    GeolocationDisplay,
    SimilarityMapDisplay,
)
from skgeo_embed.inspection._geolocation import great_circle
from skgeo_embed.streaming.grid import grid_axes

mpl.use("Agg")
import matplotlib.pyplot as plt

EUROPE = (-10, 35, 30, 60)


@pytest.fixture(scope="module")
def encoder():
    return SatCLIPEncoder("bluemarble-l10").fit()


def test_one_feature(encoder):
    display = EmbeddingMapDisplay.from_estimator(
        encoder, feature=3, region=EUROPE, resolution=5, land_only=False
    )
    lon, lat = np.arange(-7.5, 30, 5), np.arange(57.5, 35, -5)
    np.testing.assert_allclose(display.values, encoder.transform_grid(lon, lat)[..., 3], atol=1e-6)
    title = display.ax_.get_title(loc="left")
    assert title.replace("\n", " ") == "bluemarble-l10, hidden layer: column satclip003"
    assert display.ax_.get_xlim() == (-10, 30)
    assert display.ax_.get_ylabel() == "latitude"
    assert display.figure_.axes[1].get_ylabel() == "satclip003"
    display.figure_.canvas.draw()
    labels = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert "0°" in labels
    assert any(label.endswith("°W") for label in labels)


def test_components_do_not_depend_on_region_or_resolution(encoder):
    world = EmbeddingMapDisplay.from_estimator(encoder, resolution=5, land_only=False)
    again = EmbeddingMapDisplay.from_estimator(encoder, resolution=5, land_only=False)
    np.testing.assert_array_equal(world.values, again.values)
    europe = EmbeddingMapDisplay.from_estimator(
        encoder, region=EUROPE, resolution=5, land_only=False
    )
    rows, columns = slice(6, 11), slice(34, 42)
    np.testing.assert_allclose(world.values[rows, columns], europe.values, atol=1e-4)
    assert world.values.min() >= 0
    assert world.values.max() <= 1
    assert world.values.std(axis=(0, 1)).min() > 0.1


def test_components_are_found_with_one_thread(encoder, monkeypatch):
    """Two threads that wait for each other took thirty times as long beside other work."""
    seen, fit = set(), PCA.fit

    def and_note(self, features):
        seen.update(library["num_threads"] for library in threadpool_info())
        return fit(self, features)

    monkeypatch.setattr(PCA, "fit", and_note)
    with threadpool_limits(2):
        EmbeddingMapDisplay.from_estimator(encoder, resolution=20)
    assert seen == {1}


def test_ocean_is_blank(encoder):
    display = EmbeddingMapDisplay.from_estimator(encoder, resolution=10)
    lon, lat = grid_axes(WORLD, 10)
    np.testing.assert_array_equal(np.isnan(display.values[..., 0]), ~land_mask(lon, lat))
    assert display.image_.get_array()[..., 3].min() == 0


def test_sign_and_order_of_components():
    rng = np.random.RandomState(0)
    scores = rng.randn(20, 30, 3) * [1, 9, 3]
    loadings = np.linalg.qr(rng.randn(8, 8))[0][:3]
    first = EmbeddingMapDisplay.from_embeddings(scores @ loadings)
    other = EmbeddingMapDisplay.from_embeddings(scores @ loadings + 5)
    np.testing.assert_allclose(first.values, other.values, atol=1e-9)
    mirrored = EmbeddingMapDisplay.from_embeddings(-scores @ loadings)  # the axes keep their sign
    np.testing.assert_allclose(mirrored.values, 1 - first.values, atol=1e-9)
    for channel, component in enumerate((1, 2, 0)):
        correlation = np.corrcoef(
            first.values[..., channel].ravel(), scores[..., component].ravel()
        )
        assert abs(correlation[0, 1]) > 0.9


def test_embeddings_with_gaps():
    grid = np.random.RandomState(0).randn(6, 8, 5)
    grid[0, 0] = np.nan
    display = EmbeddingMapDisplay.from_embeddings(grid, region=EUROPE, title="mine")
    assert np.isnan(display.values[0, 0]).all()
    assert np.isfinite(display.values[0, 1]).all()
    one = EmbeddingMapDisplay.from_embeddings(grid, feature=2)
    np.testing.assert_array_equal(one.values, grid[..., 2])
    with pytest.raises(ValueError, match=r"\(n_lat, n_lon, d\), got \(6, 8\)"):
        EmbeddingMapDisplay.from_embeddings(grid[..., 0])
    with pytest.raises(ValueError, match="between 0 and 4, got 9"):
        EmbeddingMapDisplay.from_embeddings(grid, feature=9)
    with pytest.raises(ValueError, match="at least 4 cells"):
        EmbeddingMapDisplay.from_embeddings(np.full((3, 3, 4), np.nan))


def test_given_axes_are_used(encoder):
    _, axes = plt.subplots(1, 2)
    display = EmbeddingMapDisplay.from_estimator(encoder, resolution=20, ax=axes[1])
    assert display.ax_ is axes[1]
    assert display.figure_ is axes[1].figure
    assert not axes[0].images
    assert display.plot(ax=axes[0]).ax_ is axes[0]


def test_across_the_antimeridian(encoder):
    display = EmbeddingMapDisplay.from_estimator(
        encoder, region=(170, -20, 190, -10), resolution=5, land_only=False, feature=0
    )
    expected = encoder.transform_grid([172.5, 177.5, -177.5, -172.5], [-12.5, -17.5])[..., 0]
    np.testing.assert_allclose(display.values, expected, atol=1e-6)
    display.figure_.canvas.draw()
    labels = " ".join(text.get_text() for text in display.ax_.get_xticklabels())
    assert "°E" in labels
    assert "°W" in labels


@pytest.mark.parametrize(
    ("region", "resolution", "message"),
    [
        ((10, 0, 10, 10), 1, r"region must be \(west, south, east, north\)"),
        ((0, -100, 5, 10), 1, "region must be"),
        ((0, 0, 5, 10), -1, "resolution must be a positive"),
        ((0, 0, 5), 1, "must be four numbers"),
        ((0, 0, 5, 10), "a", "resolution must be a positive"),
    ],
)
def test_wrong_regions(encoder, region, resolution, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingMapDisplay.from_estimator(encoder, region=region, resolution=resolution)


def test_a_region_across_the_antimeridian_in_either_notation():
    display = EmbeddingMapDisplay(np.zeros((2, 4)), region=(170, -20, -170, -10))
    assert display.region == (170, -20, 190, -10)


def test_a_region_without_land(encoder):
    with pytest.warns(UserWarning, match="this region has no land"):
        EmbeddingMapDisplay.from_estimator(encoder, region=(-40, 20, -35, 25))


def test_features_by_name(encoder):
    display = EmbeddingMapDisplay.from_estimator(encoder, feature="satclip003", resolution=20)
    assert display.label == "satclip003"
    with pytest.raises(ValueError, match="is named 'satclip_3'; the first is 'satclip000'"):
        EmbeddingMapDisplay.from_estimator(encoder, feature="satclip_3")


def test_wrong_feature(encoder):
    with pytest.raises(ValueError, match="between 0 and 511"):
        EmbeddingMapDisplay.from_estimator(encoder, feature=512)


def test_globe(encoder, tmp_path):
    display = EmbeddingMapDisplay.from_estimator(encoder, resolution=10)
    path = display.animate(tmp_path / "globe.gif", n_frames=3, size=90)
    with Image.open(path) as globe:
        assert globe.n_frames == 3
        frames = []
        for index in range(3):
            globe.seek(index)
            frames.append(np.asarray(globe.convert("RGB")))
    assert abs(frames[0].astype(int) - frames[1]).mean() > 1
    assert list(tmp_path.iterdir()) == [path]
    one = EmbeddingMapDisplay.from_estimator(encoder, resolution=10, feature=1)
    assert one.animate(tmp_path / "one.gif", n_frames=1, size=60).exists()
    part = EmbeddingMapDisplay.from_estimator(encoder, region=EUROPE, resolution=10)
    with pytest.raises(ValueError, match="map of the whole world"):
        part.animate(tmp_path / "part.gif")


def test_globe_that_cannot_be_written_leaves_nothing(encoder, tmp_path, monkeypatch):
    display = EmbeddingMapDisplay.from_estimator(encoder, resolution=20)
    (tmp_path / "globe.gif").write_text("mine")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        display.animate(tmp_path / "globe.gif", n_frames=1, size=60)
    assert (tmp_path / "globe.gif").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_similarity(encoder):
    places = [[-122.3, 38.5], [25, 0]]
    display = SimilarityMapDisplay.from_estimator(
        encoder, places, names=["Napa", "Congo"], resolution=10, land_only=False, center=False
    )
    features = encoder.transform_grid(*grid_axes(WORLD, 10))
    anchors = encoder.transform(places)
    cosine = (features @ anchors.T) / (
        np.linalg.norm(features, axis=-1)[..., None] * np.linalg.norm(anchors, axis=1)
    )
    np.testing.assert_allclose(display.similarity, np.moveaxis(cosine, -1, 0), atol=1e-5)
    assert [axis.get_title(loc="left") for axis in display.axes_] == [
        "Places like Napa (bluemarble-l10)",
        "Places like Congo (bluemarble-l10)",
    ]


def test_a_place_is_most_like_itself(encoder):
    display = SimilarityMapDisplay.from_estimator(encoder, [[25, 5]], resolution=10)
    row, column = np.unravel_index(np.nanargmax(display.similarity[0]), (18, 36))
    assert (85 - 10 * row, -175 + 10 * column) == (5, 25)
    assert display.names == ["25°E, 5°N"]
    assert np.nanmin(display.similarity) < 0


def test_wrong_similarities(encoder):
    with pytest.raises(ValueError, match="1 places and 2 names"):
        SimilarityMapDisplay.from_estimator(encoder, [[1, 2]], names=["a", "b"], resolution=20)
    with pytest.raises(CoordinateError):
        SimilarityMapDisplay.from_estimator(encoder, [[1, 200]], resolution=20)
    _, axes = plt.subplots(1, 2)
    with pytest.raises(ValueError, match="1 places need 1 axes, got 2"):
        SimilarityMapDisplay.from_estimator(encoder, [[1, 2]], resolution=20, axes=axes)


def test_geolocations():
    tiles = load_blue_marble(3, tile_size=16, km_per_pixel=20, random_state=2)
    geolocator = ImageGeolocator(n_candidates=500).fit()
    display = GeolocationDisplay.from_estimator(geolocator, tiles.images, tiles.coords)
    predicted = geolocator.predict(tiles.images)
    np.testing.assert_allclose(display.errors_km, great_circle_km(tiles.coords, predicted))
    median = np.median(display.errors_km)
    assert display.ax_.get_title(loc="left") == f"bluemarble-l10: median error {median:,.0f} km"
    assert display.probability is None
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["predicted", "true"]
    with pytest.raises(ValueError, match="3 images and 2 coordinates"):
        GeolocationDisplay.from_estimator(geolocator, tiles.images, tiles.coords[:2])
    one = GeolocationDisplay.from_estimator(geolocator, tiles.images[:1])
    assert one.probability.sum() == pytest.approx(1, abs=1e-4)
    assert one.errors_km is None
    assert len(one.figure_.axes) == 2


def test_predictions_of_any_model():
    true, predicted = [[170, 10], [0, 50]], [[-170, 10], [0, 50]]
    display = GeolocationDisplay.from_predictions(true, predicted, title="mine")
    np.testing.assert_allclose(display.errors_km, [2189.4, 0], atol=1)
    pacific = GeolocationDisplay.from_predictions(true, predicted, region=(100, -60, 300, 60))
    points = next(line for line in pacific.ax_.lines if line.get_label() == "predicted")
    assert points.get_xdata().tolist() == [190, 360]
    with pytest.raises(ValueError, match="2 true and 1 predicted"):
        GeolocationDisplay.from_predictions(true, predicted[:1])


@pytest.mark.parametrize(
    ("start", "end"), [((0, 0), (90, 0)), ((170, 10), (-170, -5)), ((3, 50), (-120, 40))]
)
def test_arcs_are_great_circles(start, end):
    arc = great_circle(np.array(start, dtype=float), np.array(end, dtype=float))
    np.testing.assert_allclose(arc[[0, -1]], [start, end], atol=1e-9)
    steps = great_circle_km(arc[1:], arc[:-1])
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert steps.sum() == pytest.approx(great_circle_km(*np.array([[start], [end]], float))[0])


def test_arcs_between_a_place_and_itself_or_its_opposite():
    assert np.isfinite(great_circle(np.array([5.0, 5]), np.array([5.0, 5]))).all()
    assert np.isfinite(great_circle(np.array([0.0, 0]), np.array([180.0, 0]))).all()


def test_cartopy_axes(encoder):
    crs = pytest.importorskip("cartopy.crs")
    _, ax = plt.subplots(subplot_kw={"projection": crs.Robinson()})
    display = EmbeddingMapDisplay.from_estimator(encoder, resolution=10, ax=ax)
    display.figure_.canvas.draw()
    assert display.ax_ is ax
    assert len(ax.images) == 1
    _, ax = plt.subplots(subplot_kw={"projection": crs.Robinson()})
    GeolocationDisplay.from_predictions([[170, 10]], [[-170, 10]], ax=ax).figure_.canvas.draw()


def test_encoders_without_a_grid(encoder):
    with pytest.raises(TypeError, match=r"with transform_grid, .* got a StandardScaler"):
        EmbeddingMapDisplay.from_estimator(StandardScaler().fit([[1, 2]]), resolution=20)


def test_closed_form_encoders_have_maps():
    positional = PositionalEncoder(legendre_polys=3).fit()
    display = EmbeddingMapDisplay.from_estimator(positional, resolution=20)
    assert display.values.shape == (9, 18, 3)


def test_matplotlib_that_is_missing(encoder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="skgeo-embed\\[plot\\]"):
        EmbeddingMapDisplay.from_estimator(encoder)
