"""Small files that would take much memory: refused before, by what their headers say."""

import io
import json
import tracemalloc
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from skgeo_embed import ClimplicitEncoder, GPS2VecEncoder, SatCLIPEncoder
from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models import packing
from skgeo_embed.models.folder import write_folder
from skgeo_embed.models.hub import HubOptions
from skgeo_embed.models.third_party.range_ import open_database
from tests.content import small_tower
from tests.third_party_recipe import write_zone

MUCH = 40 * 2**20


@pytest.fixture(autouse=True)
def _little_memory():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MUCH


def squeezed(size):
    """So many zeros, compressed without having all of them."""
    pressing = zlib.compressobj(9)
    pieces = [pressing.compress(bytes(2**20)) for _ in range(size // 2**20)]
    return b"".join([*pieces, pressing.flush()])


def with_packed(folder, shape, size):
    """A folder with content, whose layer is packed and claims a shape."""
    tower = small_tower()
    content = tower.posenc.grid.content
    weights = {f"location.{key}": value for key, value in tower.state_dict().items()}
    weights |= {f"content.{key}": value for key, value in content.state_dict().items()}
    config = {"location": tower.config, "content": content.description()}
    write_folder(folder, config, weights, "card")
    config = json.loads((folder / "config.json").read_text())
    del config["sha256"], weights["content.codes_rain"]
    (folder / "config.json").write_text(json.dumps(config))
    packed = torch.frombuffer(bytearray(squeezed(size)), dtype=torch.uint8)
    weights = {key: value.contiguous().clone() for key, value in weights.items()}
    save_file(
        {**weights, "content.codes_rain.zlib": packed},
        folder / "model.safetensors",
        metadata={"packed": json.dumps({"content.codes_rain": shape})},
    )


@pytest.mark.parametrize("shape", [[2**14, 2**15, 1], [64, 128, 2**16], [1, 2**27, 1]])
def test_a_packed_table_of_another_size_than_is_described(tmp_path, shape):
    with_packed(tmp_path / "rainy", shape, 2**25)
    with pytest.raises(ModelFormatError, match=r"rainy.*'content\.codes_rain' is of.*description"):
        SatCLIPEncoder(tmp_path / "rainy", layer="content").fit()


@pytest.mark.parametrize("shape", [[2**29], [2**20, 2**9, 1], [10**30]])
def test_packed_tables_that_are_too_large(shape):
    packed = {"a.zlib": torch.zeros(10, dtype=torch.uint8)}
    with pytest.raises(ValueError, match=r"claim [0-9,]+ bytes; at most 268,435,456 are allowed"):
        packing.unpack(packed, {"packed": json.dumps({"a": shape})})


def test_many_packed_tables_that_are_too_large_together():
    packed = {f"{name}.zlib": torch.zeros(10, dtype=torch.uint8) for name in "abcde"}
    claims = json.dumps({name: [2**26] for name in "abcde"})
    with pytest.raises(ValueError, match="are allowed"):
        packing.unpack(packed, {"packed": claims})


def test_what_may_not_be_unpacked_is_not_packed(monkeypatch):
    monkeypatch.setattr(packing, "LARGEST", 200_000)
    tables = {name: torch.zeros(300, 300, 1, dtype=torch.int8) for name in "abc"}
    packed, metadata = packing.pack(tables)
    assert sorted(packed) == ["a.zlib", "b.zlib", "c"]
    assert packing.unpack(packed, metadata).keys() == tables.keys()


def write_database(path, rows, dtype="f4", **shapes):
    """A database of zeros, of as many bytes as its headers say."""
    found = {"locs": (rows, 2), "satclip_embeddings": (rows, 16), "image_embeddings": (rows, 64)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key, shape in {**found, **shapes}.items():
            header = io.BytesIO()
            described = {"descr": f"<{dtype}", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, described)
            with archive.open(f"{key}.npy", "w") as file:
                file.write(header.getvalue())
                size = int(np.prod(shape)) * np.dtype(dtype).itemsize
                for start in range(0, size, 2**20):
                    file.write(bytes(min(2**20, size - start)))


def test_a_database_that_is_compressed_as_no_features_are(tmp_path):
    write_database(tmp_path / "db.npz", 2**18)  # 64 MB of zeros
    assert (tmp_path / "db.npz").stat().st_size < 2**20
    with pytest.raises(ModelFormatError, match=r"db\.npz.*embeddings takes [0-9,]+ bytes, compres"):
        open_database(tmp_path / "db.npz", HubOptions())


def test_a_database_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("skgeo_embed.models.third_party.range_.LARGEST", 2**20)
    write_database(tmp_path / "db.npz", 2**14, "i1")
    with pytest.raises(
        ModelFormatError, match=r"db\.npz.*take [0-9,]+ bytes; at most 1,048,576 are"
    ):
        open_database(tmp_path / "db.npz", HubOptions())


def test_a_database_whose_tables_differ_is_not_read(tmp_path):
    write_database(tmp_path / "db.npz", 10, image_embeddings=(2**16, 60))
    with pytest.raises(ModelFormatError, match=r"db\.npz.*the same number of rows.*\(65536, 60\)"):
        open_database(tmp_path / "db.npz", HubOptions())


def test_keys_whose_squares_are_infinite_or_nothing(tmp_path):
    """They became 0, which is similar to no place, or were called 0."""
    rng = np.random.RandomState(0)
    keys = rng.standard_normal((20, 8)).astype(np.float32)
    arrays = {"locs": rng.uniform(-80, 80, (20, 2)), "image_embeddings": keys}
    expected = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    for scale in (1e25, 1e-25, 1.0):
        np.savez(tmp_path / "db.npz", satclip_embeddings=keys * np.float32(scale), **arrays)
        found = open_database(tmp_path / "db.npz", HubOptions()).keys
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["a.ckpt", "a.pt"])
def test_torchs_files_that_are_compressed(tmp_path, name):
    plain = io.BytesIO()
    torch.save({"state_dict": {"nnet.weight": torch.zeros(10)}}, plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    opened = SatCLIPEncoder if name == "a.ckpt" else ClimplicitEncoder
    with pytest.raises(ModelFormatError, match=rf"{name}.*is compressed, which torch never does"):
        opened(tmp_path / name).fit()


def keys_of(layer):
    names = layer.attrs["weight_names"]
    return [name.decode() if isinstance(name, bytes) else name for name in names]


def test_zones_that_claim_much(tmp_path):
    path = tmp_path / "model_48 N.h5"
    write_zone(path, "visual")
    with h5py.File(path, "r+") as file:
        for name, dim_in, dim_out in (("layer1", 400, 2**14), ("layer2", 2**14, 2**14),
                                      ("layer3", 2**14, 1024)):  # fmt: skip
            for key in keys_of(file[name]):
                shape = (dim_in, dim_out) if "kernel" in key else (dim_out,)
                del file[name][key]
                file[name].create_dataset(key, shape, "f4", chunks=True, compression="gzip")
        for name in ("object", "scene"):
            for key in keys_of(file[name]):
                shape = (1024, *file[name][key].shape[1:]) if "kernel" in key else None
                if shape:
                    del file[name][key]
                    file[name].create_dataset(key, shape, "f4", chunks=True, compression="gzip")
    with pytest.raises(ModelFormatError, match=r"model_48 N\.h5.*claim [0-9,]+ numbers; at most"):
        GPS2VecEncoder(tmp_path).fit().transform([[103.76, 1.32]])


@pytest.mark.parametrize("name", ["a.ckpt", "a.pt"])
def test_tensors_that_repeat_what_the_file_holds_once(tmp_path, name):
    """A tensor of one number that is `expand`ed takes three kilobytes, and a copy gigabytes."""
    state = {"nnet.last_layer.weight": torch.zeros(8, 16)}
    state["nnet.layers.0.weight"] = torch.zeros(1).expand(2**12, 2**12)
    torch.save({"state_dict": state}, tmp_path / name)
    opened = SatCLIPEncoder if name == "a.ckpt" else ClimplicitEncoder
    with pytest.raises(
        ModelFormatError, match=rf"{name}.*layers.0.weight' claims 67,108,864 bytes.*holds 4"
    ):
        opened(tmp_path / name).fit()


def test_a_small_tensor_that_repeats_a_number_is_one(tmp_path):
    state = {"nnet.weight": torch.zeros(1).expand(8, 16), "nnet.bias": torch.zeros(8)}
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    assert SatCLIPEncoder(tmp_path / "a.ckpt").fit().transform([[1, 2]]).shape == (1, 8)


def test_a_database_whose_header_is_long(tmp_path):
    with zipfile.ZipFile(
        tmp_path / "db.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1
    ) as archive:
        for key in ("locs", "satclip_embeddings", "image_embeddings"):
            with archive.open(f"{key}.npy", "w") as file:
                file.write(b"\x93NUMPY\x02\x00" + (2**26).to_bytes(4, "little"))
                for _ in range(2**6):
                    file.write(b" " * 2**20)
    with pytest.raises(ModelFormatError, match=r"db\.npz.*RANGE database"):
        open_database(tmp_path / "db.npz", HubOptions())


def test_a_zone_file_in_large_chunks(tmp_path):
    """HDF5 unpacks a chunk whole, and a chunk may be larger than the values."""
    path = tmp_path / "model_48 N.h5"
    write_zone(path, "visual")
    with h5py.File(path, "r+") as file:
        key = next(key for key in keys_of(file["layer1"]) if "kernel" in key)
        shape = file["layer1"][key].shape
        del file["layer1"][key]
        options = {"maxshape": (None, None), "chunks": (2**10, 2**17), "compression": "gzip"}
        file["layer1"].create_dataset(key, shape, "f4", **options)
    with pytest.raises(
        ModelFormatError, match=r"48 N\.h5.*claim [0-9,]+ numbers; at most 67,108,864"
    ):
        GPS2VecEncoder(tmp_path).fit().transform([[103.76, 1.32]])


def test_a_zone_file_of_other_types(tmp_path):
    path = tmp_path / "model_48 N.h5"
    write_zone(path, "visual")
    with h5py.File(path, "r+") as file:
        key = next(key for key in keys_of(file["layer1"]) if "kernel" in key)
        values = file["layer1"][key][:]
        del file["layer1"][key]
        file["layer1"][key] = values.astype(np.int8)
    with pytest.raises(
        ModelFormatError, match=r"48 N\.h5.*layer1 holds int8; weights are floating"
    ):
        GPS2VecEncoder(tmp_path).fit().transform([[103.76, 1.32]])
