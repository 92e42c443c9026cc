import numpy as np
import pytest
import torch

from skgeo_embed.images.crop import centre_of, crop_centre


@pytest.mark.parametrize("make", [np.arange, torch.arange])
def test_centre_of_arrays_and_tensors(make):
    images = make(2 * 5 * 6).reshape(2, 5, 6)
    assert crop_centre(images, 3, 2).tolist() == images[:, 1:4, 2:4].tolist()
    assert crop_centre(images, 5, 6).tolist() == images.tolist()


def test_the_odd_pixel_is_left_below_and_right():
    assert centre_of((5, 6), (2, 3)) == (1, 1)
