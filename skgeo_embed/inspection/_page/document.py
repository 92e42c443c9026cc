"""One HTML file: the library that draws, the data, the script and the texts of a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed._files import write_atomically
from skgeo_embed.inspection._earth import OCEAN
from skgeo_embed.inspection._page.frame import Frame

# neither the page nor text shown in it can load or send anything
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="skgeo-embed">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1></header>
{body}
<footer id="notes"></footer>
<script type="application/json" id="content">{content}</script>
<script>{library}</script>
<script>{script}</script>
</body>
</html>
"""


def import_bokeh() -> Any:
    """Return the package bokeh with its parts, or raise an error that says how to install it."""
    try:
        import bokeh.embed
        import bokeh.models
        import bokeh.palettes
        import bokeh.plotting
        import bokeh.resources
    except ImportError as error:
        raise ImportError('a page needs bokeh: pip install "skgeo-embed[page]"') from error
    return bokeh


def new_figure(frame: Frame) -> Any:
    """Return an empty figure that can be dragged and zoomed."""
    x_label, y_label = (
        ("longitude, degrees", "latitude, degrees")
        if frame.crs is None
        else ("easting, km", "northing, km")
    )
    plot = import_bokeh().plotting.figure(
        name="map",
        sizing_mode="stretch_both",
        x_range=(frame.west, frame.east),
        y_range=(frame.south, frame.north),
        tools="pan,wheel_zoom",
        active_drag="pan",
        active_scroll="wheel_zoom",
        toolbar_location=None,
        x_axis_label=x_label,
        y_axis_label=y_label,
        background_fill_color=OCEAN,
        min_border_right=12,
    )
    plot.grid.visible = False
    for axis in plot.axis:
        axis.axis_label_text_font_style = "normal"
        axis.formatter.use_scientific = False
    return plot


def digits_of(cell: float) -> int:
    """Return how many digits after the point say where the centres of cells are."""
    return int(np.clip(2 - np.floor(np.log10(cell)), 0, 6))


def finite_or_none(values: np.ndarray) -> list[Any]:
    """Turn an array into lists for JSON, which has no NaN."""
    plain = values.round(4).astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()


def add_coasts(plot: Any, frame: Frame) -> None:
    """Draw the coasts."""
    x, y = frame.coasts()
    plot.line(x, y, line_color="black", line_width=0.7, level="glyph")


def write_page(
    path: Path,
    plot: Any,
    content: Mapping[str, Any],
    *,
    title: str,
    body: str,
    scripts: Sequence[str],
    overwrite: bool,
) -> Path:
    """Write the page at once, or not at all.

    Whatever a user wrote, other than the title, is in `content`, and scripts put it into the page
    as text.
    """
    bokeh = import_bokeh()
    library = bokeh.resources.Resources(mode="inline", components=["bokeh"]).js_raw
    parts = files("skgeo_embed.inspection._page")
    page = _PAGE.format(
        policy=escape(POLICY),
        title=escape(title),
        style=parts.joinpath("page.css").read_text("utf-8"),
        body=body,
        content=_json_in_html({**content, "plot": bokeh.embed.json_item(plot)}),
        library="\n".join(library),
        script="\n".join(parts.joinpath(name).read_text("utf-8") for name in scripts),
    )
    write_atomically(path, page.encode(), overwrite=overwrite)
    return path


def _json_in_html(content: Mapping[str, Any]) -> str:
    """Write JSON that no text in it can end the element of, or begin another in."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
