"""The table that a fitted model wants at the cells of a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from skgeo_embed._errors import UsageError
from skgeo_embed.encoders.raster import RasterEncoder
from skgeo_embed.places.columns import find_lonlat, unclear_columns
from skgeo_embed.prediction.base import PlacesMetaEstimator
from skgeo_embed.prediction.pipeline import TableReader
from skgeo_embed.streaming.maps.rasters import RASTER_SUFFIXES, OneRaster


class WantedColumns(NamedTuple):
    """What a model was fitted with.

    Attributes
    ----------
    lon, lat : str or None
        Names of the columns of the place; None if columns have no names.
    geometry : str or None
        Or the column of geometries.
    others : list of str
        The other columns, in their order.
    names : list of str or None
        All of them, in the order of `fit`.
    beside : bool
        Whether places were passed as `coords` beside X.
    kinds : dict of str to str
        What the other columns held, as far as the model knows it.
    """

    lon: Any = None
    lat: Any = None
    geometry: Any = None
    others: tuple[Any, ...] = ()
    names: tuple[Any, ...] | None = None
    beside: bool = False
    kinds: Mapping[Any, str] = MappingProxyType({})


def wanted_columns(model: Any) -> WantedColumns:
    """Find out which table a fitted model wants.

    Raises
    ------
    UsageError
        If it was not fitted on places.
    """
    beside = False
    for part in _from_outside_in(model):
        beside = beside or (isinstance(part, PlacesMetaEstimator) and part._beside)
        if isinstance(part, TableReader):
            return _of_reader(part)
        names = getattr(part, "feature_names_in_", None)
        if names is not None:
            return _of_names(model, tuple(names), beside)
    width = next(
        (
            part.n_features_in_
            for part in _from_outside_in(model)
            if hasattr(part, "n_features_in_")
        ),
        2,
    )
    if beside:
        return WantedColumns(others=tuple(f"x{i}" for i in range(width)), beside=True)
    if width < 2:
        raise UsageError(f"the model was fitted on {width} column, which cannot be places.")
    return WantedColumns(others=tuple(f"x{i}" for i in range(2, width)))


def _from_outside_in(model: Any) -> Iterator[Any]:
    """Yield a fitted model, and the fitted estimators in it that see the table first."""
    while model is not None:
        yield model
        if isinstance(model, Pipeline):
            model = next(
                (step for _, step in model.steps if step not in (None, "passthrough")), None
            )
            continue
        model = next(
            (
                getattr(model, name)
                for name in ("best_estimator_", "estimator_", "regressor_")
                if hasattr(model, name)
            ),
            None,
        )


def _of_reader(reader: TableReader) -> WantedColumns:
    names = reader._names
    found = None if names is None else find_lonlat([str(n) for n in names], reader.lon, reader.lat)
    lon, lat = ("lon", "lat") if found is None else (names[found[0]], names[found[1]])  # type: ignore[index]
    others = tuple(reader.columns_)
    return WantedColumns(lon, lat, None, others, (lon, lat, *others), kinds=reader.kinds_)


def _of_names(model: Any, names: tuple[Any, ...], beside: bool) -> WantedColumns:
    if beside:
        return WantedColumns(others=names, names=names, beside=True)
    chosen = {
        kind: next(
            (
                v
                for key, v in model.get_params().items()
                if key.split("__")[-1] == kind and v in names
            ),
            None,
        )
        for kind in ("lon", "lat")
    }
    found = find_lonlat(names, chosen["lon"], chosen["lat"])
    if found is None and "geometry" in names:
        others = tuple(name for name in names if name != "geometry")
        return WantedColumns(geometry="geometry", others=others, names=names)
    if found is None:
        unclear = unclear_columns(
            names, chosen["lon"], chosen["lat"], "fit it on a table with both"
        )
        raise UsageError(f"the model was not fitted on places: {unclear}")
    lon, lat = names[found[0]], names[found[1]]
    return WantedColumns(lon, lat, None, tuple(n for n in names if n not in (lon, lat)), names)


class TableOfCells:
    """Makes the table of cells that a model wants.

    Parameters
    ----------
    model : estimator object
        Fitted.
    covariates : dict or None
        Of each other column a raster (a path or a :class:`RasterEncoder`) or a constant.

    Raises
    ------
    UsageError
        If the model was not fitted on places, or if columns are missing or unknown.
    """

    def __init__(self, model: Any, covariates: Mapping[Any, Any] | None) -> None:
        self.wanted = wanted_columns(model)
        given = {} if covariates is None else dict(covariates)
        missing = [name for name in self.wanted.others if name not in given]
        if missing:
            shown = ", ".join(map(repr, missing[:8])) + (" …" if len(missing) > 8 else "")
            raise UsageError(
                f"the model was fitted with {len(missing)} column(s) that the map does not have: "
                f"{shown}. Pass covariates={{{missing[0]!r}: ...}} (--covariate NAME=VALUE), a "
                "raster or a constant for each. If the model was fitted on an encoder's features, "
                "put both into one Pipeline."
            )
        unknown = [name for name in given if name not in self.wanted.others]
        if unknown:
            raise UsageError(
                f"covariates has {', '.join(map(repr, unknown))}, which the model was not fitted "
                f"with; it wants {', '.join(map(repr, self.wanted.others)) or 'places alone'}."
            )
        self.covariates = {name: _covariate(name, given[name]) for name in self.wanted.others}

    @property
    def identity(self) -> dict[Any, Any]:
        """What tells the covariates from others, by which a killed run knows them again."""
        return {
            name: source.identity if isinstance(source, OneRaster) else source
            for name, source in self.covariates.items()
        }

    def others_at(self, lonlat: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the other columns at places, and of each whether its raster has no value there."""
        columns, uncovered = {}, {}
        for name, source in self.covariates.items():
            if isinstance(source, OneRaster):
                columns[name] = pd.Series(source.values(lonlat))
                uncovered[name] = columns[name].isna()
            else:
                columns[name] = pd.Series([source] * len(lonlat))
        rows = range(len(lonlat))
        return pd.DataFrame(columns, index=rows), pd.DataFrame(uncovered, index=rows)

    def table(self, lonlat: np.ndarray, others: pd.DataFrame) -> Any:
        """Return the table of places and other columns, as the model wants it."""
        wanted = self.wanted
        if wanted.names is None:
            columns = others.to_numpy()
            return columns if wanted.beside else np.column_stack([lonlat, columns])
        frame = others.copy()
        if wanted.geometry is not None:
            from geopandas import GeoDataFrame, points_from_xy

            points = points_from_xy(*lonlat.T, crs="EPSG:4326")
            return GeoDataFrame(frame, geometry=points)[list(wanted.names)]
        if not wanted.beside:
            frame[wanted.lon], frame[wanted.lat] = lonlat.T
        return frame[list(wanted.names)]


def _covariate(name: Any, value: Any) -> Any:
    """Read a covariate: a raster, or a constant."""
    is_path = isinstance(value, PathLike) or (
        isinstance(value, str)
        and (value.lower().endswith(RASTER_SUFFIXES) or Path(value).is_file())
    )
    if is_path or isinstance(value, RasterEncoder):
        return OneRaster(fspath(value) if is_path else value, f"covariates[{name!r}]")
    if hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
        raise UsageError(
            f"covariates[{name!r}] must be a raster (a path or a RasterEncoder) or a constant, got "
            f"{type(value).__name__}."
        )
    return value
