import re
from pathlib import Path

import matplotlib as mpl
import pytest

import skgeo_embed.datasets
from skgeo_embed.datasets import load_air_temperature

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
BLOCKS = {
    page.name: re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES
}


@pytest.fixture
def few_stations(monkeypatch):
    """A fifth of the weather stations: blocks are run for what they do, not for their scores."""

    def load_few(*, return_X_y=False, **options):
        bunch = load_air_temperature(**options)
        bunch.update({name: bunch[name][::5] for name in ("data", "target", "frame")})
        return (bunch.data, bunch.target) if return_X_y else bunch

    monkeypatch.setattr(skgeo_embed.datasets, "load_air_temperature", load_few)


@pytest.mark.usefixtures("few_stations", "held_default")
@pytest.mark.parametrize("page", [name for name, blocks in BLOCKS.items() if blocks])
def test_python_blocks_run(page, tmp_path, monkeypatch):
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    names = {}  # a page is read from its beginning
    for number, block in enumerate(BLOCKS[page]):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


def test_there_are_blocks():
    assert sum(map(len, BLOCKS.values())) >= 15
