import shutil

import pytest
from matplotlib import pyplot as plt

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def browser():
    """A real Chromium without a window; tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    with playwright.sync_playwright() as tools:
        running = tools.chromium.launch(executable_path=executable)
        yield running
        running.close()
