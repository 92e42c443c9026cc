"""What a map has of each cell: names, types, missing values, units and classes."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np

from skgeo_embed._errors import UsageError


class Layer(NamedTuple):
    """A variable of a map, of one band or of several.

    Attributes
    ----------
    name : str
        Its name.
    dtype : dtype
        Of its values in memory and in files.
    long_name : str
        What it is.
    units : str
        Of its values; "" if unknown.
    classes : tuple
        Of codes 0, 1, 2 … the classes that they stand for.
    bands : tuple of str
        Names of its bands, if it has several in one variable.
    """

    name: str
    dtype: np.dtype
    long_name: str
    units: str = ""
    classes: tuple[Any, ...] = ()
    bands: tuple[str, ...] = ()

    @property
    def n_bands(self) -> int:
        """Number of bands."""
        return len(self.bands) or 1

    @property
    def band_names(self) -> tuple[str, ...]:
        """Name of each band."""
        return self.bands or (self.name,)

    @property
    def nodata(self) -> float | int:
        """The value of cells without one: NaN, or the largest integer."""
        return np.nan if self.dtype.kind == "f" else int(np.iinfo(self.dtype).max)

    def attributes(self) -> dict[str, Any]:
        """Describe the variable by the CF conventions."""
        found: dict[str, Any] = {"long_name": self.long_name, "grid_mapping": "spatial_ref"}
        if self.units:
            found["units"] = self.units
        if self.classes:
            names = [str(name) for name in self.classes]
            found["flag_values"] = np.arange(len(names)).astype(self.dtype)
            found["flag_meanings"] = " ".join("_".join(name.split()) or "_" for name in names)
            found["class_names"] = json.dumps(names, ensure_ascii=False)
        return found


def class_dtype(n_classes: int, wanted: str | None) -> np.dtype:
    """Return an integer type for codes of classes and a missing value, or say that one is short."""
    least = next(
        np.dtype(kind) for kind in ("uint8", "uint16", "uint32") if n_classes <= np.iinfo(kind).max
    )
    if wanted is None:
        return least
    chosen = np.dtype(wanted)
    largest = np.iinfo(chosen).max if chosen.kind in "iu" else 2 ** (np.finfo(chosen).nmant + 1)
    if n_classes > largest:
        raise UsageError(
            f'dtype="{wanted}" can hold {largest} classes and a missing value, but the '
            f'model has {n_classes}; pass dtype="{least}", or no dtype.'
        )
    return chosen
