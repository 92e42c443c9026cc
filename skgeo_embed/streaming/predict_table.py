"""Predictions of a fitted model beside the rows of a table that may be larger than memory."""

from __future__ import annotations

import secrets
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._errors import CoordinateError, UsageError
from skgeo_embed._files import replace_durably
from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.places.columns import find_lonlat, unclear_columns
from skgeo_embed.places.reading import read_coordinates, read_places
from skgeo_embed.places.swapped import warn_if_swapped
from skgeo_embed.streaming.columns import NAME_THEM, to_numbers
from skgeo_embed.streaming.files import check_output
from skgeo_embed.streaming.maps.inputs import wanted_columns
from skgeo_embed.streaming.maps.layers import Layer
from skgeo_embed.streaming.maps.values import ModelValues
from skgeo_embed.streaming.parts import Parts
from skgeo_embed.streaming.progress import Progress
from skgeo_embed.streaming.sources import TableFile
from skgeo_embed.streaming.table_run import Unchanged, begin, digests_of, resumable
from skgeo_embed.streaming.text_columns import TextColumns

BATCH_ROWS = 20_000
SAMPLED_ROWS = 32  # a resumed run recognises its model by their predictions
GEO_FORMATS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".fgb": "FlatGeobuf"}


class PredictedTable(NamedTuple):
    """What was written.

    Attributes
    ----------
    rows : int
        Rows of the table.
    columns : list of str
        Names of the columns that were added.
    bad : int
        Rows without predictions, since their coordinates are missing or impossible.
    """

    rows: int
    columns: list[str]
    bad: int


@share_docs
def predict_table(
    model: Any,
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    probabilities: bool = False,
    applicability: Any = None,
    on_invalid: Literal["raise", "nan"] = "raise",
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str = "utf-8",
    overwrite: bool = False,
    restart: bool = False,
    verbose: bool = True,
) -> PredictedTable:
    """Add a fitted model's predictions to the rows of a table, keeping its other columns.

    The table is read in batches of rows, and parts are kept in a folder OUTPUT.parts: the same call
    continues a run that was interrupted, and the output is created only when it is complete. Tables
    of geometries in a GIS format are read whole, and keep their geometries.

    Parameters
    ----------
    model : estimator object
        Fitted on places, with the columns of the table.
    source : path-like
        A .parquet, .csv, .csv.gz or .csv.zst file; or a .gpkg, .geojson or .fgb file of geometries,
        for a model that was fitted on a GeoDataFrame.
    output : path-like
        Such a file, to be written.
    probabilities : bool, default=False
        Whether to add the probability of each class.
    applicability : AreaOfApplicability or Pipeline, default=None
        Adds the columns "dissimilarity" and "applicable".
    on_invalid : {"raise", "nan"}, default="raise"
        What to do with rows of missing or impossible coordinates: raise an error, or leave their
        predictions null.
    {csv}
    {resumable}

    Returns
    -------
    written : PredictedTable
        How many rows, which columns, and how many rows have none.

    Raises
    ------
    CoordinateError
        If coordinates are missing or impossible, unless `on_invalid` is "nan".
    ValueError
        If the table lacks a column that the model was fitted with.
    FileExistsError
        If the output exists or appears during the run, or parts of another run exist.
    RuntimeError
        If the table changes while it is read, or another run writes the same output.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgeo_embed import SatCLIPEncoder, predict_table
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> model = make_pipeline(SatCLIPEncoder(n_components=64), Ridge()).fit(X, y)
    >>> folder = Path(tempfile.mkdtemp())
    >>> pd.DataFrame({"town": ["Annaba"], "lon": [7.8], "lat": [36.9]}).to_csv(
    ...     folder / "towns.csv", index=False)
    >>> predict_table(model, folder / "towns.csv", folder / "predicted.csv")
    PredictedTable(rows=1, columns=['prediction'], bad=0)
    """
    check_is_fitted(model)
    if on_invalid not in ("raise", "nan"):
        raise UsageError(f'on_invalid must be "raise" or "nan", got {on_invalid!r}.')
    values = ModelValues(
        model,
        beside=wanted_columns(model).beside,
        probabilities=probabilities,
        applicability=applicability,
        names=None,
        units=None,
        floats=None,
        codes=None,
    )
    if Path(source).suffix.lower() in GEO_FORMATS:
        return _predict_geometries(values, Path(source), output, overwrite)
    table, as_begun, parts = begin(
        source,
        output,
        delimiter=delimiter,
        decimal=decimal,
        encoding=encoding,
        overwrite=overwrite,
    )
    rows_of_model = RowsOfModel(table, model, on_invalid, decimal)
    sample = values.compute(*rows_of_model.first_usable())
    layers = values.layers(sample)
    names = [layer.name for layer in layers]
    clash = sorted(set(names) & set(table.names))
    if clash:
        raise UsageError(
            f"{table.path} already has columns named {', '.join(clash)}; rename or drop them first."
        )
    made_of = {
        "input": str(table.path.resolve()),
        "input's size or time": as_begun.size_and_time,
        "model": [repr(model), [f"{v:.5g}" for part in sample for v in part.ravel()]],
        "settings": [
            probabilities,
            on_invalid,
            table.delimiter,
            decimal,
            table.written_encoding,
            repr(applicability),
        ],
    }
    with resumable(parts):
        parts.open(digests_of(made_of), restart=restart)
        _predict_parts(table, rows_of_model, values, layers, parts, as_begun, verbose)
        parts.join(names, overwrite=overwrite)
    return PredictedTable(parts.rows, names, parts.bad)


