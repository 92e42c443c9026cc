"""The places to predict at, as a user gives them, become points."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skgeo_embed._errors import CoordinateError
from skgeo_embed._region import read_region
from skgeo_embed.places.areas import AreaSampling, points_in_areas, square_km
from skgeo_embed.places.columns import classify_column
from skgeo_embed.places.kinds import recognise
from skgeo_embed.places.numbers import comes_from_package
from skgeo_embed.places.reading import read_areas, read_axis, read_coordinates

Grid = tuple[np.ndarray, np.ndarray, np.ndarray]  # longitudes, latitudes, (n_lat, n_lon) bool


def read_prediction_places(predict_at: Any, n_places: int, random_state: Any) -> np.ndarray:
    """Return places to predict at, (n, 2) degrees.

    Parameters
    ----------
    predict_at : object
        Places of any kind that encoders read; areas; a region (west, south, east, north); or a
        grid of cells, of which some are meant.
    n_places : int
        How many places areas, a region or a grid become.
    random_state : int, RandomState instance or None
        Chooses cells of a grid.

    Raises
    ------
    CoordinateError
        If these are no places, or a grid has no cell that is meant.
    """
    grid = _read_grid(predict_at)
    if grid is not None:
        return _sample_cells(grid, n_places, random_state)
    if _is_region(predict_at):
        return _spread_over_region(predict_at, n_places)
    areas = recognise(predict_at).areas()
    if areas is None:
        return read_coordinates(predict_at, wide=True).lonlat
    checked = read_areas(areas).areas
    assert checked is not None
    return _spread_over_areas(checked, n_places)


def _read_grid(predict_at: Any) -> Grid | None:
    """Return a grid of xarray's, or the two axes and the mask that were given."""
    if comes_from_package(predict_at, "xarray") and getattr(predict_at, "ndim", 0) == 2:
        kinds = [classify_column(name) for name in predict_at.dims]
        if sorted(map(str, kinds)) != ["lat", "lon"]:
            return None  # a table of places
        cells = predict_at if kinds == ["lat", "lon"] else predict_at.transpose()
        values = np.asarray(cells.values)
        meant = values if values.dtype == bool else np.isfinite(values.astype(np.float64))
        lat, lon = (cells[name] for name in cells.dims)
    elif isinstance(predict_at, tuple) and len(predict_at) == 3 and np.ndim(predict_at[2]) == 2:
        lon, lat, meant = predict_at
        meant = np.asarray(meant)
        if meant.dtype != bool:
            raise CoordinateError(
                f"the mask of predict_at must be booleans, got {meant.dtype}; it is True where "
                "the model will predict."
            )
    else:
        return None
    longitudes, latitudes = read_axis(lon, "lon"), read_axis(lat, "lat")
    if meant.shape != (len(latitudes), len(longitudes)):
        raise CoordinateError(
            f"the mask of predict_at has the shape {meant.shape}; its axes ask for "
            f"({len(latitudes)}, {len(longitudes)}), latitudes first."
        )
    return longitudes, latitudes, meant


def _sample_cells(grid: Grid, n_places: int, random_state: Any) -> np.ndarray:
    """Draw centres of cells; cells are the smaller the nearer to a pole, and drawn less often."""
    lon, lat, meant = grid
    row, column = np.nonzero(meant)
    if not len(row):
        raise CoordinateError("predict_at is a grid without a cell to predict at.")
    area = np.cos(np.deg2rad(lat))[row].clip(1e-9)
    if len(row) > n_places:
        rng = check_random_state(random_state)
        chosen = rng.choice(len(row), n_places, replace=False, p=area / area.sum())
        row, column = row[chosen], column[chosen]
    return np.column_stack([lon[column], lat[row]])


def _is_region(predict_at: Any) -> bool:
    return (
        isinstance(predict_at, (tuple, list, np.ndarray))
        and len(predict_at) == 4
        and all(isinstance(edge, Real) for edge in predict_at)
    )


def _spread_over_region(region: Any, n_places: int) -> np.ndarray:
    """Lay rows of points that stand for equal areas of a region."""
    west, south, east, north = read_region(region)
    low, high = np.sin(np.deg2rad([south, north]))
    middle = np.cos(np.deg2rad((south + north) / 2))
    n_rows = max(1, round(np.sqrt(n_places * (north - south) / ((east - west) * middle))))
    n_columns = max(1, round(n_places / n_rows))
    sine = low + (np.arange(n_rows) + 0.5) / n_rows * (high - low)
    lon = west + (np.arange(n_columns) + 0.5) / n_columns * (east - west)
    lonlat = np.stack(np.meshgrid(lon, np.rad2deg(np.arcsin(sine))), axis=-1).reshape(-1, 2)
    lonlat[:, 0] = (lonlat[:, 0] + 180) % 360 - 180
    return lonlat


def _spread_over_areas(areas: np.ndarray, n_places: int) -> np.ndarray:
    """Spread points evenly over all areas together, at least one in each."""
    spacing = np.sqrt(square_km(areas).sum() / n_places)
    sampling = AreaSampling(None, max(float(spacing), 1e-6), "mean")
    return np.concatenate([lonlat for _, lonlat, _ in points_in_areas(areas, sampling)])
