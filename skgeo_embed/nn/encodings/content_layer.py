"""A global layer and the names of its columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HALF_MERIDIAN_KM = 20_015.1
NEAREST = 0.05  # by how much a box's size may differ from the size in its column's name


@dataclass(frozen=True)
class ContentLayer:
    """One layer of the whole Earth and its columns.

    Attributes
    ----------
    name : str
        First part of the names of its columns.
    unit : str
        Unit of its columns.
    height : int
        Rows of pixels; there are twice as many columns of pixels.
    means_km, deviations_km : tuple of float
        Sides of the boxes whose mean, and whose standard deviation, is a column: a pixel's height
        times a power of two.
    logarithm : bool
        Whether columns are log(1 + value).
    """

    name: str
    unit: str
    height: int
    means_km: tuple[float, ...]
    deviations_km: tuple[float, ...] = ()
    logarithm: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "." in self.name:
            raise ValueError(f"a layer's name must be text without dots, got {self.name!r}.")
        if not isinstance(self.unit, str):
            raise ValueError(
                f"the unit of the layer {self.name!r} must be text, got {self.unit!r}."
            )
        if type(self.height) is not int or self.height < 2:
            raise ValueError(
                f"the height of the layer {self.name!r} must be a whole number of rows, at least "
                f"2, got {self.height!r}."
            )
        if type(self.logarithm) is not bool:
            raise ValueError(
                f"logarithm of the layer {self.name!r} must be true or false, got "
                f"{self.logarithm!r}."
            )
        self._check_sides()

    def _check_sides(self) -> None:
        sides = dict.fromkeys((*self.means_km, *self.deviations_km))
        levels = {self.level(km) for km in sides}
        repeated = any(len(set(of)) < len(of) for of in (self.means_km, self.deviations_km))
        if not levels or len(levels) < len(sides) or repeated:
            raise ValueError(
                f"the layer {self.name!r} has means over boxes of {list(self.means_km)} km and "
                f"deviations over {list(self.deviations_km)} km; give at least one size, and each "
                "size only once."
            )

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> ContentLayer:
        """Make a layer from its description in a configuration."""
        return cls(
            **{**described, "means_km": tuple(described["means_km"]),
               "deviations_km": tuple(described.get("deviations_km", ()))}
        )  # fmt: skip

    def level(self, km: float) -> int:
        """Return how often the rows of pixels are halved to get boxes of `km`."""
        if type(km) not in (int, float) or not 0 < km < 2 * HALF_MERIDIAN_KM:
            raise ValueError(
                f"the layer {self.name!r} has boxes of {km!r} km, expected a number between 0 and "
                f"{2 * HALF_MERIDIAN_KM:.0f}."
            )
        pixel = HALF_MERIDIAN_KM / self.height
        level = max(0, round(math.log2(km / pixel)))
        uneven = self.height % 2**level or self.height < 2 * 2**level
        if abs(pixel * 2**level / km - 1) > NEAREST or uneven:
            raise ValueError(
                f"the layer {self.name!r} has pixels of {pixel:.3g} km, which cannot be joined to "
                f"boxes of {km:g} km; choose {pixel:.3g} km times a power of two that divides half "
                f"of its height {self.height}."
            )
        return level

    def averages(self) -> list[tuple[str, tuple[float, ...]]]:
        """Return sides of the boxes over which values are averaged, and their squares."""
        values = tuple(dict.fromkeys((*self.means_km, *self.deviations_km)))
        return [("mean", values), ("square", self.deviations_km)]

    def columns(self) -> Iterator[tuple[str, str, float]]:
        """Yield name, statistic and side of the box of each column."""
        for statistic, sides in (("mean", self.means_km), ("std", self.deviations_km)):
            for km in sides:
                yield f"{self.name}_{statistic}_{km:g}km", statistic, km

    def description(self) -> dict[str, Any]:
        """Return the description for a configuration."""
        return {
            "name": self.name,
            "unit": self.unit,
            "height": self.height,
            "means_km": list(self.means_km),
            "deviations_km": list(self.deviations_km),
            "logarithm": self.logarithm,
        }
