"""The pages of the documentation: what they show fits on a page, and figures are those measured."""

import json
import re
import runpy
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

import skgeo_embed

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(path.stem for path in DOCS.glob("*.md"))
CARD = DOCS.parent / "skgeo_embed" / "weights" / "earth-l20" / "README.md"
WHERE = {
    "random folds": "random",
    "50 labels": "n = 50",
    "200 labels": "n = 200",
    "1,000 labels": "n = 1,000",
}
ROWS = {
    "5 nearest labels": "5 nearest labels (haversine)",
    "`SatCLIPEncoder()`, the default": "earth-l20, hidden",
    "the default, untrained": "earth-l20 untrained, hidden",
    "the default, 256 columns": "earth-l20, 256 columns",
    "what `spatial_pipeline` gives its trees": "what spatial_pipeline gives its trees",
}
ROWS_OF_CARD = {
    "`earth-l20`, the default (768 columns)": "earth-l20, hidden",
    "its first 256 components": "earth-l20, 256 columns",
    "its first 64": "earth-l20, 64 columns",
    "the same network, untrained": "earth-l20 untrained, hidden",
    "`bluemarble-l20`, the earlier default": "bluemarble-l20, hidden",
    "GeoCLIP": "GeoCLIP",
    "5 nearest labels": "5 nearest labels (haversine)",
}


def tables_of(text):
    """Tables as lists of rows of cells; the second row is the line of dashes."""
    found = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", row)[1:-1] for row in table.splitlines()] for table in found]


@pytest.mark.parametrize("name", PAGES)
def test_tables_fit_on_a_page(name):
    """What is longer stands behind a fold."""
    text = (DOCS / f"{name}.md").read_text()
    open_text = re.sub(r"^:::\{dropdown\}.*?^:::$", "", text, flags=re.MULTILINE | re.DOTALL)
    for table in tables_of(open_text):
        assert len(table[0]) <= 6, table[0]
        assert len(table) - 2 <= 8, table[0]


def mean_scores(without=()):
    """Mean over labels of the file's scores of a ridge, by row, split and whether it is classes."""
    scores = pd.read_csv(DOCS / "benchmarks" / "downstream.csv")
    scores = scores[(scores["probe"] == "ridge") & ~scores["label"].isin(without)]
    by_label = scores.groupby(["row", "split", "classes", "label"])["score"].mean()
    return by_label.groupby(["row", "split", "classes"]).mean()


def test_the_short_tables_are_those_of_the_file():
    means = mean_scores()
    page = (DOCS / "which_encoder.md").read_text()
    short = page.partition("<!-- downstream in short -->")[2].partition("<!-- end of")[0]
    tables = tables_of(short)
    assert len(tables) == 2
    for classes, table in enumerate(tables):
        splits = [WHERE.get(head.strip(), head.strip()) for head in table[0][1:]]
        columns = [means.xs((s, bool(classes)), level=("split", "classes")) for s in splits]
        names = [ROWS.get(row[0].strip(), row[0].strip()) for row in table[2:]]
        for name, row in zip(names, table[2:], strict=True):
            for column, cell in zip(columns, row[1:], strict=True):
                assert float(cell.strip(" *")) == pytest.approx(column[name], abs=6e-4)
                is_best = column[name] == column[names].max()
                assert cell.strip().startswith("**") == is_best, (name, cell)


def test_the_card_of_the_default_is_of_its_weights_of_today():
    """Its table is that of the file, without elevation, which was seen in training."""
    means = mean_scores(without=["elevation"])
    table = next(t for t in tables_of(CARD.read_text()) if "random" in t[0][1])
    splits = [WHERE.get(head.strip(), head.strip()) for head in table[0][1:]]
    for row in table[2:]:
        name = ROWS_OF_CARD[row[0].strip()]
        for split, cell in zip(splits, row[1:], strict=True):
            found = [float(number.strip(" *")) for number in cell.split("/")]
            expected = [means[name, split, classes] for classes in (False, True)]
            assert found == pytest.approx(expected, abs=6e-4), (name, split)


ROWS_OF_TABLES = {
    "longitude, latitude": "longitude, latitude",
    "8 nearest labels (no ridge)": "8 nearest labels",
    "`earth-l20`": "earth-l20",
    "all 768": "earth-l20",
    "its first 256 components": "earth-l20, 256 columns",
    "256": "earth-l20, 256 columns",
    "its first 64": "earth-l20, 64 columns",
    "64": "earth-l20, 64 columns",
    "the same network, untrained": "earth-l20 untrained",
    "content columns": "content columns",
}


