"""The registry is the one table of what can be named: documentation and classes agree with it."""

import inspect
import re
from pathlib import Path

import pytest

import skgeo_embed
from skgeo_embed.models.registry import THIRD_PARTY, find_third_party

PAGE = Path(__file__).parents[2] / "docs" / "other_encoders.md"
TABLE = {
    cells[0]: cells
    for cells in (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `")
    )
}
every = pytest.mark.parametrize("row", THIRD_PARTY.values(), ids=lambda row: row.name)


def call_of(row):
    """How the documentation's table writes a row: its default needs no name, a path does."""
    if row.file is None:
        return f"`{row.encoder}({'folder' if row.encoder == 'GPS2VecEncoder' else 'path'})`"
    first = next(iter(inspect.signature(getattr(skgeo_embed, row.encoder)).parameters.values()))
    name = "" if first.default == row.name else f'"{row.name}"'
    return f"`{row.encoder}({name})`"


@every
def test_documentation_says_what_the_registry_says(row):
    assert call_of(row) in TABLE, f"{PAGE.name} has no row for {call_of(row)}"
    columns, size, licence = TABLE[call_of(row)][2:5]
    assert int(re.match(r"[\d,]+", columns)[0].replace(",", "")) == row.columns
    assert licence == (row.licence or "none stated")
    if row.megabytes is not None:
        assert int(re.match(r"(\d+) MB", size)[1]) == round(row.megabytes)


def test_documentation_has_no_other_rows():
    assert set(TABLE) == {call_of(row) for row in THIRD_PARTY.values()}


@every
def test_rows_with_a_file_are_found_by_name_and_by_repository(row):
    assert find_third_party(row.name.upper()) == (row if row.file else None)
    if row.repository and row.repo_type is None:
        assert find_third_party(row.repository) is row


def test_satclip_says_which_class_opens_a_third_party():
    with pytest.raises(skgeo_embed.ModelNotFoundError, match="use SINREncoder"):
        skgeo_embed.SatCLIPEncoder("sinr").fit()
