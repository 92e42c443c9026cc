"""A page of an encoder: its components as colours, and which places it takes for similar."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed._region import WORLD, Region, read_region
from skgeo_embed._sphere import EARTH_RADIUS_KM, KM_PER_DEGREE
from skgeo_embed.datasets import land_mask
from skgeo_embed.inspection._earth import (
    ORANGE,
    check_encoder,
    model_name,
    sample_features,
)
from skgeo_embed.inspection._embedding_map import Colours, principal_components
from skgeo_embed.inspection._page.document import (
    add_coasts,
    digits_of,
    import_bokeh,
    new_figure,
    write_page,
)
from skgeo_embed.inspection._page.frame import Frame, degrees_frame
from skgeo_embed.streaming.files import check_output
from skgeo_embed.streaming.grid import grid_axes, grid_blocks

MOST_PIXELS = 1_100_000  # of the picture; a page has 4 bytes of each before they are compressed
MOST_BYTES = 2_000_000  # of the features that places are compared by
N_COMPARED = 128  # principal components that stand for all features
STEPS = 127  # from 0 to 1, in a byte
N_SIMILAR = 8
TRANSPARENT = "rgba(0,0,0,0)"
APART_KM = 1500  # between places that are listed, on a page of the world
LOWEST = -0.5  # of the colours of similarities
_BODY = """<main>
<div id="plot" role="img" aria-label="Map of the encoder's features"></div>
<aside>
<div><h2><label for="band">Shown</label></h2><select id="band"></select></div>
<div class="controls">
<button id="in" type="button" aria-label="Zoom in">+</button>
<button id="out" type="button" aria-label="Zoom out">−</button>
<button id="whole" type="button">Whole map</button>
</div>
<section id="legend"><h2 id="legend-title"></h2>
<div id="scale"><div id="bar"></div><div id="ticks"></div></div>
<p id="explained" class="small">Red, green and blue are the three directions in which places
differ most. Places of one colour are similar to the encoder; a colour has no other meaning.</p>
</section>
<section id="similar"><h2>Similar places</h2>
<p id="chosen" class="small">Touch a place to see which places are like it.</p>
<ol id="places"></ol></section>
<section id="readout"><h2>Under the pointer</h2><div id="values"></div></section>
</aside>
</main>"""


def write_encoder_page(
    encoder: Any,
    path: str | PathLike[str],
    *,
    region: Sequence[float] = WORLD,
    resolution: float = 0.5,
    land_only: bool = True,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a map of what an encoder has learned as one HTML file that needs no network.

    The page shows three principal components of the features as colours. For a place that is
    clicked, or touched, it shows how similar all others are, and lists the most similar ones.

    Parameters
    ----------
    encoder : SatCLIPEncoder or another fitted encoder with `transform_grid`
        What is shown.
    path : path-like
        The .html file to write. It is created only when it is complete.
    region : tuple (west, south, east, north), default=the world
        What the page covers, degrees; similar places are looked for in it.
    resolution : float, default=0.5
        Size of a cell of the picture in degrees, rounded so that whole cells fill the region.
    land_only : bool, default=True
        Leave the ocean blank.
    title : str, default=None
        Title of the page; None writes the name of the model.
    overwrite : bool, default=False
        Replace an existing file.

    Returns
    -------
    path : Path
        Where the page is.

    Raises
    ------
    TypeError
        If `encoder` is not an encoder of places.
    ValueError
        If the region or the resolution is impossible, or makes more than 1.1 million cells.
    FileExistsError
        If the file exists, unless `overwrite`.
    ImportError
        If bokeh is missing.

    Notes
    -----
    Similarity is the cosine of two places' features less the mean features of the Earth, or of
    its land, so that 0 is the average of two places. The page compares cells that are coarser
    than those of the picture, by their 128 strongest principal components in steps of 1/127, and
    says how much of the features' variance these hold; of the default encoder the similarities
    are within 0.02 of the exact ones for 99 % of pairs. The browser computes them, from 2 MB.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skgeo_embed import SatCLIPEncoder
    >>> from skgeo_embed.inspection import write_encoder_page
    >>> encoder = SatCLIPEncoder().fit()
    >>> page = Path(tempfile.mkdtemp()) / "encoder.html"
    >>> write_encoder_page(encoder, page, region=(5, 45, 15, 55)).name
    'encoder.html'
    """
    import_bokeh()
    check_encoder(encoder)
    target = check_output(path, overwrite=overwrite, suffixes=[".html", ".htm"])
    lon, lat = _picture_axes(region, resolution)
    shown = _shown_cells(lon, lat, land_only)
    if not shown.any():
        raise ValueError("this region has no land; pass land_only=False, or another region.")
    sample = sample_features(encoder, land_only=land_only)
    picture = _picture(encoder, lon, lat, shown, Colours(sample))
    edges = read_region(region)
    axes = grid_axes(region, max(resolution, _compared_resolution(edges, shown)))
    compared = _Compared(encoder, *axes, _shown_cells(*axes, land_only), sample)
    frame = degrees_frame(edges)
    plot = new_figure(frame)
    _draw(plot, frame, picture, compared)
    return write_page(
        target,
        plot,
        _content(frame, compared, len(lat), len(lon), land_only),
        title=title or f"What {model_name(encoder)} has learned",
        body=_BODY,
        scripts=["page.js", "encoder.js"],
        overwrite=overwrite,
    )


