"""A page of a map of predictions, for somebody who has a browser and nothing else."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_consistent_length

from skgeo_embed._sphere import KM_PER_DEGREE
from skgeo_embed.inspection._page.bands import VERDICT, Band, PageMap, read_map
from skgeo_embed.inspection._page.document import (
    add_coasts,
    digits_of,
    finite_or_none,
    import_bokeh,
    new_figure,
    write_page,
)
from skgeo_embed.inspection._page.frame import crs_name
from skgeo_embed.places.numbers import plain_column
from skgeo_embed.places.reading import find_coordinates
from skgeo_embed.streaming.files import check_output

MOST_LABELS = 5_000
BOUNDS = ("lower", "upper")
CLASS, PROBABILITY, DISSIMILARITY = "class", "probability_", "dissimilarity"
VERDICT_COLOURS = ["#d55e00", "#56b4e9"]
# colour-blind readers can tell them apart (Okabe and Ito, "Color Universal Design", 2008)
CLASS_COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"]
NO_BREAK = "\u00a0"  # between a number and its unit
TRANSPARENT = "rgba(0,0,0,0)"
VEIL = "rgba(232,236,239,0.75)"  # over cells outside the area of applicability
_BODY = """<main>
<div id="plot" role="img" aria-label="Map; the values of a place are in the text beside it"></div>
<aside>
<div><h2><label for="band">Shown</label></h2><select id="band"></select></div>
<div class="controls">
<button id="in" type="button" aria-label="Zoom in">+</button>
<button id="out" type="button" aria-label="Zoom out">−</button>
<button id="whole" type="button">Whole map</button>
</div>
<section id="legend"><h2 id="legend-title"></h2>
<div id="scale"><div id="bar"></div><div id="ticks"></div>
<div id="ends" class="small">Values beyond the ends have the colours of the ends.</div></div>
<ul id="classes"></ul></section>
<div>
<label id="veil-line"><input type="checkbox" id="veil" checked>
<span>Grey out what is outside the area of applicability</span></label>
<label id="points-line"><input type="checkbox" id="points" checked><span>Labels</span></label>
</div>
<section id="readout" aria-live="off"><h2>Under the pointer</h2><div id="values"></div></section>
</aside>
</main>"""


def write_map_page(
    predictions: Any,
    path: str | PathLike[str],
    *,
    coords: Any = None,
    y: Any = None,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a map of predictions as one HTML file, which any browser opens without a network.

    The page has pan and zoom, a choice of the band that is shown, a legend, and the values of all
    bands under the pointer. Cells outside the area of applicability are greyed out, if the
    map has that band.

    Parameters
    ----------
    predictions : xarray.Dataset or path-like
        A map as `predict_grid` makes it, or the path of its GeoTIFF: variables over (lat, lon) in
        degrees, or over (y, x) in metres with the CRS in ``spatial_ref``. Classes are recognised by
        ``flag_values``, and the verdict by the name ``applicable``. Open NetCDF and Zarr with
        xarray.
    path : path-like
        The .html file to write. It is created only when it is complete.
    coords : array-like or frame of shape (n, 2), default=None
        Longitude and latitude in degrees of labels to draw as points.
    y : array-like of shape (n,) or (n, n_outputs), default=None
        The labels: they have the colours of the map. With several outputs the columns are in the
        order of the map's.
    title : str, default=None
        Title of the page; None writes what the first band is called.
    overwrite : bool, default=False
        Replace an existing file.

    Returns
    -------
    path : Path
        Where the page is.

    Raises
    ------
    TypeError
        If `predictions` is neither a dataset nor a path.
    ValueError
        If the map has no CRS or uneven cells, or one of `coords` and `y` is missing.
    CoordinateError
        If `coords` cannot be read.
    FileExistsError
        If the file exists, unless `overwrite`.
    ImportError
        If bokeh is missing.

    Notes
    -----
    The page has 1.3 MB of the library that draws it, and the map in at most about 5 MB: of a larger
    map it shows every second, third, … cell in each direction, and says so. A value on the page is
    the map's at that cell's centre; nothing is averaged. Of more than 5,000 labels it shows 5,000
    drawn at random.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, xarray as xr
    >>> from skgeo_embed.inspection import write_map_page
    >>> lat, lon = np.arange(50, 45, -0.5), np.arange(5, 12, 0.5)
    >>> warmth = 30 - 0.4 * lat[:, None] + 0.1 * lon
    >>> grid = xr.Dataset(
    ...     {"prediction": (("lat", "lon"), warmth, {"long_name": "warmth", "units": "°C"})},
    ...     coords={"lat": lat, "lon": lon},
    ... )
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_map_page(grid, folder / "map.html", coords=[[8.5, 47.4]], y=[11.9]).name
    'map.html'
    """
    import_bokeh()
    target = check_output(path, overwrite=overwrite, suffixes=[".html", ".htm"])
    if (coords is None) != (y is None):
        missing, given = ("coords", "y") if coords is None else ("y", "coords")
        raise ValueError(f"{given} is given without {missing}: labels need both.")
    shown = read_map(predictions)
    labels = None if coords is None else _Labels(coords, y, shown)
    plot = new_figure(shown.frame)
    _draw(plot, shown, labels)
    return write_page(
        target,
        plot,
        _content(shown, labels),
        title=title or f"Map of {shown.bands[0].label}",
        body=_BODY,
        scripts=["page.js", "map.js"],
        overwrite=overwrite,
    )


