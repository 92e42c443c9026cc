"""Whole grids into given memory, threads, and the process's limits."""

import threading

import joblib
import numpy as np
import pytest
import threadpoolctl
import torch

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.nn.inference.networks import SineNetwork
from skgeo_embed.nn.inference.tables import SphereTable
from skgeo_embed.nn.inference.thread_choice import ALL, BatchCosts
from skgeo_embed.nn.location import LocationEncoder

LON, LAT = np.arange(-180.0, 180, 7), np.linspace(-90.0, 90, 40)


@pytest.fixture
def encoder():
    return SatCLIPEncoder("bluemarble-l10", layer="embedding").fit()


def test_grid_into_an_array(encoder):
    expected = encoder.transform_grid(LON, LAT)
    out = np.full_like(expected, np.nan)
    assert encoder.transform_grid(LON, LAT, out=out) is out
    np.testing.assert_array_equal(out, expected)
    wide = np.zeros((40, 52, 300), dtype=np.float32)
    encoder.transform_grid(LON, LAT, out=wide[:, :, 10:266])
    np.testing.assert_array_equal(wide[:, :, 10:266], expected)
    assert not wide[:, :, :10].any()
    assert not wide[:, :, 266:].any()


def test_grid_into_a_memory_map(encoder, tmp_path):
    shape = (len(LAT), len(LON), 256)
    out = np.lib.format.open_memmap(tmp_path / "grid.npy", "w+", np.float32, shape)
    assert encoder.transform_grid(LON, LAT, out=out) is out
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "grid.npy"), encoder.transform_grid(LON, LAT))
    readable = np.load(tmp_path / "grid.npy", mmap_mode="r")
    with pytest.raises(ValueError, match="read-only"):
        encoder.transform_grid(LON, LAT, out=readable)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((40, 52, 255), np.float32), r"shape \(40, 52, 256\) and dtype float32, got"),
        (np.zeros((40, 52, 256)), "got .* and float64"),
        ([1, 2], "must be a numpy array or memmap, got list"),
    ],
)
def test_wrong_out(encoder, out, message):
    with pytest.raises(ValueError, match=message):
        encoder.transform_grid(LON, LAT, out=out)


def test_grid_of_unit_length(encoder):
    encoder.set_params(normalize=True).fit()
    np.testing.assert_allclose(
        np.linalg.norm(encoder.transform_grid(LON, LAT), axis=-1), 1, atol=1e-6
    )
    np.testing.assert_allclose(
        np.linalg.norm(encoder.transform([[1, 2], [3, 4]]), axis=1), 1, atol=1e-6
    )


def test_grid_as_xarray(encoder):
    pytest.importorskip("xarray")
    lon = np.arange(0, 360, 10)
    grid = encoder.transform_grid(lon, LAT, output="xarray")
    assert grid.dims == ("lat", "lon", "feature")
    assert grid.attrs["model"] == "bluemarble-l10"
    assert grid["lat"].attrs["units"] == "degrees_north"
    place = grid.sel(lon=350, lat=90, feature="satclip007")
    np.testing.assert_allclose(place, encoder.transform([[-10, 90]])[0, 7], atol=1e-6)
    with pytest.raises(ValueError, match='"numpy" or "xarray"'):
        encoder.transform_grid(lon, LAT, output="pandas")


def test_xarray_that_is_missing(encoder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xarray", None)
    with pytest.raises(ImportError, match=r"skgeo-embed\[grids\]"):
        encoder.transform_grid(LON, LAT, output="xarray")


def test_threads_at_once_give_the_same(sphere_points):
    places = np.tile(sphere_points, (24, 1)) + np.arange(24 * 507)[:, None] * 1e-9
    parts = np.split(places.clip(-90, 90), 2)  # two threads each, which meet in many batches
    encoder = SatCLIPEncoder(layer="embedding", batch_size=256).fit()
    expected = [encoder.transform(part) for part in parts]
    results = [None] * 4

    def work(index):
        results[index] = encoder.transform(parts[index % 2])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, result in enumerate(results):
        np.testing.assert_allclose(result, expected[index % 2], atol=1e-5)


def test_threads_at_once_build_the_tables_once(monkeypatch):
    built, second = [], threading.Event()
    build = SphereTable.__init__

    def slow(self, *args):
        built.append(self)
        if len(built) == 2:
            second.set()
        second.wait(0.3)  # for another thread, which the lock keeps out
        build(self, *args)

    monkeypatch.setattr(SphereTable, "__init__", slow)
    torch.manual_seed(1)
    encoder = SatCLIPEncoder(LocationEncoder(12, 8, 16)).fit()
    points = np.random.RandomState(0).uniform(-90, 90, (4000, 2))
    threads = [threading.Thread(target=encoder.transform, args=(points,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_limits_of_threads_are_obeyed(encoder, monkeypatch):
    seen = []
    finish = SineNetwork.finish

    def looking(self, first, content, options):
        seen.append(torch.get_num_threads())
        return finish(self, first, content, options)

    monkeypatch.setattr(SineNetwork, "finish", looking)
    monkeypatch.setattr(BatchCosts, "choose", lambda self, now: ALL)  # as on a quiet machine
    before = torch.get_num_threads()
    with threadpoolctl.threadpool_limits(1):
        encoder.transform([[1, 2]])
    encoder.transform([[1, 2]])
    assert seen == [1, before]


def _threads_of_worker(encoder):
    encoder.transform([[1, 2]])
    return torch.get_num_threads()


def test_workers_of_joblib_share_the_cores(encoder):
    threads = joblib.Parallel(n_jobs=2)(joblib.delayed(_threads_of_worker)(encoder) for _ in "ab")
    assert sum(threads) <= max(2, joblib.cpu_count())
