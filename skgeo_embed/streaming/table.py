"""Features beside the rows of a table that may be larger than memory."""

from __future__ import annotations

import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skgeo_embed._errors import CoordinateError, InvalidCoordinateWarning
from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.places.swapped import warn_if_swapped
from skgeo_embed.rasters.patches import OWN
from skgeo_embed.streaming.columns import NULL_HINT, PlacesOfTable, to_numbers
from skgeo_embed.streaming.fitted import fitted, model_of, settings_of
from skgeo_embed.streaming.parts import Parts
from skgeo_embed.streaming.progress import Progress
from skgeo_embed.streaming.provenance import embedding_attributes
from skgeo_embed.streaming.repeats import EncodedPlaces, encode_places, repeated_places
from skgeo_embed.streaming.sources import TableFile
from skgeo_embed.streaming.table_run import Unchanged, begin, digests_of, resumable

BATCH_BYTES = 64 * 2**20  # of features
MIN_BATCH_ROWS = 10_000  # fewer would keep encoders with L = 40 from using their tables


class EncodedTable(NamedTuple):
    """What was written.

    Attributes
    ----------
    rows, features : int
        Rows of the table, and columns that were added.
    bad : int
        Rows whose features are null, since their coordinates are missing or impossible.
    first_bad : list of int
        The first ten of them; the first row is 0.
    """

    rows: int
    features: int
    bad: int
    first_bad: list[int]


@share_docs
def encode_table(
    encoder: CoordinateTransformer,
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    lon: str | None = None,
    lat: str | None = None,
    geometry: str | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str = "utf-8",
    overwrite: bool = False,
    restart: bool = False,
    verbose: bool = True,
) -> EncodedTable:
    """Add an encoder's features to the rows of a table, keeping its other columns.

    The table may be larger than memory: it is read in batches of rows. Each batch is encoded and
    written with its checksum to a part file in a folder next to the output, and at the end the
    parts are joined. After an interruption, repeat the call to continue; damaged parts are written
    again. If many rows share a place, as in panel data, each place is encoded once.

    Parameters
    ----------
    encoder : transformer of places
        Any encoder of this library, fitted or not; it is not changed. With ``on_invalid="nan"``
        rows without usable coordinates get null features.
    source : path-like
        A .parquet, .csv, .csv.gz or .csv.zst file.
    output : path-like
        The file to write, with one of these suffixes. Other columns of a CSV file stay text.
    lon, lat : str, default=None
        Columns of longitude and latitude; None recognises them by their names.
    geometry : str, default=None
        Column of geometries (WKB, or WKT) or of H3 cells to encode instead. None takes that of a
        GeoParquet file that has no columns of longitude and latitude.
    {csv}
    {resumable}

    Returns
    -------
    written : EncodedTable
        Number of rows, number of features, and rows without usable coordinates.

    Raises
    ------
    CoordinateError
        If coordinates are missing or impossible and the encoder was told to raise.
    FileExistsError
        If the output exists or appears during the run, or parts of another run exist.
    RuntimeError
        If the table changes while it is read, or another run writes the same output.
    ValueError
        If columns cannot be found, or the file is not a table.
    ImportError
        If pyarrow is missing, which Parquet and .csv.zst files need, or geopandas for geometries.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from skgeo_embed import SatCLIPEncoder, encode_table
    >>> folder = Path(tempfile.mkdtemp())
    >>> pd.DataFrame({"lon": [7.8], "lat": [36.8], "price": [3]}).to_csv(folder / "in.csv")
    >>> encode_table(SatCLIPEncoder(), folder / "in.csv", folder / "out.parquet")
    EncodedTable(rows=1, features=768, bad=0, first_bad=[])
    """
    table, as_begun, parts = begin(
        source,
        output,
        delimiter=delimiter,
        decimal=decimal,
        encoding=encoding,
        overwrite=overwrite,
    )
    ready = fitted(encoder)
    places = PlacesOfTable(table, ready, lon, lat, geometry, decimal)
    with resumable(parts):
        damaged = parts.open(_description(table, places, ready, as_begun), restart=restart)
        if verbose and damaged:
            print(f"{damaged} part(s) of an earlier run are damaged and are written again")
        if verbose and parts.rows:
            print(f"continuing after {parts.rows:,} rows of an earlier run")
        _encode_parts(table, places, ready, parts, as_begun, verbose)
        parts.join(_names(ready), overwrite=overwrite, description=_provenance(ready, places))
    return EncodedTable(parts.rows, len(_names(ready)), parts.bad, parts.state["first_bad"])