class _Labels:
    """Labels on a map: where they are, what is written at them, and their numbers for colours."""

    def __init__(self, coords: Any, y: Any, shown: PageMap) -> None:
        lonlat = find_coordinates(coords, None)
        table = pd.DataFrame(plain_column(y) if not hasattr(y, "columns") else y)
        check_consistent_length(lonlat, table)
        outputs = _outputs(shown.bands)
        if table.shape[1] != len(outputs):
            raise ValueError(
                f"y has {table.shape[1]} column(s), and the map has {len(outputs)} output(s): "
                f"{', '.join(shown.bands[number].name for number in outputs)}."
            )
        x_all, y_all = shown.frame.place(lonlat)
        west, south, east, north = shown.frame.edges
        rows = np.flatnonzero(
            (x_all >= west) & (x_all <= east) & (y_all >= south) & (y_all <= north)
        )
        if not len(rows):
            raise ValueError(
                f"none of the {len(lonlat)} labels lies on the map; check coords, whose first is "
                f"longitude {lonlat[0, 0]:g} and latitude {lonlat[0, 1]:g}."
            )
        self.n_inside = len(rows)
        if len(rows) > MOST_LABELS:
            rows = np.sort(np.random.RandomState(0).choice(rows, MOST_LABELS, replace=False))
        self.x, self.y = x_all[rows], y_all[rows]
        self.columns: dict[int, np.ndarray] = {}
        texts = []
        for number, (_, column) in zip(outputs, table.iloc[rows].items(), strict=True):
            band = shown.bands[number]
            self.columns[number], words = _numbers_and_words(column, band)
            texts.append(words)
        self.texts = list(zip(*texts, strict=True))
        self.names = (
            ["label"]
            if len(outputs) == 1
            else [f"label of {shown.bands[number].label}" for number in outputs]
        )


