"""Pages in a real Chromium: what is under the pointer is what the raster holds there."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.datasets import land_mask
from skgeo_embed.inspection import write_encoder_page, write_map_page
from skgeo_embed.inspection._earth import encode_places, sample_features
from skgeo_embed.inspection._page import bands
from tests.inspection.page_maps import EVIL, as_geotiff, heights, land_cover, temperatures

pytest.importorskip("bokeh")
PLOT = "Bokeh.documents[0].get_model_by_name('map')"
# where a point of the map is on the screen, asked of the library and not of the page's script
ON_SCREEN = f"""([x, y]) => {{
    const view = Bokeh.index.find_one_by_id({PLOT}.id), box = view.el.getBoundingClientRect();
    const frame = view.frame;
    return [box.left + frame.x_scale.compute(x), box.top + frame.y_scale.compute(y)];
}}"""
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Page:
    """A page that is open; whatever goes wrong on it is kept in `faults`."""

    def __init__(self, browser, path, **settings):
        self.faults = []
        self.context = browser.new_context(offline=True, **settings)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(20_000)
        self.tab.on("pageerror", lambda error: self.faults.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.faults.append("a dialog"), dialog.dismiss()))
        self.tab.on("request", self._note_request)
        self.tab.on("console", self._note_message)
        self.tab.goto(path.as_uri())
        self.tab.wait_for_selector("body[data-ready]")
        self.tab.evaluate(DRAWN)

    def _note_request(self, request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.faults.append(f"asked for {request.url}")

    def _note_message(self, message):
        if message.type == "error":
            self.faults.append(message.text)

    def at(self, x, y):
        return self.tab.evaluate(ON_SCREEN, [float(x), float(y)])

    def point(self, x, y):
        """Move the pointer to a point of the map, and return the lines of the values there."""
        self.tab.mouse.move(*self.at(x, y))
        self.tab.evaluate(DRAWN)
        lines = self.tab.locator("#values tr").all()
        return {line.locator("th").inner_text(): line.locator("td").inner_text() for line in lines}

    def text(self, selector):
        return self.tab.locator(selector).inner_text()

    def colour(self, x, y):
        """Return red, green and blue of the pixel at a point of the map."""
        self.tab.mouse.move(0, 0)
        picture = Image.open(io.BytesIO(self.tab.screenshot())).convert("RGB")
        return np.array(picture.getpixel(tuple(round(value) for value in self.at(x, y))))

    def ranges(self):
        return self.tab.evaluate(
            f"() => {{ const {{x_range: x, y_range: y}} = {PLOT};"
            " return [x.start, x.end, y.start, y.end]; }"
        )

    def pixel(self):
        """Return the width and the height of a pixel in units of the map."""
        (x, y), (right, down) = self.at(0, 0), self.at(1, -1)
        return np.array([1 / (right - x), 1 / (down - y)])


@pytest.fixture
def opened(browser):
    """Open pages, and find at the end that nothing went wrong on them."""
    pages = []

    def open_page(path, **settings):
        pages.append(Page(browser, path, **settings))
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()
        assert page.faults == []


def _number(text):
    return float(text.split()[0])


def _colour_of(value, band):
    from bokeh.palettes import Cividis256

    low, high = band
    index = int(np.clip((value - low) / (high - low) * 256, 0, 255))
    return np.array([int(Cividis256[index][k : k + 2], 16) for k in (1, 3, 5)])


def test_values_under_the_pointer_are_the_rasters(opened, tmp_path):
    grid = temperatures()
    page = opened(write_map_page(grid, tmp_path / "map.html"))
    ends = np.nanquantile([grid[name] for name in ("prediction", "lower", "upper")], (0.01, 0.99))

    def check(row, column):
        here = grid.isel(lat=row, lon=column)
        # a point of the cell that is not its centre
        shown = page.point(here.lon + 0.15, here.lat - 0.2)
        for label, name in (
            ("July temperature", "prediction"),
            ("lower bound", "lower"),
            ("upper bound", "upper"),
        ):
            assert _number(shown[label]) == pytest.approx(float(here[name]), rel=5e-5)
        lat, lon = re.match(r"([\d.]+)° N, ([\d.]+)° [EW]", page.text("#values .place")).groups()
        assert (float(lat), float(lon)) == (float(here.lat), abs(float(here.lon)))
        warned = "Outside the area of applicability" in page.text("#values")
        assert warned == (int(here["applicable"]) == 0)

    for row, column in ((3, 3), (0, 23), (15, 0), (15, 23), (8, 11)):
        check(row, column)
    assert page.point(-9.9, 59.9)["July temperature"] == "no value"

    page.tab.uncheck("#veil")
    page.tab.evaluate(DRAWN)
    for row, column in ((3, 3), (15, 1), (9, 20)):
        here = grid.isel(lat=row, lon=column)
        expected = _colour_of(float(here["prediction"]), ends)
        assert np.abs(page.colour(here.lon + 0.1, here.lat + 0.1) - expected).max() <= 4

    before = page.ranges()
    page.tab.mouse.move(*page.at(-3, 56))
    page.tab.mouse.wheel(0, -300)
    page.tab.wait_for_function(f"([start]) => {PLOT}.x_range.start > start", arg=before)
    zoomed, pixel = page.ranges(), page.pixel()
    assert pixel[0] / pixel[1] == pytest.approx(1 / np.cos(np.deg2rad(56)), rel=1e-6)
    x, y = page.at(-3, 56)
    page.tab.mouse.down()
    page.tab.mouse.move(x + 60, y + 40, steps=4)
    page.tab.mouse.up()
    page.tab.evaluate(DRAWN)
    dragged = page.ranges()
    np.testing.assert_allclose(page.pixel(), pixel)  # though labels of the axes are wider now
    assert dragged[0] < zoomed[0]
    assert dragged[2] > zoomed[2]
    check(8, 12)
    check(7, 14)
    page.tab.click("#in")
    page.tab.evaluate(DRAWN)
    np.testing.assert_allclose(page.pixel(), pixel / 2)
    page.tab.click("#whole")
    page.tab.evaluate(DRAWN)
    np.testing.assert_allclose(page.ranges(), before, atol=0.2)


def test_the_map_is_greyed_out_outside_the_area_of_applicability(opened, tmp_path):
    grid = temperatures()
    grid["applicable"][:] = 1
    grid["applicable"][8, 12] = 0
    page = opened(write_map_page(grid, tmp_path / "map.html"))
    outside, inside = grid.isel(lat=8, lon=12), grid.isel(lat=8, lon=13)
    veiled = [page.colour(cell.lon, cell.lat) for cell in (outside, inside)]
    page.tab.uncheck("#veil")
    page.tab.evaluate(DRAWN)
    plain = [page.colour(cell.lon, cell.lat) for cell in (outside, inside)]
    assert (veiled[0] > 170).all()
    assert np.abs(veiled[0] - plain[0]).max() > 20
    np.testing.assert_array_equal(veiled[1], plain[1])


def test_labels_are_read_and_coloured_like_the_map(opened, tmp_path):
    grid = temperatures()
    page = opened(
        write_map_page(grid, tmp_path / "map.html", coords=[[-4.25, 55.25]], y=[34.0]),
    )
    ends = np.nanquantile([grid[name] for name in ("prediction", "lower", "upper")], (0.01, 0.99))
    assert page.point(-4.25, 55.25)["label"] == "34\u00a0°C"
    assert np.abs(page.colour(-4.25, 55.25) - _colour_of(34.0, ends)).max() <= 4
    assert "label" not in page.point(0.25, 55.25)
    page.tab.uncheck("#points")
    page.tab.uncheck("#veil")
    page.tab.evaluate(DRAWN)
    value = float(grid.sel(lat=55.25, lon=-4.25)["prediction"])
    assert np.abs(page.colour(-4.25, 55.25) - _colour_of(value, ends)).max() <= 4


def test_classes_have_a_legend_and_their_text_does_nothing(opened, tmp_path):
    grid = land_cover()
    grid["class"].attrs["long_name"] = f"cover {EVIL}"
    page = opened(
        write_map_page(
            grid,
            tmp_path / "map.html",
            title=f"{EVIL} & <b>",
            coords=[[3.5, 46.5], [4.5, 46.5]],
            y=[f"label {EVIL}", "salt marsh"],
        )
    )
    assert page.tab.title() == f"{EVIL} & <b>"
    assert page.text("h1") == f"{EVIL} & <b>"
    names = ["forest", "salt marsh", EVIL]
    assert page.tab.locator("#classes li").all_inner_texts() == names
    swatches = page.tab.locator("#classes .swatch").evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    for row, column in ((4, 0), (5, 1), (6, 2), (1, 4)):
        here = grid.isel(lat=row, lon=column)
        number = int(here["class"]) // 10 - 1
        assert page.point(here.lon, here.lat)[f"cover {EVIL}"] == names[number]
        colour = page.colour(here.lon + 0.3, here.lat + 0.3)
        assert f"rgb({', '.join(map(str, colour))})" == swatches[number]
    assert page.point(0.5, 50.5)[f"cover {EVIL}"] == "no value"
    assert page.point(3.5, 46.5)["label"] == f"label {EVIL}"
    assert page.tab.locator("img").count() == 0

    page.tab.select_option("#band", "1")
    assert page.text("#legend-title") == "probability_forest"
    assert page.tab.locator("#ticks span").all_inner_texts() == ["0", "0.5", "1"]
    here = grid.isel(lat=6, lon=9)
    shown = page.point(here.lon, here.lat)["probability_forest"]
    assert float(shown) == pytest.approx(float(here["probability_forest"]), rel=5e-5)


def test_a_geotiff_in_metres_says_kilometres_and_degrees(opened, tmp_path):
    import rasterio
    from pyproj import Transformer

    path = as_geotiff(heights(), tmp_path / "map.tif")
    page = opened(write_map_page(path, tmp_path / "map.html"))
    to_degrees = Transformer.from_crs("EPSG:3035", "EPSG:4326", always_xy=True)
    with rasterio.open(path) as file:
        for row, column in ((0, 0), (19, 29), (7, 21)):
            x, y = file.xy(row, column)
            shown = page.point(x / 1000 + 1, y / 1000 + 1)["height"]
            assert _number(shown) == pytest.approx(float(file.read(1)[row, column]), rel=5e-5)
            place = page.text("#values .place")
            east, north, lat, lon = map(float, re.findall(r"[\d.]+", place))
            assert (east, north) == pytest.approx((x / 1000, y / 1000))
            assert (lon, lat) == pytest.approx(to_degrees.transform(x, y), abs=0.002)


def test_a_thinned_map_across_the_antimeridian(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(bands, "MAP_BYTES", 16 * 8 * 8)
    grid = temperatures(west=176.0, north=-10.0, shape=(24, 24), step=0.5)
    page = opened(write_map_page(grid, tmp_path / "map.html", coords=[[-178.0, -15]], y=[3.0]))
    assert page.point(182, -15)["label"] == "3\u00a0°C"
    here = grid.isel(lat=13, lon=19)  # the middle one of 3 × 3
    shown = page.point(here.lon - 0.6, here.lat + 0.6)["July temperature"]
    assert _number(shown) == pytest.approx(float(here["prediction"]), rel=5e-5)
    assert page.text("#values .place") == "16.75° S, 174.25° W"


def test_a_telephone(opened, tmp_path):
    grid = temperatures()
    page = opened(
        write_map_page(grid, tmp_path / "map.html", title="temperature " * 8),
        viewport={"width": 420, "height": 850},
        has_touch=True,
    )
    assert page.tab.evaluate("() => document.documentElement.scrollWidth") <= 420
    here = grid.isel(lat=9, lon=13)
    page.tab.touchscreen.tap(*page.at(here.lon, here.lat))
    page.tab.wait_for_selector("#values td")
    text = page.text("#values tr.shown td")
    assert _number(text) == pytest.approx(float(here["prediction"]), rel=5e-5)
    values, plot = (
        page.tab.locator(one).bounding_box() for one in ("#values td >> nth=0", "#plot")
    )
    assert plot["y"] + plot["height"] <= values["y"] < 850


def test_similar_places_of_an_encoder(opened, tmp_path):
    encoder = SatCLIPEncoder("bluemarble-l10").fit()
    page = opened(write_encoder_page(encoder, tmp_path / "encoder.html", resolution=3))
    # compared are the 60 x 120 cells of the picture, being so few
    lon, lat = -178.5 + 3 * np.arange(120), 88.5 - 3 * np.arange(60)
    features = encoder.transform_grid(lon, lat)
    mean = sample_features(encoder, land_only=True).mean(axis=0)
    unit = features - mean
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    napa = encode_places(encoder, np.array([[-121.5, 40.5]]))[0] - mean
    cosine = unit @ (napa / np.linalg.norm(napa))
    on_land = land_mask(lon, lat)

    page.tab.mouse.click(*page.at(-150.0, 0.0))
    assert page.text("#chosen") == "Touch a place on land."
    page.tab.mouse.click(*page.at(-121.0, 40.2))
    page.tab.wait_for_selector("#places li")
    assert "40.5° N, 121.5° W" in page.text("#chosen")
    places = page.tab.locator("#places li").all_inner_texts()
    assert len(places) == 8
    found = []
    for place in places:
        north, up, east, side, similarity = re.match(
            r"\d+\. ([\d.]+)° ([NS]), ([\d.]+)° ([EW])\s+(-?[\d.]+)", place
        ).groups()
        row = np.flatnonzero(lat == float(north) * (1 if up == "N" else -1))[0]
        column = np.flatnonzero(lon == float(east) * (1 if side == "E" else -1))[0]
        assert on_land[row, column]
        assert float(similarity) == pytest.approx(cosine[row, column], abs=0.03)
        found.append(float(similarity))
    assert found == sorted(found, reverse=True)
    far = on_land & (np.abs(lon + 121.5) > 60)
    assert found[-1] > np.quantile(cosine[far], 0.5)
    for row, column in ((16, 19), (20, 70), (35, 100)):
        page.tab.mouse.move(*page.at(lon[column], lat[row]))
        page.tab.evaluate(DRAWN)
        shown = page.text("#values").rpartition(": ")[2]
        assert bool(re.fullmatch(r"-?\d\.\d\d", shown)) == on_land[row, column]
        if on_land[row, column]:
            assert float(shown) == pytest.approx(cosine[row, column], abs=0.03)
    page.tab.select_option("#band", "components")
    assert "Red, green and blue" in page.text("#explained")