def _provenance(encoder: CoordinateTransformer, places: PlacesOfTable) -> dict[str, Any]:
    """Describe the features, and in which columns they and their places are."""
    described = {**embedding_attributes(encoder), f"{OWN}columns": _names(encoder)}
    if places.columns is not None:
        described[f"{OWN}places"] = list(places.columns)
    return described


def _names(encoder: CoordinateTransformer) -> list[str]:
    return [str(name) for name in encoder.get_feature_names_out()]


def _encode_parts(
    table: TableFile,
    places: PlacesOfTable,
    encoder: CoordinateTransformer,
    parts: Parts,
    as_begun: Unchanged,
    verbose: bool,
) -> None:
    names = _names(encoder)
    n_rows = max(MIN_BATCH_ROWS, BATCH_BYTES // (4 * len(names)))
    clash = sorted(set(names) & set(table.names))
    if clash:
        raise ValueError(
            f"{table.path} already has columns named like the features: {', '.join(clash[:4])}; "
            "rename or drop them first."
        )
    done = parts.rows
    features_file = parts.folder / "places.npy"
    repeats = _encoded_repeats(table, places, encoder, n_rows, features_file, verbose)
    as_numbers = parts.kind == "parquet" and table.kind == "csv" and places.columns is not None
    writing: Future[None] | None = None
    with (
        Progress("encoding", "rows", done=done, shown=verbose) as progress,
        ThreadPoolExecutor(1) as writer,  # while one part goes to the disk the next is encoded
    ):
        for rows, total in table.batches(n_rows, skip=done):
            as_begun.check()  # so that no part is made of a table that has changed
            where = table.frame(rows, places.all_columns)
            if not done and places.columns is not None:
                warn_if_swapped(places.degrees(where, first_row=0))
            if repeats is not None:
                features = repeats.of(where)
            else:
                features = _features(where, places, encoder, first_row=done)
            # where coordinates may be bad, the text that they are is kept
            if as_numbers and places.reader.on_invalid == "raise":
                numbers = {c: to_numbers(where[c], places.decimal)[0] for c in places.columns or ()}
                rows = rows.assign(**numbers)
            rows = table.text(rows) if parts.kind == "csv" else table.arrow(rows)
            if writing is not None:
                writing.result()  # two parts are held, not more
            writing = writer.submit(parts.add, rows, features, names)
            done += len(features)
            progress.update(len(features), total or done)
        if writing is not None:
            writing.result()
    as_begun.check()  # a table that was cut has fewer batches
    if not done:
        raise ValueError(f"{table.path} has no rows.")


def _encoded_repeats(
    table: TableFile,
    places: PlacesOfTable,
    encoder: CoordinateTransformer,
    n_rows: int,
    path: Path,
    verbose: bool,
) -> EncodedPlaces | None:
    """Encode the places that rows share, if they do."""
    distinct = repeated_places(table, places.all_columns, n_rows)
    if distinct is None:
        return None
    try:
        return encode_places(
            distinct, lambda rows: _features(rows, places, encoder, 0), n_rows, path, verbose
        )
    except CoordinateError:
        return None  # found again batch by batch, which knows the number of its row


def _features(
    rows: pd.DataFrame, places: PlacesOfTable, encoder: CoordinateTransformer, first_row: int
) -> np.ndarray:
    with warnings.catch_warnings():  # counted over the file, and said at its end
        warnings.simplefilter("ignore", InvalidCoordinateWarning)
        try:
            return encoder.encode_places(places.read(rows, first_row))
        except CoordinateError as error:
            raise CoordinateError(
                f"{error} (Of the rows from {first_row} on, counted from there.) {NULL_HINT}"
            ) from error


def _description(
    table: TableFile, places: PlacesOfTable, encoder: CoordinateTransformer, as_begun: Unchanged
) -> dict[str, Any]:
    """What makes the output what it is: a digest of each thing, since a setting may be secret."""
    from skgeo_embed import __version__

    described = {
        "input": str(table.path.resolve()),
        "version of skgeo-embed": __version__,
        "input's size or time": as_begun.size_and_time,
        "encoder": model_of(encoder),
        **settings_of(encoder),
        "column of places": [*(places.columns or [places.geometry]), places.time],
        "delimiter, decimal or encoding": [
            table.delimiter,
            places.decimal,
            table.written_encoding,
        ],
    }
    return digests_of(described)
