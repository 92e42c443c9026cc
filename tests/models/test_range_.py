"""Databases that RANGE retrieves from: refused by the file's name, or read as they are."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from skgeo_embed import (
    ModelFormatError,
    ModelNotFoundError,
    PositionalEncoder,
    RANGEEncoder,
    SatCLIPEncoder,
)
from skgeo_embed.models.hub import HubOptions
from skgeo_embed.models.third_party.range_ import open_database

OPTIONS = HubOptions(None, None, None, True)
N = 20


def arrays(**changes):
    rng = np.random.RandomState(0)
    return {
        "locs": rng.uniform(-80, 80, (N, 2)),
        "satclip_embeddings": rng.randn(N, 4),
        "image_embeddings": rng.randn(N, 5),
        **changes,
    }


BAD = {
    "no columns": ({"image_embeddings": np.zeros((N, 0))}, "image_embeddings has no columns"),
    "keys of no columns": ({"satclip_embeddings": np.zeros((N, 0))}, "has no columns"),
    "keys zero": (
        {"satclip_embeddings": np.zeros((N, 4))},
        r"20 row\(s\) of satclip_embeddings are 0",
    ),
    "one key zero": (
        {"satclip_embeddings": np.arange(N)[:, None] * np.ones(4)},
        r"1 row\(s\) of satclip_embeddings are 0",
    ),
    "NaN": ({"locs": np.full((N, 2), np.nan)}, "locs is NaN or infinite, first in row 0"),
    "one dimension": ({"locs": np.zeros(N)}, r"locs is float64 of shape \(20,\)"),
    "texts": ({"locs": np.full((N, 2), "1.0")}, "locs is <U3"),
    "booleans": ({"locs": np.ones((N, 2), bool)}, "locs is bool"),
    "complex": ({"locs": np.ones((N, 2), complex)}, "locs is complex128"),
    "dates": ({"locs": np.ones((N, 2), "M8[s]")}, "locs is datetime64"),
    "structured": ({"locs": np.zeros(N, [("lon", "f8"), ("lat", "f8")])}, "locs is "),
    "three dimensions": ({"image_embeddings": np.zeros((N, 5, 1))}, "image_embeddings is float64"),
    "keys structured": ({"satclip_embeddings": np.zeros(N, "f4,f4")}, "satclip_embeddings is "),
    "objects": ({"locs": np.full((N, 2), None)}, "locs is object"),
    "fewer rows": ({"satclip_embeddings": np.ones((19, 4))}, r"the same number of rows.*\(19, 4\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_by_the_files_name(name, tmp_path):
    changes, words = BAD[name]
    path = tmp_path / "odd.npz"
    np.savez(path, **arrays(**changes))
    with pytest.raises(ModelFormatError, match=words) as error:
        open_database(path, OPTIONS)
    assert str(error.value).count(str(path)) == 1
    assert "on_invalid" not in str(error.value)  # a file's places cannot be left out


@pytest.mark.parametrize("place", [(1000.0, 1000.0), (10.0, 120.0)])
def test_places_are_held_to_what_is_asked_of_a_users(place, tmp_path):
    path = tmp_path / "odd.npz"
    np.savez(path, **arrays(locs=np.tile(place, (N, 1))))
    words = r"odd\.npz: locs: 20 of 20 row\(s\) lie outside"
    with pytest.raises(ModelFormatError, match=words) as error:
        RANGEEncoder(path, location_encoder=PositionalEncoder("grid")).fit()
    assert ("swapped" in str(error.value)) == (place == (10.0, 120.0))


def test_a_header_that_claims_more_than_there_is(tmp_path):
    path, header = tmp_path / "large.npz", io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": (2**37, 2)}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(path, "w") as archive:
        for key in arrays():
            archive.writestr(f"{key}.npy", header.getvalue())
    with pytest.raises(ModelFormatError, match=r"large\.npz .*locs says .* the file holds less"):
        open_database(path, OPTIONS)


@pytest.mark.parametrize("dtype", ["float32", ">f8"])
def test_either_order_in_memory(tmp_path, dtype, monkeypatch):
    from skgeo_embed.models.third_party import range_

    monkeypatch.setattr(range_, "NUMBERS", 7)  # at a time: pieces end within rows
    plain, fortran = tmp_path / "plain.npz", tmp_path / "fortran.npz"
    content = {key: value.astype(dtype) for key, value in arrays().items()}
    np.savez(plain, **content)
    np.savez(fortran, **{key: np.asfortranarray(value) for key, value in content.items()})
    rows, columns = open_database(plain, OPTIONS), open_database(fortran, OPTIONS)
    for part in ("lonlat", "keys", "values"):
        np.testing.assert_array_equal(getattr(columns, part), getattr(rows, part))
    np.testing.assert_array_equal(rows.values, content["image_embeddings"].astype(np.float32))


def test_the_database_is_looked_for_before_its_location_encoder(tmp_path):
    for name in ("nobody/nothing", "..", "/dev/null"):
        with pytest.raises(ModelNotFoundError, match=f"there is no database {name!r}"):
            RANGEEncoder(name, cache_dir=tmp_path, local_files_only=True).fit()
    with pytest.raises(TypeError, match="database must be text or a path, got int"):
        RANGEEncoder(5, cache_dir=tmp_path, local_files_only=True).fit()


COORDS = arrays()["locs"]
FEATURES = np.random.RandomState(1).randn(N, 256)


def images(features, **more):
    return RANGEEncoder.from_images(SatCLIPEncoder(layer="embedding"), features, COORDS, **more)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.ma.masked_greater(FEATURES, 2), rf"{(FEATURES > 2).sum()} of 5120 .* masked"),
        (list(np.ma.masked_greater(FEATURES, 2)), rf"{(FEATURES > 2).sum()} of 5120 .* masked"),
        (FEATURES + 1j, "complex128"),
        (FEATURES.astype(str), "<U"),
        (FEATURES.astype(str).astype(object), "text"),
        (np.ones((N, 256), "M8[s]"), "datetime64"),
        (scipy.sparse.csr_array(FEATURES), r"sparse.*toarray\(\)"),
        (torch.tensor(FEATURES).to_sparse(), r"to_dense\(\)"),
        (pd.DataFrame(FEATURES).astype("Float64").mask(FEATURES > 2), "NA"),
        ([[1.0, 2.0], [1.0]], "table of numbers"),
        ({"a": FEATURES}, "table of numbers"),
        (None, r"shapes .*\(\)"),
        (np.full((N, 256), 1e300), "infinite"),
        (np.zeros((N, 256)), r"20 row\(s\) of (image_features|keys) are 0"),
        (FEATURES[:, 0], r"shapes .*\(20,\)"),
    ],
)
def test_features_of_ones_own_that_are_no_numbers(features, words):
    with pytest.raises(ModelFormatError, match=words) as error:
        images(features)
    assert "image_features" in str(error.value)
    if getattr(features, "shape", ()) == FEATURES.shape:
        with pytest.raises(ModelFormatError, match=words) as error:
            images(FEATURES, keys=features)
        assert "keys" in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        np.ma.array,
        lambda f: torch.tensor(f, requires_grad=True),
        lambda f: [torch.tensor(row, requires_grad=True) for row in f],
        pd.DataFrame,
        np.ndarray.tolist,
        lambda f: f.astype(object),
    ],
)
def test_features_of_ones_own_in_other_containers(make):
    database = images(make(FEATURES)).database
    np.testing.assert_array_equal(database.values, FEATURES.astype(np.float32))
    assert type(database.values) is np.ndarray


def test_features_of_ones_own_are_a_copy():
    features = FEATURES.astype(np.float32)
    database = images(features).database
    features[:] = 0
    assert np.abs(database.values).max() > 1


def test_half_precision_is_read():
    features = torch.tensor(FEATURES).bfloat16()
    np.testing.assert_array_equal(images(features).database.values, features.float().numpy())


def test_a_location_encoder_of_other_columns(tmp_path):
    path = tmp_path / "odd.npz"
    np.savez(path, **arrays())
    with pytest.raises(ValueError, match="compared with 4 columns, but the location encoder"):
        RANGEEncoder(path, location_encoder=PositionalEncoder("grid")).fit()
