"""Odd files of third-party encoders: damaged, of other shapes, or of another model."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from skgeo_embed import MINDEncoder
from tests import other_recipe
from tests.odd_inputs.bad_files import NO_CHECKPOINTS, open_with_code, write_bytes, write_torch
from tests.odd_inputs.checking import by_name, check, check_file, shown
from tests.odd_inputs.encoders import OF_ONE_FILE, PLACES, features

pytestmark = pytest.mark.slow
every_encoder = pytest.mark.parametrize("encoder", OF_ONE_FILE)
FIRST = {
    "ClimplicitEncoder": "location_encoder.layers.0.weight",
    "SINREncoder": "feats.0.weight",
    "TTEEncoder": "location._directions",
    "MINDEncoder": "first.linear.weight",
    "GeoCLIPEncoder of TaxaBind": "LocEnc0.capsule.0.b",
}


def encode(encoder, path):
    kind, _, options = OF_ONE_FILE[encoder]
    return kind(path, **options).fit_transform(PLACES)


@every_encoder
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_file_as_it_is(encoder, suffix, tmp_path):
    path = tmp_path / f"good{suffix}"
    save = torch.save if suffix == ".pth" else save_file
    save(OF_ONE_FILE[encoder][1](), path)
    check(lambda: encode(encoder, path), lambda: features(encoder, PLACES))


BAD_TENSORS = {  # what becomes of the first weight of a file
    "NaN": lambda t: t * np.nan,
    "infinity": lambda t: t * np.inf,
    "1e300": lambda t: torch.full(t.shape, 1e300, dtype=torch.double),
    "no dimension": lambda t: t.sum(),
    "one dimension": lambda t: t.flatten(),
    "three dimensions": lambda t: t[None],
    "transposed": lambda t: t.T.contiguous(),
    "one row less": lambda t: t[1:],
    "one column more": lambda t: torch.cat([t, t[:, :1]], dim=1),
    "no rows": lambda t: t[:0],
    "complex": lambda t: t + 1j,
    "integers": lambda t: t.int(),
    "booleans": lambda t: t > 0,
    "sparse": lambda t: t.to_sparse(),
    "text": lambda t: "x",
    "None": lambda t: None,
    "4 TB of one number": lambda t: torch.zeros(1).expand(2**20, 2**20),
}


@every_encoder
@by_name("make", BAD_TENSORS)
def test_first_weight(encoder, make, tmp_path):
    content = dict(OF_ONE_FILE[encoder][1]())
    content[FIRST[encoder]] = make(content[FIRST[encoder]])
    path = write_torch(tmp_path / "other.pth", content)
    check_file(path, lambda: encode(encoder, path))


def last_bias(content):
    keys = [key for key in content if key.endswith("bias")]
    return [key for key in keys if "chelsa" not in key and "img_to" not in key][-1]


BAD_CONTENTS = {  # what becomes of a file's content, given the name of its first weight
    "first weight missing": lambda content, first: content.pop(first),
    "no tensors": lambda content, first: content.clear(),
    "a tensor more": lambda content, first: content.update(
        {f"{first.rpartition('.')[0]}.x": torch.zeros(2)}
    ),
    "an integer key": lambda content, first: content.update({5: torch.zeros(2)}),
    "keys of another model": lambda content, first: [
        content.update({f"x.{key}": content.pop(key)}) for key in list(content)
    ],
    "the last bias of another length": lambda content, first: content.update(
        {last_bias(content): torch.zeros(3)}
    ),
}


@every_encoder
@by_name("change", BAD_CONTENTS)
def test_contents(encoder, change, tmp_path):
    content = dict(OF_ONE_FILE[encoder][1]())
    change(content, FIRST[encoder])
    path = write_torch(tmp_path / "other.pth", content)
    check_file(path, lambda: encode(encoder, path))


@every_encoder
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@by_name("content", NO_CHECKPOINTS)
def test_files_that_are_no_checkpoint(encoder, suffix, content, tmp_path):
    path = write_bytes(tmp_path / f"file{suffix}", content)
    check_file(path, lambda: encode(encoder, path))


@every_encoder
def test_code_in_a_pickle_does_not_run(encoder, tmp_path):
    path = tmp_path / "code.pth"
    check_file(path, lambda: open_with_code(OF_ONE_FILE[encoder][0], path))


@every_encoder
def test_an_empty_folder(encoder, tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    check_file(path, lambda: encode(encoder, path))


# --- MIND's networks with a year, of which none is released


@pytest.fixture
def of_years(tmp_path):
    path = tmp_path / "years.safetensors"
    save_file(other_recipe.mind(16, 2, 10, year=True), path)
    return lambda year: MINDEncoder(path, year=year)


def test_a_year_is_needed(of_years):
    check(lambda: of_years(None).fit(), words=("year",))


def test_a_column_of_one_year(of_years):
    table = np.column_stack([PLACES, [2020] * 3])
    check(
        lambda: of_years("year").fit_transform(table), lambda: of_years(2020).fit_transform(PLACES)
    )


@pytest.mark.parametrize("year", [1899, 2101, np.nan, 20.2, "2020"], ids=shown)
def test_years(of_years, year):
    check(
        lambda: of_years(year).fit_transform(PLACES),
        words=("2020",) if year == "2020" else ("year",),
    )


def test_years_of_two_digits_in_a_column(of_years):
    table = np.column_stack([PLACES, [20, 21, 22]])
    check(lambda: of_years("year").fit_transform(table), words=("year", "row 0"))
