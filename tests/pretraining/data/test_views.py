import numpy as np
import pytest
import torch

from skgeo_embed.images.pixels import keep_integers, to_float_images
from skgeo_embed.pretraining.data.views import (
    Views,
    jitter_coordinates,
    random_blur,
    random_cut,
    random_flips,
    reflected_border,
)


def _distinct_images(n=200, bands=2, size=32):
    torch.manual_seed(0)
    return torch.rand(n, bands, size, size)


def test_shape_is_kept_and_images_differ():
    images = _distinct_images(64)
    out = Views(torch.nn.Identity())(images, random=True)
    assert out.shape == images.shape
    changed = (out - images).abs().amax(dim=(1, 2, 3)) > 0
    assert changed.float().mean() > 0.9


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "i2", "i4", "i8", "?", "f2", "f4", "f8"])
def test_pixels_are_scaled_alike_here_and_on_a_card(dtype):
    images = np.random.RandomState(0).randint(0, 200, (3, 2, 4, 5)).astype(dtype)
    given = torch.from_numpy(keep_integers(images))
    assert given.dtype.itemsize <= max(4, images.itemsize)  # integers travel as they are
    for found in (to_float_images(given), Views(torch.nn.Identity())(given, random=False)):
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), to_float_images(images))
    divisor = {"u1": 255, "u2": 10000, ">u2": 10000, "i2": 10000, "i4": 10000, "i8": 10000}
    expected = images.astype("f4") / np.float32(divisor.get(dtype, 1))
    np.testing.assert_array_equal(to_float_images(images), expected)


def test_flips_are_one_of_four():
    images = _distinct_images()
    out = random_flips(images)
    matches = torch.stack(
        [
            (out == images.flip(axes)).all(dim=3).all(dim=2).all(dim=1)
            for axes in ([], [2], [3], [2, 3])
        ]
    )
    assert (matches.sum(dim=0) == 1).all()
    share = matches.float().mean(dim=1)
    assert ((share > 0.15) & (share < 0.35)).all()


def test_crop_moves_by_at_most_a_sixteenth():
    images = _distinct_images()
    out = random_cut(reflected_border(images), (32, 32))
    inner = out[:, :, 4:-4, 4:-4]
    shifts = set()
    for image, cut in zip(images, inner, strict=True):
        found = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if torch.equal(image[:, 4 + dy : 28 + dy, 4 + dx : 28 + dx], cut)
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) == 25


def test_tiny_images_pass():
    tiny = torch.rand(3, 2, 1, 1)
    assert torch.equal(random_cut(reflected_border(tiny), (1, 1)), tiny)
    assert torch.equal(random_blur(tiny), tiny)


def test_blur_keeps_the_mean_and_softens_half():
    images = _distinct_images()
    out = random_blur(images)
    untouched = torch.isclose(out, images, atol=1e-6).flatten(1).all(dim=1)
    assert 0.35 < untouched.float().mean() < 0.75
    assert (out.var(dim=(2, 3))[~untouched] < images.var(dim=(2, 3))[~untouched]).all()
    constant = torch.full((10, 3, 8, 8), 0.25)
    torch.testing.assert_close(random_blur(constant), constant)


def test_jitter_stays_close_and_on_the_sphere():
    torch.manual_seed(0)
    points = torch.tensor([[-180.0, 90.0], [179.999, -90.0], [0.0, 0.0]] * 200).double()
    out = jitter_coordinates(points, 0.01)
    assert ((out[:, 0] >= -180) & (out[:, 0] < 180)).all()
    assert (out[:, 1].abs() <= 90).all()
    difference = torch.remainder(out[:, 0] - points[:, 0] + 180, 360) - 180
    assert difference.abs().max() <= 0.01 + 1e-12
    assert (out[:, 1] - points[:, 1]).abs().max() <= 0.01 + 1e-12
    assert difference.min() < -0.005
    assert difference.max() > 0.005
    np.testing.assert_allclose(jitter_coordinates(points[2:3], 0.0), [[0, 0]], atol=1e-12)
