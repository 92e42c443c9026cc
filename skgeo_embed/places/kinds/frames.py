"""Tables with named columns: pandas, polars, arrow, xarray and numpy's structured arrays."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.columns import ACCEPTED, classify_column
from skgeo_embed.places.kinds.base import Table
from skgeo_embed.places.numbers import comes_from_package, plain_column, to_float64
from skgeo_embed.places.units import unit_of


class ArrowTable(Table):
    """A table or record batch of pyarrow."""

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise tables; arrays and chunked arrays of pyarrow are refused."""
        if not comes_from_package(X, "pyarrow"):
            return None
        if not hasattr(X, "schema"):
            raise CoordinateError(f"got an arrow {type(X).__name__}; {ACCEPTED}.")
        return cls(X, list(X.schema.names))

    def unit(self, position: int) -> str:
        """Return the unit in the metadata of a field."""
        metadata = self.X.schema.field(position).metadata or {}
        return str(metadata.get(b"units", b"").decode(errors="replace")).strip()

    def numbers(self, position: int, what: str, unit: str) -> np.ndarray:
        """Read a column as pandas does."""
        return numbers_of_series(plain_column(self.X.column(position)), what, unit)


class XarrayDataset(Table):
    """One-dimensional variables of an xarray Dataset."""

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise a Dataset of places; one that is a grid is refused."""
        if not comes_from_package(X, "xarray") or hasattr(X, "dtype"):
            return None
        if len(X.sizes) > 1:
            raise CoordinateError(
                f"the Dataset has the dimensions {list(X.sizes)}, so it is a grid and not a list "
                "of places; use transform_grid with its lon and lat."
            )
        found = cls(X, [name for name, values in X.variables.items() if values.ndim == 1])
        found.n_columns, found.is_compared = 2, False
        return found

    @property
    def n_rows(self) -> int:
        """Number of places."""
        return max(values.size for values in self.X.variables.values())

    def unit(self, position: int) -> str:
        """Return the unit of a variable."""
        return unit_of(self.X[self.names[position]])

    def numbers(self, position: int, what: str, unit: str) -> np.ndarray:
        """Read a variable."""
        return to_float64(self.X[self.names[position]].values, what, unit)


class XarrayColumns(Table):
    """A two-dimensional DataArray that names its columns."""

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise names along the second dimension; along the first they are refused."""
        if not comes_from_package(X, "xarray") or not hasattr(X, "dtype") or X.ndim != 2:
            return None
        for coordinate in getattr(X, "coords", {}).values():
            named = coordinate.ndim == 1 and any(
                isinstance(value, (str, bytes)) for value in coordinate.values
            )
            known = named and any(classify_column(value) for value in coordinate.values)
            if not known and not (named and coordinate.name == X.dims[1]):
                continue
            if coordinate.dims == (X.dims[1],):
                return cls(X, list(coordinate.values))
            raise CoordinateError(
                f"the names {list(coordinate.values)} are along the rows; use X.transpose()."
            )
        return None

    def unit(self, position: int) -> str:
        """Return the unit of the array."""
        return unit_of(self.X)

    def numbers(self, position: int, what: str, unit: str) -> np.ndarray:
        """Read a column."""
        return to_float64(self.X.values[:, position], what, unit)


class StructuredArray(Table):
    """A structured numpy array."""

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise fields."""
        fields = getattr(getattr(X, "dtype", None), "names", None)
        if not fields:
            return None
        found = cls(X, list(fields))
        found.is_compared = False  # scikit-learn knows no names of arrays
        return found

    def numbers(self, position: int, what: str, unit: str) -> np.ndarray:
        """Read a field."""
        return to_float64(self.X[self.names[position]], what, unit)


class Frame(Table):
    """A data frame of pandas, polars or another library with named columns."""

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise columns and a shape; a polars Series of structs is refused."""
        if not hasattr(X, "columns"):
            if comes_from_package(X, "polars") and "Struct" in str(X.dtype):
                raise CoordinateError("got a polars Series of structs; use X.struct.unnest().")
            return None
        return cls(X, list(X.columns)) if hasattr(X, "shape") else None

    def lonlat(self, lon: Any, lat: Any, *, wide: bool = False, remedy: str = "") -> np.ndarray:
        """Read two columns; a frame that lies on its side, or has geometries, is refused."""
        self._check_rows()
        self._check_geometry()
        return super().lonlat(lon, lat, wide=wide, remedy=remedy)

    def numbers(self, position: int, what: str, unit: str) -> np.ndarray:
        """Read a column by its position."""
        if hasattr(self.X, "iloc"):
            return numbers_of_series(self.X.iloc[:, position], what, unit)
        if hasattr(self.X, "to_series"):  # polars
            return to_float64(self.X.to_series(position).to_numpy(), what, unit)
        return to_float64(self.X[self.names[position]].to_numpy(), what, unit)

    def without_column(self, name: str) -> Any:
        """Return the other columns, which may be boxes or H3 cells by themselves."""
        if not comes_from_package(self.X, "pandas"):
            return self
        return self.X[[other for other in self.names if other != name]]

    def _check_rows(self) -> None:
        if self.X.shape == (2, 2) and hasattr(self.X, "index"):
            rows = {classify_column(name) for name in self.X.index}
            if rows == {"lon", "lat"} and not any(classify_column(name) for name in self.names):
                raise CoordinateError("longitude and latitude are rows of this table; use X.T.")

    def _check_geometry(self) -> None:
        if not hasattr(self.X, "iloc") or "geometry" not in self.names:
            return
        if comes_from_package(self.X, "geopandas"):
            return
        values = self.X.iloc[:, self.names.index("geometry")]
        if any(comes_from_package(value, "shapely") for value in values):
            raise CoordinateError(
                "the column 'geometry' holds shapely geometries in a plain frame; use "
                "geopandas.GeoDataFrame(X, crs=...), which states their CRS."
            )


def numbers_of_series(column: Any, what: str, unit: str) -> np.ndarray:
    """Read a pandas column as float64; whatever pandas holds for missing becomes NaN."""
    kind = getattr(column.dtype, "kind", None)
    if hasattr(column.dtype, "na_value") and kind in ("f", "i", "u"):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if hasattr(column.dtype, "na_value") and kind == "b":
        raise CoordinateError(f"{what} must be numbers{unit}, got booleans.")
    if hasattr(column, "isna") and kind == "O":  # pandas' missing value is not a float
        column = column.astype(object).where(~column.isna(), np.nan)
    return to_float64(column.to_numpy(), what, unit)
