import re
from pathlib import Path

import matplotlib as mpl
import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
BLOCKS = {
    page.name: re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES
}


@pytest.mark.parametrize("page", [name for name, blocks in BLOCKS.items() if blocks])
def test_python_blocks_run(page, tmp_path, monkeypatch):
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    names = {}  # a page is read from its beginning
    for number, block in enumerate(BLOCKS[page]):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


def test_there_are_blocks():
    assert sum(map(len, BLOCKS.values())) >= 15
