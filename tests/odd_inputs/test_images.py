"""Odd images in `SatCLIPImageEncoder`, and odd vision towers."""

import copy
from functools import cache

import dask.array
import numpy as np
import pytest
import torch
import xarray as xr

from skgeo_embed import SatCLIPImageEncoder
from skgeo_embed.nn.vision.small_cnn import SmallConvNet
from tests.odd_inputs.checking import by_name, check, each, either, reads, refuses

pytestmark = pytest.mark.slow
PIXELS = (np.random.RandomState(0).rand(3, 3, 32, 32) * 200).astype(np.uint8)
REFLECTANCE = PIXELS.astype(np.float32) / np.float32(255)


@cache
def image_encoder():
    return SatCLIPImageEncoder("bluemarble-l10").fit()


def with_pixel(value, dtype=np.float32):
    images = REFLECTANCE.astype(dtype)
    images[1, 2, 3, 4] = value
    return images


IMAGES = [
    reads("uint8", lambda: PIXELS),
    reads("uint16", lambda: (REFLECTANCE * 10_000).round().astype(np.uint16), tolerance=1e-3),
    reads("big-endian uint16", lambda: (REFLECTANCE * 10_000).round().astype(">u2"),
        tolerance=1e-3),
    reads("big-endian float", lambda: REFLECTANCE.astype(">f4")),
    reads("float64", lambda: REFLECTANCE.astype(float)),
    reads("float16", lambda: REFLECTANCE.astype(np.float16), tolerance=5e-3),
    reads("lists", lambda: list(PIXELS)),
    reads("nested lists", lambda: REFLECTANCE.tolist()),
    reads("tensor", lambda: torch.tensor(REFLECTANCE)),
    reads("bfloat16 tensor", lambda: torch.tensor(REFLECTANCE).bfloat16(), tolerance=2e-2),
    reads("list of tensors", lambda: list(torch.tensor(REFLECTANCE))),
    reads("negative-bit tensor", lambda: torch._neg_view(torch.tensor(-REFLECTANCE))),
    reads("Fortran order", lambda: np.asfortranarray(PIXELS)),
    reads("negative strides", lambda: PIXELS[:, :, ::-1].copy()[:, :, ::-1]),
    reads("DataArray", lambda: xr.DataArray(PIXELS)),
    reads("mixed types in a list", lambda: [PIXELS[0], *REFLECTANCE[1:]]),
    reads("masked, nothing masked", lambda: np.ma.array(PIXELS)),
    refuses("masked", lambda: np.ma.masked_less(PIXELS, 5), "masked"),
    refuses("list of masked images", lambda: list(np.ma.masked_less(PIXELS, 5)), "masked"),
    refuses("NaN", lambda: with_pixel(np.nan), "image 1", "NaN"),
    refuses("infinity", lambda: with_pixel(-np.inf), "image 1", "NaN"),
    refuses("1e20", lambda: with_pixel(1e20), "image 1", "1e+20"),
    refuses("-3.4e38", lambda: with_pixel(-3.4e38), "image 1", "3.4e+38"),
    refuses("float64 1e300", lambda: with_pixel(1e300, float), "image 1", "1e+300"),
    refuses("one image", lambda: PIXELS[0], "images[None]"),
    refuses("bands last", lambda: PIXELS.transpose(0, 2, 3, 1), "transpose"),
    refuses("four bands", lambda: np.zeros((1, 4, 32, 32)), "3 bands", "with 4"),
    refuses("no image", lambda: PIXELS[:0], "empty"),
    refuses("no pixel", lambda: PIXELS[..., :0], "empty"),
    refuses("empty list", lambda: [], "images"),
    refuses("five dimensions", lambda: PIXELS[None], "(n, bands"),
    refuses("complex", lambda: REFLECTANCE + 0j, "complex"),
    refuses("list of complex", lambda: list(REFLECTANCE + 0j), "complex"),
    refuses("objects", lambda: PIXELS.astype(object), "object"),
    refuses("texts of numbers", lambda: PIXELS.astype(str), "dtype"),
    refuses("dates", lambda: PIXELS.astype("M8[s]"), "dtype"),
    refuses("sizes that differ", lambda: [PIXELS[0], PIXELS[1][:, :16]], "differ"),
    refuses("None", lambda: None, "images"),
    refuses("a number", lambda: 3, "images"),
    refuses("dict", lambda: {"images": PIXELS}, "images"),
    refuses("generator", lambda: (image for image in PIXELS), "images"),
    either("dask array", lambda: dask.array.from_array(PIXELS), "dask"),
    refuses("meta tensor", lambda: torch.empty(1, 3, 32, 32, device="meta"), "meta"),
    refuses("sparse tensor", lambda: torch.tensor(REFLECTANCE).to_sparse(), "to_dense"),
    refuses("complex tensor", lambda: torch.tensor(REFLECTANCE) + 1j, "complex"),
]  # fmt: skip


@each(IMAGES)
def test_transform(odd):
    odd.check(
        lambda images: image_encoder().transform(images),
        lambda: image_encoder().transform(REFLECTANCE),
    )


class Tower(torch.nn.Module):
    """A vision tower with any output."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, images):
        return self.output(images)


BAD_TOWERS = {  # what comes out of images x, and the word of the refusal
    "NaN": (lambda x: x.mean((2, 3)) * torch.nan, "NaN"),
    "infinity": (lambda x: x.mean((2, 3)) + torch.inf, "infinit"),
    "maps": (lambda x: x, "(n, d)"),
    "a number": (lambda x: x.mean(), "(n, d)"),
    "a tuple": (lambda x: (x.mean((2, 3)),), "(n, d)"),
    "None": (lambda x: None, "(n, d)"),
    "one row": (lambda x: x.mean((2, 3))[:1], "rows"),
    "complex numbers": (lambda x: x.mean((2, 3)) + 1j, "complex"),
    "an error": (lambda x: x @ torch.zeros(7, 7), "Tower"),
}


@by_name("output, word", BAD_TOWERS)
def test_towers_of(output, word):
    check(lambda: SatCLIPImageEncoder(Tower(output)).fit().transform(REFLECTANCE), words=(word,))


def test_tower_of_integers():
    tower = Tower(lambda x: x.mean((2, 3)).mul(9).int())
    check(
        lambda: SatCLIPImageEncoder(tower).fit().transform(REFLECTANCE),
        lambda: np.trunc(REFLECTANCE.mean((2, 3)) * 9),
    )


def test_tower_left_in_training_mode():
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.9), torch.nn.Linear(3072, 4))
    check(
        lambda: SatCLIPImageEncoder(tower.train()).fit().transform(REFLECTANCE),
        lambda: copy.deepcopy(tower).eval()(torch.tensor(REFLECTANCE)).detach().numpy(),
    )


@pytest.fixture(scope="module")
def thirteen_bands():
    """Images of thirteen bands, the eleventh of zeros, and an encoder of them."""
    bands = np.random.RandomState(0).rand(2, 12, 16, 16).astype(np.float32)
    encoder = SatCLIPImageEncoder(SmallConvNet(13, 8, (4,))).fit()
    return np.insert(bands, 10, 0, axis=1), encoder.transform


def test_twelve_bands_for_thirteen(thirteen_bands):
    images, encode = thirteen_bands
    check(lambda: encode(np.delete(images, 10, axis=1)), lambda: encode(images))


def test_floats_that_are_digital_numbers(thirteen_bands):
    images, encode = thirteen_bands
    check(lambda: encode(images * 10_000), lambda: encode(images * 10_000), warns="digital numbers")
