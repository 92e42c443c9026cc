"""The documentation's page in a real Chromium: values under a click are those of `transform`."""

import http.server
import json
import runpy
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from skgeo_embed import SatCLIPEncoder
from tests.inspection.conftest import browser  # noqa: F401

MAKE = Path(__file__).parents[2] / "docs" / "browser" / "make.py"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page as the documentation has it, on a server on loopback."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    made = runpy.run_path(str(MAKE))
    if not (made["RUNTIME"] / made["RUNTIME_FILES"][0]).exists():
        pytest.skip("onnxruntime-web is not in docs/_build (.ci/browser takes it from npm)")
    folder = tmp_path_factory.mktemp("page")
    made["make_page"](folder)
    handler = partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def _values(tab):
    cells = tab.locator("#features td[data-value]").all()
    return np.array([float(cell.get_attribute("data-value")) for cell in cells])


@pytest.mark.slow
def test_a_click_gives_what_transform_gives(browser, address):  # noqa: F811
    tab = browser.new_page(viewport={"width": 1200, "height": 1000})
    tab.set_default_timeout(120_000)
    faults, asked = [], []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda message: message.type == "error" and faults.append(message.text))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(address)
    tab.wait_for_selector("body[data-ready]")

    encoder = SatCLIPEncoder(layer="content").fit()
    box = tab.locator("#map").bounding_box()
    for east, south in ((0.5064, 0.2285), (0.02, 0.61), (0.999, 0.998), (0.84, 0.7)):
        before = tab.locator("body").get_attribute("data-place")
        tab.mouse.click(box["x"] + east * box["width"], box["y"] + south * box["height"])
        tab.wait_for_selector(f'body[data-place]:not([data-place="{before}"])')
        lon, lat = map(float, tab.locator("body").get_attribute("data-place").split())
        assert abs(lon - (360 * east - 180)) < 1
        assert abs(lat - (90 - 180 * south)) < 1
        expected = encoder.transform([[lon, lat]])[0]
        np.testing.assert_allclose(_values(tab), expected, rtol=1e-4, atol=1e-4)
    names = tab.locator("#features th").all_inner_texts()
    assert names == list(encoder.get_feature_names_out())

    # the most similar places, typed instead of clicked
    tab.fill("#lon", "7.76")
    tab.fill("#lat", "46.02")
    tab.click("#place button")
    tab.wait_for_selector('body[data-place="7.76 46.02"]')
    places = np.array(tab.evaluate("fetch('facts.json').then((r) => r.json())")["places"])
    features = encoder.transform(places).astype(float)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    here = (encoder.transform([[7.76, 46.02]])[0] - features.mean(axis=0)) / features.std(axis=0)
    cosine = scaled @ here / np.linalg.norm(scaled, axis=1) / np.linalg.norm(here)
    far = np.hypot((places[:, 0] - 7.76) * np.cos(np.deg2rad(46.02)), places[:, 1] - 46.02) >= 5
    found = [
        float(text.split("(")[1][:-1]) for text in tab.locator("#similar li").all_inner_texts()
    ]
    np.testing.assert_allclose(found, np.sort(cosine[far])[:-9:-1], atol=2e-3)

    assert faults == []
    assert all(url.startswith((address, "data:", "blob:")) for url in asked), asked
    tab.close()


@pytest.mark.slow
def test_a_page_without_its_runtime_says_so(browser, address):  # noqa: F811
    tab = browser.new_page()
    tab.route("**/runtime/**", lambda route: route.abort())
    tab.goto(address)
    tab.wait_for_selector("#status.failed")
    assert "onnxruntime-web" in tab.locator("#status").inner_text()
    assert tab.locator("#place button").is_disabled()
    tab.close()


def test_without_npm_the_page_names_a_public_copy(tmp_path, monkeypatch):
    copy_runtime = runpy.run_path(str(MAKE))["copy_runtime"]
    monkeypatch.setitem(copy_runtime.__globals__, "RUNTIME", tmp_path / "missing")
    version = json.loads((MAKE.parent / "package.json").read_text())["dependencies"]
    where = copy_runtime(tmp_path)
    assert where.endswith(f"onnxruntime-web@{version['onnxruntime-web']}/dist/")
