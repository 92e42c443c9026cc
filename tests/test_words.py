"""What a stranger reads: phrases, spelling, names and figures of documentation and messages."""

import ast
import csv
import re
from pathlib import Path

import pytest

import skgeo_embed
import skgeo_embed.datasets
import skgeo_embed.inspection
import skgeo_embed.rasters
from skgeo_embed import model_selection

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "skgeo_embed"
PAGES = [
    ROOT / "README.md",
    ROOT / "llms.txt",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(PACKAGE.glob("**/*.md")),
]
# a reader stumbled over each of these; the comment says what to write instead
PHRASES = [
    r"\bwhose\b[^.]{0,60}\bnobody\b",  # two sentences
    r"\bnobody (asks|knows|says|writes)\b",  # who does what
    r"\b(is|are|being) of which\b",
    r"\bthat (is|are) none\b",  # is not a ...
    r"(?<!there )\bis no (array|cell|classifier|encoder|number|option|product|real|table|type)\b",
    r"\bis none of\b",  # is not one of
    r"\bgone on with\b|\bgo(es|ing)? on (after|with)\b",  # continue
    r"\bdo(es)? the same again\b",  # repeat the call
    r"\bbrought home\b",
    r"\banew\b",  # again
    r"\bcannot be meant\b",  # is invalid, is ambiguous
    r"\bin the line of\b",
    r"\bin the place of\b",  # instead of
    r"\bwhat (it|they|a|an|the) (\w+ )?says? of\b",  # about
    r"\b(told|tell) all\b",
    r"\beach mixed into\b",
    r"\bwho opens a\b|\bpeople whom\b",
    r"\bwhat it loses, and to whom\b",
    r"\bmade to hold nine\b",
    r"\bsay it with\b",  # name it with
    r"\b(points|rows|steps|images|areas) a (core-)?second\b",  # per second
    r"\bon one card\b|\bon a card\b",  # GPU
    r"\bcheck sums?\b",  # checksum
    r"\btorn apart\b",
]


def shown_texts():
    """All that a user reads, as (where, text): pages without their code, texts of the package."""
    for path in PAGES:
        prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        yield path.relative_to(ROOT).as_posix(), prose
    for path in sorted(PACKAGE.glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                yield f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", node.value


def test_phrases_that_readers_stumbled_over_do_not_come_back():
    phrases = re.compile("|".join(PHRASES), re.IGNORECASE)
    found = [
        f"{where}: {match[0]!r}"
        for where, text in shown_texts()
        if (match := phrases.search(" ".join(text.split())))
    ]
    assert not found, "write these in plain English: " + "; ".join(found)


def test_spelling(capfd):
    codespell = pytest.importorskip("codespell_lib")
    paths = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "api.rst"]
    paths += [*PACKAGE.glob("**/*.py"), *(ROOT / "examples").glob("*.py")]
    authors = "shepard,leary"
    mistakes = codespell.main("--ignore-words-list", authors, *map(str, paths))
    assert mistakes == 0, capfd.readouterr().out


def test_no_reference_is_read_as_a_list():
    """In a reference of one line, docutils takes the initial in "G. Mai" for the number 7."""
    one_line = re.compile(r"^ *\.\. \[\d+\] [A-Z]\. .*\n(?! {7})", re.MULTILINE)
    found = [
        f"{path.relative_to(ROOT).as_posix()}: {match[0].strip()}"
        for path in PACKAGE.glob("**/*.py")
        for match in one_line.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found, "write the whole title: " + "; ".join(found)


def public_names():
    rooms = {
        "": skgeo_embed,
        "datasets.": skgeo_embed.datasets,
        "inspection.": skgeo_embed.inspection,
        "model_selection.": model_selection,
        "rasters.": skgeo_embed.rasters,
    }
    for prefix, room in rooms.items():
        for name in getattr(room, "__all__", dir(room)):
            if not name.startswith("_") and callable(getattr(room, name)):
                yield prefix + name


PUBLIC = sorted(public_names())


def test_public_names_are_in_the_reference():
    reference = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (\w+)$", reference, re.MULTILINE))
    assert not {name for name in PUBLIC if name.split(".")[-1] not in listed}


def test_public_names_are_used_on_a_page_or_in_an_example():
    pages = [path for path in PAGES if PACKAGE not in path.parents]
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in [*pages, *(ROOT / "examples").glob("*.py")]
    )
    words = set(re.findall(r"\w+", text))
    assert not {name for name in PUBLIC if name.split(".")[-1] not in words}


with (ROOT / "docs" / "benchmarks" / "quoted.csv").open(encoding="utf-8") as file:
    QUOTED = list(csv.DictReader(file))


@pytest.mark.parametrize("row", QUOTED, ids=lambda row: row["figure"])
def test_a_figure_is_the_same_wherever_it_is_quoted(row):
    """`where` finds the lines that quote a figure: one at least, and all with the file's number."""
    quotes = [
        f"{path.name}: {line}"
        for path in PAGES
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(row["where"], line)
    ]
    assert quotes, f"no page quotes {row['figure']!r}"
    score = float(row["score"])
    for line in quotes:  # which may round it
        decimals = re.findall(r"(?<![\w.])\d*\.(\d+)", line)
        rounded = {f"{score:.{len(digits)}f}".partition(".")[2] for digits in decimals}
        assert rounded & set(decimals), f"{line!r}: {row['command']} printed {score}"