def _numbers_and_words(column: pd.Series, band: Band) -> tuple[np.ndarray, list[str]]:
    """Return the numbers that colour a column of labels, and the words that are written."""
    missing = column.isna().to_numpy()
    if band.classes is None:
        try:
            numbers = column.to_numpy(dtype=float, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the labels of {band.label!r} are not numbers: {error}") from error
        words = [f"{value:.5g}{NO_BREAK}{band.unit}".strip() for value in numbers]
    else:
        number_of = {name: number for number, name in enumerate(band.classes)}
        words = [str(value) for value in column]
        numbers = np.array([number_of.get(word, np.nan) for word in words])
    words = ["no value" if is_na else word for is_na, word in zip(missing, words, strict=True)]
    return numbers.astype(np.float32), words


def _draw(plot: Any, shown: PageMap, labels: _Labels | None) -> None:
    """Add the cells, what greys them out, the coasts and the labels to a figure."""
    bokeh = import_bokeh()
    cells = bokeh.models.ColumnDataSource(
        {str(number): [band.values] for number, band in enumerate(shown.bands)}, name="cells"
    )
    west, south, east, north = shown.frame.edges
    place = {"x": west, "y": south, "dw": east - west, "dh": north - south, "origin": "top_left"}
    colours = bokeh.models.LinearColorMapper(
        palette=["#000000"], nan_color=TRANSPARENT, name="colours"
    )
    plot.image("0", source=cells, color_mapper=colours, name="image", **place)
    for number, band in enumerate(shown.bands):
        if band.name == VERDICT:
            veil = bokeh.models.LinearColorMapper(
                palette=[VEIL, TRANSPARENT], low=-0.5, high=1.5, high_color=TRANSPARENT
            )
            plot.image(str(number), source=cells, color_mapper=veil, name="veil", **place)
    add_coasts(plot, shown.frame)
    if labels is not None:
        numbers = {str(number): values for number, values in labels.columns.items()}
        source = bokeh.models.ColumnDataSource(
            {"x": labels.x, "y": labels.y, **numbers}, name="points"
        )
        plot.scatter("x", "y", source=source, size=12, color="white", name="halo")
        plot.scatter("x", "y", source=source, size=8, line_color="black", name="labels")


def _content(shown: PageMap, labels: _Labels | None) -> dict[str, Any]:
    """Return what the page's script needs, other than the figure."""
    frame = shown.frame
    rows, columns = shown.bands[0].values.shape
    cell = (frame.east - frame.west) / columns
    bands = [_described(band, shown.bands) for band in shown.bands]
    for number in labels.columns if labels else ():
        bands[number]["labelled"] = True
    return {
        "frame": frame.numbers(),
        "nodes": None if frame.crs is None else finite_or_none(frame.degrees_of_nodes()),
        "rows": rows,
        "columns": columns,
        "digits": digits_of(cell),
        "degree_digits": digits_of(cell if frame.crs is None else cell / KM_PER_DEGREE),
        "bands": bands,
        "labels": None if labels is None else {"names": labels.names, "texts": labels.texts},
        "notes": _notes(shown, labels),
    }


def _described(band: Band, bands: list[Band]) -> dict[str, Any]:
    """Say what a band is called and which colours it has."""
    about = {"label": band.label, "unit": band.unit, "classes": band.classes, "labelled": False}
    about["verdict"] = band.name == VERDICT
    if band.classes is not None:
        colours = VERDICT_COLOURS if about["verdict"] else _class_colours(len(band.classes))
        return {**about, "palette": colours, "low": -0.5, "high": len(band.classes) - 0.5}
    palette = list(import_bokeh().palettes.Cividis256)
    alike = [one.values for one in bands if _scale(one, bands) == _scale(band, bands)]
    known = np.concatenate([values[np.isfinite(values)] for values in alike])
    if band.name.startswith(PROBABILITY):
        low, high = 0.0, 1.0
    elif known.size:
        low, high = (float(end) for end in np.quantile(known, (0.01, 0.99)))
    else:
        low, high = 0.0, 1.0
    if low == high:
        low, high = low - 0.5, high + 0.5
    clipped = bool(known.size) and bool(known.min() < low or known.max() > high)
    return {**about, "palette": palette, "low": low, "high": high, "clipped": clipped}


def _scale(band: Band, bands: list[Band]) -> str:
    """Return the key of a band's scale of colours; bounds share the scale of their prediction."""
    kind, _, output = band.name.partition("_")
    output = output or "prediction"
    bounds = kind in BOUNDS and output in {other.name for other in bands}
    return output if bounds else band.name


def _outputs(bands: list[Band]) -> list[int]:
    """Return the numbers of the bands that hold what y holds."""
    apart = {*BOUNDS, DISSIMILARITY, VERDICT}
    if any(band.name == CLASS for band in bands):  # the others are its probabilities
        apart |= {band.name for band in bands if band.name.startswith(PROBABILITY)}
    return [
        number
        for number, band in enumerate(bands)
        if band.name not in apart and _scale(band, bands) == band.name
    ]


def _class_colours(count: int) -> list[str]:
    if count <= len(CLASS_COLOURS):
        return CLASS_COLOURS[:count]
    palettes = import_bokeh().palettes
    turbo = [palettes.Turbo256[255 * number // (count - 1)] for number in range(count)]
    return list(palettes.Category20[20][:count] if count <= 20 else turbo)


def _notes(shown: PageMap, labels: _Labels | None) -> list[str]:
    """Say what a reader of the page should know of the map."""
    rows, columns = shown.shape
    notes = [f"The map has {rows:,} × {columns:,} cells, in {crs_name(shown.frame.crs)}."]
    if shown.step > 1:
        notes.append(
            f"It is larger than a page can hold: this page shows one cell of every {shown.step} × "
            f"{shown.step}, the one in their middle, with that cell's own value."
        )
    if labels is not None and len(labels.x) < labels.n_inside:
        notes.append(
            f"{len(labels.x):,} of the {labels.n_inside:,} labels are drawn, chosen at random."
        )
    if any(band.name in BOUNDS for band in shown.bands):
        notes.append("Lower and upper are the bounds of an interval around the prediction.")
    notes.append("Places without a colour have no value. Coasts: Natural Earth.")
    return notes
