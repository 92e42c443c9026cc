"""Odd databases of RANGE: files, and images that a user brings."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import shapely
import torch

from skgeo_embed import PositionalEncoder, RANGEEncoder
from tests.odd_inputs.checking import by_name, check, check_file, each, reads, refuses
from tests.odd_inputs.encoders import PLACES, keys_encoder
from tests.odd_inputs.test_model_files import NO_CHECKPOINTS, Payload, flipped

pytestmark = pytest.mark.slow
every_beta = pytest.mark.parametrize("beta", [None, 0.5])


def arrays():
    """Make a database of twenty images."""
    rng = np.random.RandomState(0)
    return {
        "locs": rng.uniform(-80, 80, (20, 2)),
        "satclip_embeddings": rng.randn(20, 256),
        "image_embeddings": rng.randn(20, 5),
    }


def npz(path, save=np.savez, **others):
    """Write a database with some of its arrays changed; None leaves one out."""
    content = {**arrays(), **others}
    save(path, **{key: value for key, value in content.items() if value is not None})
    return path


def rows(value, columns=2):
    return np.full((20, columns), value)


BAD_ARRAYS = {  # in the place of others; None leaves one out
    "no places": {"locs": None},
    "no keys": {"satclip_embeddings": None},
    "no features": {"image_embeddings": None},
    "places NaN": {"locs": rows(np.nan)},
    "places out of range": {"locs": rows(1000.0)},
    "places swapped": {"locs": np.column_stack([[10.0] * 20, [120.0] * 20])},
    "places of three": {"locs": np.zeros((20, 3))},
    "places of one dimension": {"locs": np.zeros(20)},
    "places fewer": {"locs": np.zeros((19, 2))},
    "places texts": {"locs": rows("1.0")},
    "places booleans": {"locs": rows(True)},
    "places complex": {"locs": rows(1j)},
    "places dates": {"locs": np.ones((20, 2), "M8[s]")},
    "places structured": {"locs": np.zeros(20, [("lon", "f8"), ("lat", "f8")])},
    "features NaN": {"image_embeddings": rows(np.nan, 5)},
    "features infinite": {"image_embeddings": rows(np.inf, 5)},
    "features too large for float32": {"image_embeddings": rows(1e300, 5)},
    "features of no columns": {"image_embeddings": rows(1.0, 0)},
    "features of three dimensions": {"image_embeddings": np.zeros((20, 5, 1))},
    "keys fewer": {"satclip_embeddings": np.ones((19, 256))},
    "keys NaN": {"satclip_embeddings": rows(np.nan, 256)},
    "keys all zero": {"satclip_embeddings": rows(0.0, 256)},
    "keys structured": {"satclip_embeddings": np.zeros(20, "f4,f4")},
    "no rows": {key: value[:0] for key, value in arrays().items()},
}


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 2)))
    return buffer.getvalue()


BAD_BYTES = {  # given those of a database
    "empty": lambda whole: b"",
    "text": lambda whole: b"hello",
    "an .npy": lambda whole: npy(),
    "another zip": lambda whole: NO_CHECKPOINTS["another zip"],
    "cut": lambda whole: whole[: len(whole) // 2],
    "cut at its end": lambda whole: whole[:-5],
    "bits turned": lambda whole: flipped(whole, 60, 97),
}
ODD_ARRAYS = {  # that change no number
    "an array more": {"x": np.zeros(3)},
    "big-endian": {"locs": arrays()["locs"].astype(">f8")},
    "Fortran order": {key: np.asfortranarray(value) for key, value in arrays().items()},
    "compressed": {"save": np.savez_compressed},
}


def encode(path, **options):
    return RANGEEncoder(path, location_encoder=keys_encoder(), **options).fit_transform(PLACES)


@every_beta
@by_name("changes", BAD_ARRAYS)
def test_arrays_that_are_wrong(changes, beta, tmp_path):
    path = npz(tmp_path / "database.npz", **changes)
    check_file(path, lambda: encode(path, beta=beta))


@every_beta
@by_name("change", BAD_BYTES)
def test_files_that_are_no_database(change, beta, tmp_path):
    path = npz(tmp_path / "database.npz")
    path.write_bytes(change(path.read_bytes()))
    check_file(path, lambda: encode(path, beta=beta))


@every_beta
def test_a_header_that_claims_two_terabytes(beta, tmp_path):
    path = npz(tmp_path / "database.npz", locs=None)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472, 2), }"
    with zipfile.ZipFile(path, "a") as file:
        content = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header
        file.writestr("locs.npy", content)
    check_file(path, lambda: encode(path, beta=beta))


@every_beta
@by_name("changes", ODD_ARRAYS)
def test_arrays_that_are_odd(changes, beta, tmp_path):
    path, plain = npz(tmp_path / "database.npz", **changes), npz(tmp_path / "plain.npz")
    check(lambda: encode(path, beta=beta), lambda: encode(plain, beta=beta))


def test_objects_that_run_code(tmp_path):
    mark = tmp_path / "the-code-ran"
    rows = np.empty((20, 2), dtype=object)
    rows[:] = Payload(mark)
    path = npz(tmp_path / "pickled.npz", locs=rows)
    check_file(path, lambda: encode(path))
    assert not mark.exists()


def test_a_location_encoder_of_other_columns(tmp_path):
    path = npz(tmp_path / "database.npz")
    check(
        lambda: RANGEEncoder(path, location_encoder=PositionalEncoder()).fit(),
        words=("location encoder", "256"),
    )


# --- images that a user brings


def from_images(coords=None, values=None):
    coords = arrays()["locs"] if coords is None else coords
    values = arrays()["satclip_embeddings"] if values is None else values
    return RANGEEncoder.from_images(keys_encoder(), values, coords).fit_transform(PLACES)


LONLAT, FEATURES = arrays()["locs"], arrays()["satclip_embeddings"]
IMAGE_PLACES = [
    reads("a frame, latitude first", lambda: pd.DataFrame(LONLAT[:, ::-1], columns=["lat", "lon"])),
    reads("points", lambda: list(shapely.points(LONLAT))),
    reads("a tensor", lambda: torch.tensor(LONLAT)),
    reads("360 notation", lambda: np.column_stack([LONLAT[:, 0] % 360, LONLAT[:, 1]])),
    refuses("NaN", lambda: np.where(LONLAT[3, 0] == LONLAT, np.nan, LONLAT), "NaN", "row 3"),
    refuses("masked", lambda: np.ma.masked_equal(LONLAT, LONLAT[3, 0]), "NaN", "row 3"),
    refuses("out of range", lambda: LONLAT * 10, "[-90, 90]"),
    refuses("fewer", lambda: LONLAT[:19], "19", "20"),
    refuses("texts", lambda: LONLAT.astype(str), "degrees"),
]
IMAGE_FEATURES = [
    reads("lists", lambda: FEATURES.tolist()),
    reads("a tensor", lambda: torch.tensor(FEATURES)),
    reads("a tensor with gradient", lambda: torch.tensor(FEATURES, requires_grad=True)),
    reads("bfloat16", lambda: torch.ones(20, 256).bfloat16()),
    reads("a frame", lambda: pd.DataFrame(FEATURES)),
    refuses("NaN", lambda: np.full((20, 256), np.nan), "NaN", "row 0"),
    refuses("masked", lambda: np.ma.masked_greater(FEATURES, 2.0), "mask"),
    refuses("texts", lambda: np.full((20, 256), "x"), "features"),
    refuses("complex", lambda: FEATURES + 1j, "complex"),
    reads("booleans", lambda: FEATURES > 0),
    refuses("one dimension", lambda: FEATURES[:, 0], "shape"),
    refuses("three dimensions", lambda: FEATURES[:, :, None], "shape"),
    refuses("fewer", lambda: FEATURES[:19], "19", "20"),
    refuses("of other columns than the encoder's", lambda: FEATURES[:, :9], "9", "256"),
    refuses("sparse", lambda: scipy.sparse.csr_array(FEATURES), "features"),
    refuses("too large for float32", lambda: np.full((20, 256), 1e300), "infinite"),
]


@each(IMAGE_PLACES)
def test_places_of_images(odd):
    odd.check(from_images, from_images)


def as_floats(values):
    if isinstance(values, torch.Tensor):
        values = values.detach().double()
    return np.asarray(values, float)


@each(IMAGE_FEATURES)
def test_features_of_images(odd):
    odd.check(
        lambda values: from_images(None, values),
        lambda: from_images(None, as_floats(odd.value())),
    )