@pytest.mark.parametrize(
    ("page", "rows"), [(DOCS / "which_encoder.md", 9), (CARD, 6)], ids=["page", "card"]
)
def test_scores_on_users_tables_are_those_of_the_file(page, rows):
    scores = pd.read_csv(DOCS / "benchmarks" / "tables.csv")
    means = scores.groupby(["features", "probe", "split"])["r2"].mean()
    compared = 0
    for table in tables_of(page.read_text()):
        heads = [tuple(head.strip().split(", ")) for head in table[0][1:]]
        if heads[0] != ("ridge", "random"):
            continue
        for row in table[2:]:
            name = ROWS_OF_TABLES.get(row[0].strip())
            compared += name is not None
            for (probe, split), cell in zip(heads, row[1:], strict=True):
                if (name, probe, split) in means.index:
                    value = means[name, probe, split]
                    assert float(cell.strip(" *")) == pytest.approx(value, abs=6e-4), row[0]
    assert compared == rows


def test_every_example_stands_under_a_theme():
    listed = re.findall(r"\.\./examples/(\w+)\.py", (DOCS / "examples.rst").read_text())
    assert sorted(listed) == sorted(path.stem for path in DOCS.parent.glob("examples/*.py"))


def test_installing_from_pypi_is_printed_once_and_marked():
    """The package is not there yet, and a command that fails is the first that a newcomer tries."""
    pages = [*DOCS.glob("*.md"), *(DOCS.parent / name for name in ("README.md", "llms.txt"))]
    lines = [line for page in pages for line in page.read_text().splitlines()]
    commands = [line for line in lines if re.match(r'pip install "?skgeo-embed', line)]
    assert len(commands) == 1
    assert commands[0].endswith("# once published")
    assert not [line for line in lines if "pip install skgeo-embed" in line]


def test_pictures_are_there():
    for page in DOCS.glob("*.md"):
        for path in re.findall(
            r"(?:!\[[^\]]*\]\(|\{(?:image|figure)\} )([^)\s]+)", page.read_text()
        ):
            if not path.startswith("http"):
                assert (DOCS / path).is_file(), f"{path} in {page.name}"


@pytest.fixture
def configured(monkeypatch):
    """Run conf.py with environment variables."""
    pytest.importorskip("matplotlib")

    def run(**variables):
        for name in ("READTHEDOCS", "SKGEO_EMBED_NOTEBOOKS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(DOCS / "conf.py"))

    return run


def test_the_list_of_versions_has_this_one(configured):
    versions = json.loads((DOCS / "_static" / "switcher.json").read_text())
    assert [entry["version"] for entry in versions].count(skgeo_embed.__version__) == 1
    assert [entry.get("preferred") for entry in versions].count(True) == 1
    assert all(entry["url"].startswith("https://") for entry in versions)
    switcher = configured()["html_theme_options"]["switcher"]
    kind, _, content = switcher["json_url"].partition(",")
    assert kind == "data:application/json"  # no request, which a page opened as a file may not make
    assert json.loads(unquote(content)) == versions
    assert switcher["version_match"] == skgeo_embed.__version__
    published = configured(READTHEDOCS="True")["html_theme_options"]["switcher"]
    assert published["json_url"].endswith("/en/latest/_static/switcher.json")


def test_examples_link_to_colab_when_their_notebooks_have_an_address(configured):
    footer = """
    .. container:: sphx-glr-download sphx-glr-download-jupyter

      :download:`Download Jupyter notebook: global_map.ipynb <global_map.ipynb>`
"""
    for conf, times in (configured(), 0), (configured(SKGEO_EMBED_NOTEBOOKS="a/b/blob/c/d"), 1):
        source, page = [footer], ["no notebook"]
        conf["_link_to_colab"](None, "auto_examples/global_map", source)
        conf["_link_to_colab"](None, "auto_examples/index", page)
        address = "<https://colab.research.google.com/github/a/b/blob/c/d/global_map.ipynb>"
        assert source[0].count(address) == times
        assert ("first_notebook_cell" in conf["sphinx_gallery_conf"]) == bool(times)
        assert page == ["no notebook"]
