"""A raster of one band, read at the cells of a map."""

from __future__ import annotations

import warnings
from os import PathLike, fspath
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError, InvalidCoordinateWarning, UsageError
from skgeo_embed.encoders.raster import RasterEncoder
from skgeo_embed.streaming.fitted import model_of, settings_of

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".zarr")


class OneRaster:
    """A raster of one band.

    Parameters
    ----------
    source : path-like or RasterEncoder
        Where it is; an encoder also says how it is read.
    what : str
        What it is to a map, for messages.

    Raises
    ------
    UsageError
        If it has several bands.
    """

    def __init__(self, source: str | PathLike[str] | RasterEncoder, what: str) -> None:
        if isinstance(source, RasterEncoder):
            parameters = {**source.get_params(deep=False), "on_invalid": "nan"}
            self._encoder = RasterEncoder(**parameters)
        else:
            self._encoder = RasterEncoder(fspath(source), on_invalid="nan")
        try:
            self._encoder.fit()
        except (ImageError, FileNotFoundError) as error:
            raise type(error)(f"{what}: {error}") from error
        n_bands = self._encoder.n_features_out
        if n_bands != 1:
            raise UsageError(
                f"{what} must be a raster of one band, and {self._encoder.source} has {n_bands}."
            )

    @property
    def identity(self) -> Any:
        """What tells the raster, as it is now, from others."""
        return model_of(self._encoder), settings_of(self._encoder)

    def values(self, lonlat: np.ndarray) -> np.ndarray:
        """Return its values at places, (n,), NaN where it has none."""
        if not len(lonlat):
            return np.empty(0)
        with warnings.catch_warnings():  # the map counts them
            warnings.simplefilter("ignore", InvalidCoordinateWarning)
            return self._encoder.transform(lonlat)[:, 0].astype(np.float64)