class RowsOfModel:
    """What a model reads of the rows of a table in a file.

    Parameters
    ----------
    table : TableFile
        The table.
    model : estimator object
        Fitted.
    on_invalid, decimal
        As for :func:`predict_table`.
    """

    def __init__(self, table: TableFile, model: Any, on_invalid: str, decimal: str) -> None:
        self._table, self._on_invalid, self._decimal = table, on_invalid, decimal
        self._wanted = wanted = wanted_columns(model)
        if wanted.geometry is not None:
            raise UsageError(
                f"the model was fitted on a GeoDataFrame, and {table.path} is a plain table; name "
                f"a file of geometries ({', '.join(GEO_FORMATS)})."
            )
        if wanted.beside:
            raise UsageError(
                "the model was fitted with coords beside X; fit it on a table that holds the "
                "columns of longitude and latitude."
            )
        lon, lat = (name if name in table.names else None for name in (wanted.lon, wanted.lat))
        found = find_lonlat(table.names, lon, lat)
        if found is None:
            raise UsageError(f"{table.path}: {unclear_columns(table.names, lon, lat, NAME_THEM)}")
        self._place = [table.names[position] for position in found]
        missing = [name for name in wanted.others if name not in table.names]
        if missing:
            raise UsageError(
                f"{table.path} lacks {', '.join(map(repr, missing))}, which the model was fitted "
                f"with; it has {', '.join(map(repr, table.names))}."
            )

        self._text = (
            TextColumns(table, wanted.others, wanted.kinds, decimal)
            if table.kind == "csv"
            else None
        )

    def read(self, rows: Any, first_row: int) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return what the model reads of the usable rows, their degrees, and which rows they are.

        Raises
        ------
        CoordinateError
            If coordinates cannot be used, and are not left out.
        """
        frame = self._table.frame(rows, [*self._place, *self._wanted.others])
        lonlat = np.column_stack(
            [to_numbers(frame[name], self._decimal)[0] for name in self._place]
        )
        try:
            places = read_coordinates(lonlat, on_invalid=self._on_invalid, first_row=first_row)
        except CoordinateError as error:
            raise CoordinateError(
                f'{self._table.path}: {error} on_invalid="nan" (--on-invalid nan) leaves the '
                "predictions of such rows null. The first row is 0."
            ) from error
        usable, degrees = places.valid, places.lonlat[places.valid]
        columns: dict[Any, Any] = {
            name: frame[name] if self._text is None else self._text.read(frame[name], first_row)
            for name in self._wanted.others
        }
        columns = {name: column[usable].reset_index(drop=True) for name, column in columns.items()}
        if self._wanted.names is None:
            others = [np.asarray(columns[name]) for name in self._wanted.others]
            return np.column_stack([degrees, *others]), degrees, usable
        columns[self._wanted.lon], columns[self._wanted.lat] = degrees.T
        return pd.DataFrame(columns)[list(self._wanted.names)], degrees, usable

    def first_usable(self) -> tuple[Any, np.ndarray]:
        """Return what the model reads of some rows, and their degrees.

        Raises
        ------
        ValueError
            If no row has usable coordinates.
        """
        first_row = 0
        for rows, _ in self._table.batches(BATCH_ROWS, skip=0):
            X, lonlat, _ = self.read(rows, first_row)
            if len(lonlat):
                warn_if_swapped(lonlat)
                return X[:SAMPLED_ROWS], lonlat[:SAMPLED_ROWS]
            first_row += BATCH_ROWS
        raise ValueError(f"{self._table.path} has no rows with usable coordinates.")


def _predict_parts(
    table: TableFile,
    rows_of_model: RowsOfModel,
    values: ModelValues,
    layers: list[Layer],
    parts: Parts,
    as_begun: Unchanged,
    verbose: bool,
) -> None:
    done = parts.rows
    with Progress("predicting", "rows", done=done, shown=verbose) as progress:
        for rows, total in table.batches(BATCH_ROWS, skip=done):
            as_begun.check()
            X, lonlat, usable = rows_of_model.read(rows, done)
            found = values.compute(X, lonlat) if len(lonlat) else []
            words, numbers = _columns(layers, found, usable)
            written = table.text(rows) if parts.kind == "csv" else table.arrow(rows)
            for name, column in words.items():
                written = _with_words(written, name, column)
            names = [layer.name for layer in layers if layer.name not in words]
            parts.add(written, numbers, names, bad=np.flatnonzero(~usable))
            done += len(usable)
            progress.update(len(usable), total or done)
    as_begun.check()


def _columns(
    layers: list[Layer], found: list[np.ndarray], usable: np.ndarray
) -> tuple[dict[str, list[str | None]], np.ndarray]:
    """Return columns of words (the classes), and columns of numbers; null in unusable rows."""
    words: dict[str, list[str | None]] = {}
    numbers = np.full((len(usable), sum(not layer.classes for layer in layers)), np.nan)
    for layer, part in zip(layers, found, strict=False):
        if layer.classes:
            labels = np.full(len(usable), None, dtype=object)
            labels[usable] = [str(layer.classes[code]) for code in part]
            words[layer.name] = labels.tolist()
    if found:
        parts = [part for layer, part in zip(layers, found, strict=True) if not layer.classes]
        numbers[usable] = np.column_stack(parts) if parts else numbers[usable]
    elif layers[0].classes:
        words[layers[0].name] = [None] * len(usable)
    return words, numbers


def _with_words(rows: Any, name: str, words: list[str | None]) -> Any:
    """Append a column of words to a batch of text or of pyarrow."""
    if isinstance(rows, pd.DataFrame):
        return pd.concat([rows, pd.Series(words, index=rows.index, name=name).fillna("")], axis=1)
    import pyarrow as pa

    return rows.append_column(name, pa.array(words, pa.string()))


def _predict_geometries(
    values: ModelValues, source: Path, output: str | PathLike[str], overwrite: bool
) -> PredictedTable:
    """Add predictions to a file of geometries, which is read whole."""
    try:
        import geopandas
    except ImportError as error:
        raise ImportError('geometries need geopandas: pip install "skgeo-embed[geo]"') from error
    suffixes = [*GEO_FORMATS, ".parquet"]
    target = check_output(output, overwrite=overwrite, suffixes=suffixes)
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}.")
    if source.resolve() == target.resolve():
        raise UsageError(f"{output} is the input; choose another name for the output.")
    table = geopandas.read_file(source)
    found = values.compute(table, read_places(table, wide=True).lonlat)
    layers = values.layers(found)
    words, numbers = _columns(layers, found, np.ones(len(table), dtype=bool))
    names = [layer.name for layer in layers if layer.name not in words]
    clash = sorted({*names, *words} & set(table.columns))
    if clash:
        raise UsageError(f"{source} already has columns named {', '.join(clash)}; rename them.")
    table = table.assign(**words, **dict(zip(names, numbers.T, strict=True)))
    temporary = target.with_name(f".{secrets.token_hex(8)}.{target.name}")
    try:
        if target.suffix.lower() == ".parquet":
            table.to_parquet(temporary)
        else:
            driver = GEO_FORMATS[target.suffix.lower()]
            named = {"layer": target.stem} if driver == "GPKG" else {}
            table.to_file(temporary, driver=driver, **named)
        replace_durably(temporary, target, overwrite=overwrite)
    finally:
        temporary.unlink(missing_ok=True)
    return PredictedTable(len(table), [layer.name for layer in layers], 0)