def _picture_axes(region: Sequence[float], resolution: float) -> tuple[np.ndarray, np.ndarray]:
    lon, lat = grid_axes(region, resolution)
    if len(lon) * len(lat) > MOST_PIXELS:
        raise ValueError(
            f"region and resolution make {len(lat):,} × {len(lon):,} cells, too many for a page, "
            f"which holds {MOST_PIXELS:,}; choose a coarser resolution."
        )
    return lon, lat


def _compared_resolution(edges: Region, shown: np.ndarray) -> float:
    """Return the size of a cell in degrees at which all shown cells together take MOST_BYTES."""
    west, south, east, north = edges
    square_degrees = (east - west) * (north - south) * shown.mean()
    return float(np.sqrt(square_degrees * N_COMPARED / MOST_BYTES))


class _Compared:
    """Features of a coarse grid in few bytes, for cosines that a browser computes."""

    def __init__(
        self, encoder: Any, lon: np.ndarray, lat: np.ndarray, shown: np.ndarray, sample: np.ndarray
    ) -> None:
        strongest = principal_components(sample, min(N_COMPARED, *sample.shape))
        self.share = float(strongest.explained_variance_ratio_.sum())
        self.shape = shown.shape
        self.cells = np.flatnonzero(shown).astype(np.uint32)
        self.features = np.empty((len(self.cells), strongest.n_components_), dtype=np.int8)
        start = 0
        for rows, features in grid_blocks(encoder, lon, lat):
            centred = features[shown[rows]] - strongest.mean_
            # divided by the norm of all features: the components left out are nearly orthogonal
            size = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
            scores = centred @ strongest.components_.T
            self.features[start : start + len(scores)] = np.round(STEPS * scores / size)
            start += len(scores)


def _shown_cells(lon: np.ndarray, lat: np.ndarray, land_only: bool) -> np.ndarray:
    return land_mask(lon, lat) if land_only else np.ones((len(lat), len(lon)), dtype=bool)


def _picture(
    encoder: Any, lon: np.ndarray, lat: np.ndarray, shown: np.ndarray, colours: Colours
) -> np.ndarray:
    """Return red, green, blue and opacity of each cell in one number, as browsers hold them."""
    picture = np.zeros((len(lat), len(lon), 4), dtype=np.uint8)
    for rows, features in grid_blocks(encoder, lon, lat):
        rgb = np.round(255 * colours.paint(features[shown[rows]]))
        picture[rows][shown[rows]] = np.insert(rgb, 3, 255, axis=1)
    return picture.view("<u4")[..., 0]


def _draw(plot: Any, frame: Frame, picture: np.ndarray, compared: _Compared) -> None:
    """Add both layers, the coasts, the chosen place and the places like it."""
    bokeh = import_bokeh()
    west, south, east, north = frame.edges
    place = {"x": west, "y": south, "dw": east - west, "dh": north - south, "origin": "top_left"}
    plot.image_rgba([picture], name="components", **place)
    columns = {
        "image": [np.full(compared.shape, np.nan, dtype=np.float32)],
        "features": [compared.features],
        "cells": [compared.cells],
    }
    colours = bokeh.models.LinearColorMapper(
        palette=bokeh.palettes.Cividis256, low=LOWEST, high=1, nan_color=TRANSPARENT
    )
    plot.image(
        "image",
        source=bokeh.models.ColumnDataSource(columns),
        color_mapper=colours,
        name="similarity",
        visible=False,
        **place,
    )
    add_coasts(plot, frame)
    similar = bokeh.models.ColumnDataSource({"x": [], "y": [], "text": []})
    plot.scatter("x", "y", source=similar, size=18, color="white", line_color="black", name="rings")
    plot.text(
        "x",
        "y",
        "text",
        source=similar,
        name="numbers",
        text_align="center",
        text_baseline="middle",
        text_font_size="12px",
        text_color="black",
    )
    plot.scatter([], [], marker="star", size=20, color=ORANGE, line_color="white", name="star")


def _content(
    frame: Frame, compared: _Compared, n_lat: int, n_lon: int, land_only: bool
) -> dict[str, Any]:
    """Return what the page's script needs, other than the figure."""
    palette = list(import_bokeh().palettes.Cividis256)
    rows, columns = compared.shape
    height = (frame.north - frame.south) / rows
    return {
        "frame": frame.numbers(),
        "rows": rows,
        "columns": columns,
        "digits": digits_of(height) - 1,
        "palette": palette,
        "low": LOWEST,
        "steps": STEPS,
        "earth_radius": EARTH_RADIUS_KM,
        "apart": max(5 * height * KM_PER_DEGREE, APART_KM * (frame.north - frame.south) / 180),
        "n_similar": N_SIMILAR,
        "land_only": land_only,
        "notes": [
            f"The picture has {n_lat:,} × {n_lon:,} cells; places are compared in {rows:,} × "
            f"{columns:,} cells, each by the features of its centre.",
            f"Similarity is computed from the {compared.features.shape[1]} strongest of the "
            f"features' principal components, which hold {compared.share:.0%} of their variance; "
            "0 is the average of two places, 1 is the same.",
            "Coasts: Natural Earth.",
        ],
    }
