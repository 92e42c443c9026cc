"""Sphinx builds the documentation with this: sphinx-build -W -b html docs docs/_build/html."""

import os
import runpy
import warnings
from pathlib import Path
from urllib.parse import quote

import matplotlib as mpl

import skgeo_embed

mpl.use("Agg")

project = "skgeo-embed"
author = copyright = "the skgeo-embed developers"
version = release = skgeo_embed.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.header",  # the changelog and model cards begin where they are included
    "sphinx_gallery.config",  # docs/examples.rst names files, which need no back references
]
exclude_patterns = ["_build", "auto_examples/**.ipynb", "benchmarks/*.md"]  # those are included
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc sections say the types
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

SITE = "https://skgeo-embed.readthedocs.io/en/latest/"
# Colab opens notebooks from a public repository on GitHub. When docs/auto_examples/*.ipynb are in
# one, set this to their folder, "owner/repository/blob/branch/folder": examples then link to Colab.
NOTEBOOKS = os.environ.get("SKGEO_EMBED_NOTEBOOKS", "")

# Old versions of the site read the newest list. Elsewhere the list is a part of each page, since a
# browser that shows files fetches none.
if os.environ.get("READTHEDOCS"):
    versions = f"{SITE}_static/switcher.json"
else:
    listed = Path(__file__).parent / "_static" / "switcher.json"
    versions = f"data:application/json,{quote(listed.read_text(encoding='utf-8'))}"

html_theme = "pydata_sphinx_theme"
html_title = f"skgeo-embed {version}"
html_show_sourcelink = False
toc_object_entries_show_parents = "hide"
html_static_path = ["_static"]
html_css_files = ["skgeo_embed.css"]
html_theme_options = {
    "github_url": "https://github.com/skgeo-embed/skgeo-embed",
    "logo": {
        "text": "skgeo-embed",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
    },
    "switcher": {"json_url": versions, "version_match": version},
    "check_switcher": False,  # tests/test_pages.py does, without the network
    "navbar_start": ["navbar-logo", "version-switcher"],
    "header_links_before_dropdown": 8,
    "show_toc_level": 2,
    "navbar_persistent": ["search-button"],  # the field would push the entries into two lines
    "navigation_with_keys": False,
}
# pages without pages below them: the theme would show an empty list beside them
html_sidebars = {name: [] for name in ("index", "getting_started", "how_it_works", "how_do_i")}
html_favicon = "_static/logo.svg"
copybutton_exclude = ".linenos, .gp, .go"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "ExampleTitleSortKey",  # docs/examples.rst has them by theme
    "thumbnail_size": (640, 448),
    "ignore_repr_types": r"Display|matplotlib",  # they are drawn; their repr says nothing
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
    "min_reported_time": 1,
}
if NOTEBOOKS:
    extras = "cluster,maps,onnx,plot"
    sphinx_gallery_conf["first_notebook_cell"] = f'%pip install "skgeo-embed[{extras}]"'

# "cannot show a figure" has no meaning here
warnings.filterwarnings("ignore", message=".*FigureCanvasAgg is non-interactive.*")


def setup(app):
    """Link to Colab, and put the page that runs in a visitor's browser beside the others."""
    app.connect("source-read", _link_to_colab)
    app.connect("build-finished", _make_browser_page)


def _link_to_colab(app, docname, source):
    folder, _, example = docname.rpartition("/")
    download = "    .. container:: sphx-glr-download sphx-glr-download-jupyter\n"
    if NOTEBOOKS and folder == "auto_examples" and download in source[0]:
        address = f"https://colab.research.google.com/github/{NOTEBOOKS}/{example}.ipynb"
        link = f"    .. container:: sphx-glr-download\n\n      `Run in Colab <{address}>`__\n\n"
        source[0] = source[0].replace(download, link + download)


def _make_browser_page(app, error):
    if error is None and app.builder.format == "html":
        made = runpy.run_path(str(Path(__file__).parent / "browser" / "make.py"))
        made["make_page"](Path(app.outdir) / "browser")
