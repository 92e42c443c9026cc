"""Files of third parties that are nearly right: refused when opened, by the file's name."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from skgeo_embed import ClimplicitEncoder, GeoCLIPEncoder, MINDEncoder, SINREncoder, TTEEncoder
from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models.checks import as_format_error
from tests import third_party_recipe
from tests.third_party_recipe import SMALL

LAYOUTS = {  # class, weights, the first of them
    "climplicit": (
        ClimplicitEncoder,
        SMALL["climplicit"],
        "location_encoder.layers.0.weight",
    ),
    "sinr": (SINREncoder, SMALL["sinr"], "feats.0.weight"),
    "tte": (TTEEncoder, SMALL["tte"], "location._directions"),
    "mind": (MINDEncoder, SMALL["mind"], "first.linear.weight"),
    "taxabind": (GeoCLIPEncoder, SMALL["geoclip"], "LocEnc0.capsule.0.b"),
}
every = pytest.mark.parametrize("name", LAYOUTS)


def refusal(name, path, change):
    """What is said of a file whose tensors were changed."""
    encoder, make, first = LAYOUTS[name]
    content = make()
    change(content, first)
    save_file(content, path)
    with pytest.raises(ModelFormatError) as error:
        encoder(path).fit()
    said = str(error.value)
    assert said.count(str(path)) == 1
    return said


@every
@pytest.mark.parametrize("dtype", [torch.int32, torch.bool])
def test_weights_that_are_integers_or_booleans(name, dtype, tmp_path):
    def change(content, first):
        content[first] = (content[first] > 0).to(dtype)

    assert str(dtype) in refusal(name, tmp_path / "odd.safetensors", change)


@every
def test_tensors_that_no_such_network_has(name, tmp_path):
    def change(content, first):
        content[f"{first.rpartition('.')[0]}.x"] = torch.zeros(2)

    said = refusal(name, tmp_path / "odd.safetensors", change)
    assert "tensors that this network does not have" in said
    assert ".x'" in said or "'x'" in said


@every
def test_a_first_weight_of_one_column_more(name, tmp_path):
    def change(content, first):
        content[first] = torch.cat([content[first], content[first][:, :1]], dim=1)

    said = refusal(name, tmp_path / "odd.safetensors", change)
    columns = {"climplicit": "(8, 5)", "sinr": "(8, 5)", "tte": "(20, 4)", "mind": "3 columns",
               "taxabind": "(6, 3)"}  # fmt: skip
    assert columns[name] in said


@every
def test_a_bias_of_another_length(name, tmp_path):
    def change(content, first):
        last = [key for key in content if key.endswith("bias") and "chelsa" not in key
                and "img" not in key][-1]  # fmt: skip
        content[last] = torch.zeros(3)

    assert "has shape (3,)" in refusal(name, tmp_path / "odd.safetensors", change)


def test_what_images_need_of_tte_is_not_looked_at(tmp_path):
    content = third_party_recipe.tte(20, 6, 8, 5)
    save_file(content, tmp_path / "whole.safetensors")
    images = [key for key in content if "img" in key]
    assert images
    for key in images:
        del content[key]
    save_file(content, tmp_path / "places.safetensors")
    place = [[7.8, 36.8]]
    whole, places = (
        TTEEncoder(tmp_path / f"{name}.safetensors").fit_transform(place)
        for name in ("whole", "places")
    )
    np.testing.assert_array_equal(whole, places)


def test_refusals_have_the_files_name_once():
    with (
        pytest.raises(
            ModelFormatError, match=r"^a\.bin cannot be opened as a test \(no such layer\)"
        ),
        as_format_error("a.bin", "a test"),
    ):
        raise ValueError("no such layer")
    with (
        pytest.raises(ModelFormatError, match=r"^a\.bin holds nothing$"),
        as_format_error("a.bin", "a test"),
    ):
        raise ModelFormatError("a.bin holds nothing")
