"""Odd databases of RANGE: files, and images that a user brings."""

import zipfile

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import shapely
import torch

from skgeo_embed import PositionalEncoder, RANGEEncoder
from skgeo_embed._errors import ModelFormatError
from tests.odd_inputs.bad_files import Payload, flipped, other_zip, write_bytes
from tests.odd_inputs.checking import (
    REFUSALS,
    by_name,
    check,
    check_file,
    each,
    reads,
    refuses,
)
from tests.odd_inputs.encoders import PLACES, keys_encoder

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


def npz(path, change=None, save=np.savez, **others):
    """Write a database with some of its arrays changed; None leaves one out."""
    content = {**arrays(), **others}
    save(path, **{key: value for key, value in content.items() if value is not None})
    if change is not None:
        path.write_bytes(change(path.read_bytes()))
    return path


def overstated(path):
    """A header that claims 2 TB, over 40 numbers."""
    npz(path, locs=None)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472, 2), }"
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("locs.npy", b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header)
    return path


ROWS_OF_NAN = np.full((20, 5), np.nan)
BAD_DATABASES = {
    "empty": lambda path: write_bytes(path, b""),
    "text": lambda path: write_bytes(path, b"hello"),
    "an .npy": lambda path: np.save(path.open("wb"), np.zeros((3, 2))) or path,
    "another zip": lambda path: write_bytes(path, other_zip()),
    "cut": lambda path: npz(path, change=lambda c: c[: len(c) // 2]),
    "cut at its end": lambda path: npz(path, change=lambda c: c[:-5]),
    "bits turned": lambda path: npz(path, change=lambda c: flipped(c, 60, 97)),
    "no places": lambda path: npz(path, locs=None),
    "no keys": lambda path: npz(path, satclip_embeddings=None),
    "no features": lambda path: npz(path, image_embeddings=None),
    "places NaN": lambda path: npz(path, locs=np.full((20, 2), np.nan)),
    "places out of range": lambda path: npz(path, locs=np.full((20, 2), 1000.0)),
    "places swapped": lambda path: npz(path, locs=np.column_stack([[10.0] * 20, [120.0] * 20])),
    "places of three": lambda path: npz(path, locs=np.zeros((20, 3))),
    "places of one dimension": lambda path: npz(path, locs=np.zeros(20)),
    "places fewer": lambda path: npz(path, locs=np.zeros((19, 2))),
    "places texts": lambda path: npz(path, locs=np.full((20, 2), "1.0")),
    "places booleans": lambda path: npz(path, locs=np.ones((20, 2), bool)),
    "places complex": lambda path: npz(path, locs=np.ones((20, 2), complex)),
    "places dates": lambda path: npz(path, locs=np.ones((20, 2), "M8[s]")),
    "places structured": lambda path: npz(path, locs=np.zeros(20, [("lon", "f8"), ("lat", "f8")])),
    "features NaN": lambda path: npz(path, image_embeddings=ROWS_OF_NAN),
    "features infinite": lambda path: npz(path, image_embeddings=ROWS_OF_NAN * 0 + np.inf),
    "features too large for float32": lambda path: npz(
        path, image_embeddings=np.full((20, 5), 1e300)
    ),
    "features of no columns": lambda path: npz(path, image_embeddings=np.zeros((20, 0))),
    "features of three dimensions": lambda path: npz(path, image_embeddings=np.zeros((20, 5, 1))),
    "keys fewer": lambda path: npz(path, satclip_embeddings=np.ones((19, 256))),
    "keys NaN": lambda path: npz(path, satclip_embeddings=np.full((20, 256), np.nan)),
    "keys all zero": lambda path: npz(path, satclip_embeddings=np.zeros((20, 256))),
    "keys structured": lambda path: npz(path, satclip_embeddings=np.zeros(20, "f4,f4")),
    "no rows": lambda path: npz(
        path, locs=np.zeros((0, 2)), satclip_embeddings=np.zeros((0, 256)),
        image_embeddings=np.zeros((0, 5)),
    ),
    "2 TB that are not there": overstated,
}  # fmt: skip
GOOD_DATABASES = {
    "compressed": lambda path: npz(path, save=np.savez_compressed),
    "an array more": lambda path: npz(path, x=np.zeros(3)),
    "big-endian": lambda path: npz(path, locs=arrays()["locs"].astype(">f8")),
    "Fortran order": lambda path: npz(path, **{
        key: np.asfortranarray(value) for key, value in arrays().items()
    }),
}  # fmt: skip


def encode(path, **options):
    return RANGEEncoder(path, location_encoder=keys_encoder(), **options).fit_transform(PLACES)


@every_beta
@by_name("write", BAD_DATABASES)
def test_databases_that_are_wrong(write, beta, tmp_path):
    path = write(tmp_path / "database.npz")
    check_file(path, lambda: encode(path, beta=beta))


@every_beta
@by_name("write", GOOD_DATABASES)
def test_databases_that_are_odd(write, beta, tmp_path):
    path = write(tmp_path / "database.npz")
    check(
        lambda: encode(path, beta=beta),
        lambda: encode(npz(tmp_path / "plain.npz"), beta=beta),
    )


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
    check(
        lambda: from_images(None, odd.value()),
        (lambda: from_images(None, as_floats(odd.value()))) if odd.readable else None,
        odd.words,
        kinds=(*REFUSALS, ModelFormatError),
    )
