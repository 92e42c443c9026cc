import pytest

from tests.range_server import serving


@pytest.fixture
def server(tmp_path):
    """A server of the folder "one", which counts what it is asked."""
    with serving(tmp_path / "one") as server:
        yield server


@pytest.fixture
def servers(tmp_path, server):
    """That server, and a second one of the folder "two"."""
    with serving(tmp_path / "two") as other:
        yield server, other


@pytest.fixture
def raster_cache(tmp_path, monkeypatch):
    """The folder where blocks of remote rasters are kept."""
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rasters"
