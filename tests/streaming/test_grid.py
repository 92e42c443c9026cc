"""Grids to a file."""

import errno
import os

import numpy as np
import pytest

from skgeo_embed import PositionalEncoder, encode_grid
from skgeo_embed.streaming import grid as module


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_grid_of_any_encoder(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 9 * 4 * 2)  # two rows at a time
    encoder = PositionalEncoder(legendre_polys=3, dtype=dtype)
    shape = encode_grid(encoder, tmp_path / "g.npy", region=(170, -10, 190, 10), resolution=5)
    found = np.load(tmp_path / "g.npy", mmap_mode="r")
    assert found.shape == shape == (4, 4, 9)
    assert found.dtype == dtype
    lon, lat = (np.load(tmp_path / f"g.{name}.npy") for name in ("lon", "lat"))
    assert lon.tolist() == [172.5, 177.5, 182.5, 187.5]
    assert lat.tolist() == [7.5, 2.5, -2.5, -7.5]
    np.testing.assert_allclose(found, encoder.fit().transform_grid(lon, lat), atol=1e-6)


def test_nothing_is_left_where_it_fails(tmp_path, monkeypatch):
    encoder = PositionalEncoder(legendre_polys=3)
    (tmp_path / "g.lat.npy").write_text("mine")
    with pytest.raises(FileExistsError, match=r"g.lat.npy exists; pass overwrite=True"):
        encode_grid(encoder, tmp_path / "g.npy")
    assert (tmp_path / "g.lat.npy").read_text() == "mine"
    with pytest.raises(ValueError, match="resolution must be a positive"):
        encode_grid(encoder, tmp_path / "h.npy", resolution=-1)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(module, "grid_blocks", fail)
    with pytest.raises(OSError, match="no space left"):
        encode_grid(encoder, tmp_path / "h.npy", resolution=30)
    assert [path.name for path in tmp_path.iterdir()] == ["g.lat.npy"]


SMALL = PositionalEncoder(legendre_polys=3)


def during_the_run(monkeypatch, happen):
    """Let something happen when the first rows of a grid are asked for."""
    blocks = module.grid_blocks

    def after_it(*arguments):
        happen()
        yield from blocks(*arguments)

    monkeypatch.setattr(module, "grid_blocks", after_it)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is written there")
def test_the_space_of_a_grid_is_reserved_before_it_is_encoded(tmp_path, monkeypatch):
    """A memory map of a file with holes ends the process by SIGBUS when the disk is full."""
    taken = []
    during_the_run(
        monkeypatch,
        lambda: taken.append((tmp_path / "g.npy.parts" / "whole").stat().st_blocks * 512),
    )
    shape = encode_grid(SMALL, tmp_path / "g.npy", resolution=3)
    assert taken[0] >= np.prod(shape) * 4


@pytest.mark.parametrize("reserves", [True, False])
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch, reserves):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if reserves and hasattr(os, "posix_fallocate"):
        monkeypatch.setattr(os, "posix_fallocate", full)
    else:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        monkeypatch.setattr("skgeo_embed._files.bytes", full, raising=False)
    with pytest.raises(OSError, match=r"No space left.*bytes are needed.*g\.npy"):
        encode_grid(SMALL, tmp_path / "g.npy", resolution=30)
    assert list(tmp_path.iterdir()) == []


def test_a_system_that_cannot_reserve_space(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    encode_grid(SMALL, tmp_path / "g.npy", resolution=30)
    lon, lat = (np.load(tmp_path / f"g.{name}.npy") for name in ("lon", "lat"))
    expected = SMALL.fit().transform_grid(lon, lat)
    np.testing.assert_array_equal(np.load(tmp_path / "g.npy"), expected)


def test_two_runs_on_one_output(tmp_path, monkeypatch):
    """They wrote into one temporary file, each over the other's rows."""
    refused = []

    def second():
        with pytest.raises(RuntimeError, match=r"another process is writing .*g\.npy"):
            encode_grid(PositionalEncoder(legendre_polys=4), tmp_path / "g.npy", resolution=30)
        refused.append(True)

    with monkeypatch.context() as patch:
        during_the_run(patch, second)
        encode_grid(SMALL, tmp_path / "g.npy", resolution=30)
    assert refused == [True]
    assert np.load(tmp_path / "g.npy").shape == (6, 12, 9)


@pytest.mark.parametrize("name", ["g.npy", "g.lon.npy", "g.lat.npy"])
def test_what_appears_during_a_run_stays(tmp_path, monkeypatch, name):
    with monkeypatch.context() as patch:
        during_the_run(patch, lambda: (tmp_path / name).write_text("mine"))
        with pytest.raises(FileExistsError, match=rf"{name} has appeared.*overwrite=True"):
            encode_grid(SMALL, tmp_path / "g.npy", resolution=30)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"
    encode_grid(SMALL, tmp_path / "g.npy", resolution=30, overwrite=True)
    assert np.load(tmp_path / name).dtype.kind == "f"


def test_what_a_killed_run_left_is_cleared_and_what_is_the_users_stays(tmp_path):
    folder = tmp_path / "g.npy.parts"
    folder.mkdir()
    (folder / "whole").write_bytes(b"half a grid")
    (folder / ".lock").touch()
    encode_grid(SMALL, tmp_path / "g.npy", resolution=30)
    assert not folder.exists()
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds something else \(notes\.txt\); move it"):
        encode_grid(SMALL, tmp_path / "g.npy", resolution=30, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"
