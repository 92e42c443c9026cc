"""Grids to a file."""

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
