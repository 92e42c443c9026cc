"""Requests to servers end, and stay on the web."""

import socket
import threading
import time
import urllib.error
from contextlib import contextmanager

import numpy as np
import pytest
import rasterio

from skgeo_embed import ImageError, RasterEncoder
from skgeo_embed.rasters import network
from tests.rasters.small_tiles import lonlat_of, write


@contextmanager
def listening(answer):
    """A server of one address, which calls `answer` with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


def silent(connection):
    pass


def trickling(connection):
    """A byte of an endless header every twentieth of a second."""
    try:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            connection.sendall(b"a")
            time.sleep(0.05)
    except OSError:
        return


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(network, "SECONDS", 1)
    monkeypatch.setattr(network, "LONGEST", 1)


@pytest.mark.parametrize("answer", [silent, trickling])
@pytest.mark.parametrize("name", ["tile.tif", "tile.vrt"])
def test_a_server_that_stalls_does_not_hang(impatient, answer, name):
    with listening(answer) as port:
        started = time.monotonic()
        with pytest.raises(ImageError, match=rf"{name} cannot be read.*server did not answer with"):
            RasterEncoder(f"http://127.0.0.1:{port}/{name}", remote=True).fit()
        assert time.monotonic() - started < 20


def test_gdal_does_not_wait_for_ever_either(impatient):
    """It is asked without our own request before it, as for the sources of a VRT."""
    with (
        listening(silent) as port,
        rasterio.Env(**network.gdal_limits()),
        pytest.raises(rasterio.errors.RasterioIOError),
    ):
        rasterio.open(f"http://127.0.0.1:{port}/tile.tif", driver="GTiff")


def test_gdal_gets_limits_wherever_a_raster_is_opened(monkeypatch, tmp_path):
    path = write(tmp_path / "tile.tif", np.ones((1, 8, 8), np.uint8))
    seen, real = [], rasterio.open

    def opening(*args, **options):
        seen.append(rasterio.env.getenv())
        return real(*args, **options)

    monkeypatch.setattr(rasterio, "open", opening)
    RasterEncoder(path).fit().transform(lonlat_of([1.5], [1.5]))
    assert len(seen) > 1
    for options in seen:
        assert network.gdal_limits().items() <= options.items()


@pytest.mark.parametrize("name", ["tile.tif", "tile.vrt"])
def test_redirects_to_other_kinds_of_servers_are_not_followed(server, name):
    asked = []
    with listening(asked.append) as port:
        server.folder.joinpath(f"{name}.moved").write_text(f"ftp://127.0.0.1:{port}/{name}")
        with pytest.raises(ImageError, match=r"redirects to ftp://.*, which is not http or https"):
            RasterEncoder(f"{server.url}/{name}", remote=True).fit()
    assert asked == []


def test_masks_and_sources_that_redirect_elsewhere(server):
    asked = []
    pixels = np.ones((1, 64, 64), np.uint8)
    write(server.folder / "tile.tif", pixels)
    with listening(asked.append) as port:
        for name in ("tile.tif.msk", "source.tif"):
            server.folder.joinpath(f"{name}.moved").write_text(f"ftp://127.0.0.1:{port}/{name}")
        encoder = RasterEncoder(f"{server.url}/tile.tif", remote=True).fit()
        with pytest.raises(ImageError, match=r"tile.tif.msk redirects to ftp://"):
            encoder.transform(lonlat_of([1.5], [1.5]))
        band = "<SimpleSource><SourceFilename relativeToVRT='1'>source.tif</SourceFilename>"
        band += "<SourceBand>1</SourceBand></SimpleSource>"
        server.folder.joinpath("tile.vrt").write_text(
            f'<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32632</SRS>'
            "<GeoTransform>500000,10,0,5300000,0,-10</GeoTransform>"
            f'<VRTRasterBand dataType="Byte" band="1">{band}</VRTRasterBand></VRTDataset>'
        )
        with pytest.raises(ImageError, match=r"source.tif redirects to ftp://"):
            RasterEncoder(f"{server.url}/tile.vrt", remote=True).fit()
    assert asked == []


def test_a_redirect_on_the_web_is_followed(servers):
    one, two = servers
    write(two.folder / "tile.tif", np.full((1, 64, 64), 7, np.uint8))
    one.folder.joinpath("tile.tif.moved").write_text(f"{two.url}/tile.tif")
    encoder = RasterEncoder(f"{one.url}/tile.tif", remote=True).fit()
    assert encoder.transform(lonlat_of([1.5], [1.5])) == 7


def test_an_answer_that_is_none(impatient):
    def rude(connection):
        connection.sendall(b"hello\r\n\r\n")
        connection.close()

    with listening(rude) as port, pytest.raises((OSError, urllib.error.URLError)):
        network.fetched(f"http://127.0.0.1:{port}/", most=10)


def test_a_mask_at_an_address_that_is_damaged_is_not_passed_over(server):
    path = write(server.folder / "tile.tif", np.ones((1, 64, 64), np.uint8))
    mask = server.folder / "tile.tif.msk"
    for content, told in ((b"<html>no such file</html>", None), (path.read_bytes()[:40], "msk")):
        mask.write_bytes(content)
        encoder = RasterEncoder(f"{server.url}/tile.tif", remote=True, cache_bytes=0).fit()
        if told is None:  # some servers send a page for what they do not have
            assert encoder.transform(lonlat_of([1.5], [1.5])) == 1
        else:
            with pytest.raises(ImageError, match=r"tile.tif.msk cannot be read as a raster"):
                encoder.transform(lonlat_of([1.5], [1.5]))
