import ast
import inspect
import re
from pathlib import Path

import matplotlib as mpl
import pytest

import skgeo_embed.datasets
import skgeo_embed.inspection
from skgeo_embed import model_selection
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.rasters.products import PRODUCTS

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


@pytest.fixture
def own_products():
    """Blocks may register a product of rasters, which other tests must not find."""
    before = dict(PRODUCTS)
    yield
    PRODUCTS.clear()
    PRODUCTS.update(before)


@pytest.mark.usefixtures("few_stations", "held_default", "own_products")
@pytest.mark.parametrize("page", [name for name, blocks in BLOCKS.items() if blocks])
@pytest.mark.slow
def test_python_blocks_run(page, tmp_path, monkeypatch):
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    names = {}  # a page is read from its beginning
    for number, block in enumerate(BLOCKS[page]):
        run_block(block, f"{page}, block {number}", names)


def run_block(block, where, names):
    """Run the statements of a block; the shape in a comment behind one is that of its value."""
    for statement in ast.parse(block).body:
        line = block.splitlines()[statement.end_lineno - 1]
        said = re.search(r"#\s*(\((?:\d+, )*\d+,?\))\s*$", line)
        if said is None or not isinstance(statement, ast.Expr):
            exec(compile(ast.Module([statement], []), where, "exec"), names)
            continue
        shape = eval(compile(ast.Expression(statement.value), where, "eval"), names)
        expected = ast.literal_eval(said[1])
        same = shape if len(expected) == 1 else shape[1:]  # there are fewer rows in tests
        assert same == expected[-len(same) :], f"{where}: {line.strip()} is {shape}"


def test_there_are_blocks():
    assert sum(map(len, BLOCKS.values())) >= 15


def public_callables():
    found = {}
    for room in (skgeo_embed, skgeo_embed.datasets, skgeo_embed.inspection, model_selection):
        names = getattr(room, "__all__", dir(room))
        found |= {name: getattr(room, name) for name in names if callable(getattr(room, name))}
    return found


def parameters_of(thing):
    """Of a class or function, and of the class's public methods."""
    methods = [getattr(thing, name) for name in dir(thing) if not name.startswith("_")]
    calls = [thing, *methods] if inspect.isclass(thing) else [thing]
    names = set()
    for call in filter(callable, calls):
        try:
            names |= set(inspect.signature(call).parameters)
        except ValueError:  # some built-in exceptions have none
            continue
    return names


CALLABLES = public_callables()
ELSEWHERE = {"n_jobs", "cv", "alpha", "num_workers", "decimal", "geometry_encoding", "crs"}


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_parameters_named_in_prose_exist(page):
    path = next(path for path in PAGES if path.name == page)
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    known = set().union(*map(parameters_of, CALLABLES.values())) | ELSEWHERE
    for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose):
        named = re.match(r"([a-z]\w+)=[^=]*$", code)
        if named and "__" not in code:
            assert named[1] in known, f"`{code}` in {page}"
        called = re.match(r"(?:\w+\.)?(\w+)\((.*)\)$", code)
        if called and called[1] in CALLABLES:
            names = re.findall(r"(?<![\w\"'])([a-z]\w*)=", called[2])
            missing = set(names) - parameters_of(CALLABLES[called[1]])
            assert not missing, f"`{code}` in {page}"


def test_links_to_the_repository_lead_somewhere():
    links = re.compile(r"https://(?:raw\.githubusercontent|github)\.com/skgeo-embed/skgeo-embed/"
                       r"(?:blob/|tree/|raw/)?main/([^\s)\"#>]+)")  # fmt: skip
    pages = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "llms.txt", "CHANGELOG.md"))]
    found = {path for page in pages for path in links.findall(page.read_text())}
    assert found
    assert not {path for path in found if not (ROOT / path).exists()}


def test_links_to_the_documentation_lead_somewhere():
    link = re.compile(r"https://skgeo-embed\.readthedocs\.io/en/\w+/([\w./]*)\.html")
    pages = [*PAGES, ROOT / "llms.txt", ROOT / "CONTRIBUTING.md"]
    found = {name for page in pages for name in link.findall(page.read_text())}
    assert len(found) > 5
    for name in found - {"auto_examples/index"}:
        example = ROOT / "examples" / f"{name.removeprefix('auto_examples/')}.py"
        sources = [ROOT / f"docs/{name}.md", ROOT / f"docs/{name}.rst", example]
        assert any(source.exists() for source in sources), name
