"""Embedding rasters, sampled at places."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from numbers import Integral
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skgeo_embed._errors import CoordinateError, InvalidCoordinateWarning, warn_caller
from skgeo_embed.encoders.base import READING_CONSTRAINTS, CoordinateTransformer
from skgeo_embed.encoders.network import numbered_names
from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.encoders.timed import TIME_CONSTRAINT, TimedTransformer
from skgeo_embed.places.reading import Coordinates
from skgeo_embed.rasters.products import Product, find_product

if TYPE_CHECKING:
    from torch import Tensor

    from skgeo_embed.rasters.patches import Patches
    from skgeo_embed.rasters.tiles import Tile

ROWS_NAMED = 5


@share_docs
class RasterEncoder(TimedTransformer, CoordinateTransformer):
    """Sample embedding rasters at places, one column for each band.

    Use it for embeddings that are published as images, such as AlphaEarth's yearly 64 bands and
    Tessera's 128 at 10 m. Each tile may have its own coordinate reference system. A block of a tile
    is read once in a call, however many places lie in it.

    Parameters
    ----------
    source : path-like, list of path-like, or dict
        A GeoTIFF, a VRT or a Zarr store (one variable with y and x, or lat and lon, and optionally
        years; or a group with such a variable for each UTM zone); a folder of GeoTIFFs; a STAC
        item or item collection (.json); a table of footprints (.gpkg, .parquet) with a column of
        paths and, if there are several years, one of years; GeoParquet with a column of vectors
        (such as Earth Index and Clay), which is read whole; a file that `encode_table` wrote; or a
        list of these. A dict gives the source of each year. Where tiles overlap, the first with a
        value is used. A place without a value in one of the bands is missing in all. Bands are
        matched by name, in the order of the first tile. Errors are raised for bands with other
        names or units, files that name different models (such as two versions of Tessera), blocks
        of more than 512 MiB, and files that have changed since `fit`.
    method : {"nearest", "bilinear", "containing"}, default="nearest"
        For rasters, "nearest" and "containing" take the pixel that contains the place, and
        "bilinear" the mean of the four pixels of the tile around it, weighted by distance and
        without missing ones. For tables of patches, "nearest" takes the patch with the nearest
        centre, if it is not further away than neighbouring centres are from each other, and
        "containing" the patch that contains the place.
    quantization : {"alphaearth", "tessera"}, name or Product, default=None
        How to decode stored numbers, if the file does not say it. "alphaearth" decodes int8 v to
        (v / 127.5)² with the sign of v, and -128 is missing [1]_. "tessera" multiplies int8 values
        by the scale of their pixel. Scales are in a second raster whose name ends with _scales, or
        in the variable scales of the same Zarr store; arrays (.npy) need a GeoTIFF of the same name
        that gives their position [2]_. None decodes as the file says: by the ``geoemb:`` convention
        of Zarr stores, the embedding extension of STAC items, or scale, offset and missing value.
        For another product pass a :class:`~skgeo_embed.rasters.Product`, or the name that
        :func:`~skgeo_embed.rasters.register_product` gave it.
    year : int or str, default=None
        Year of the tiles to use: a number, or the column of X that holds it (the third column of
        an array).
    remote : bool, default=False
        Whether addresses in `source`, or in a VRT or table that it names, may be read. A file at
        an address may be a GeoTIFF, optionally with a mask (.msk), or a VRT at an http or https
        address with all its sources on the same server. A server that does not answer within 30
        seconds is an error.
    cache_bytes : int, default=2147483648
        Size of the cache on disk for remote GeoTIFFs, in the user's cache folder (environment
        variable SKGEO_EMBED_CACHE). It keeps the blocks that were used last, of files whose server
        sends an ETag or a modification time (http and https). 0 keeps nothing.
    on_invalid : {"raise", "nan"}, default="raise"
        What to do with NaN, infinite or out-of-range coordinates, and with places where no raster
        has a value: raise an error that names them, or give NaN features for them.
    {columns}
    {areas}

    Attributes
    ----------
    n_tiles_ : int
        How many rasters or patches there are.
    model_ : str or None
        The model that made the embeddings, if the files say so.
    encoder_info_ : dict
        What was found: source ("rasters" or "patches"), name (of the model, if the files say so),
        and a digest of the files' names, sizes and times.
    {n_features_in_}

    References
    ----------
    .. [1] C. F. Brown et al. (2025). "AlphaEarth Foundations: An embedding field model for accurate
       and efficient global mapping from sparse label data". arXiv 2507.22291.
    .. [2] Z. Feng et al. (2025). "TESSERA: Temporal Embeddings of Surface Spectra for Earth
       Representation and Analysis". arXiv 2506.20380.

    Examples
    --------
    >>> from skgeo_embed import RasterEncoder
    >>> encoder = RasterEncoder("alphaearth/2024", quantization="alphaearth")
    >>> encoder.fit_transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 64)
    """

    _time_parameter = "year"
    _time_range = (1900.0, 2200.0)
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "source": "no_validation",
        "method": [StrOptions({"nearest", "bilinear", "containing"})],
        "quantization": [str, Product, None],
        "year": TIME_CONSTRAINT,
        "remote": ["boolean"],
        "cache_bytes": [Interval(Integral, 0, None, closed="left")],
        **READING_CONSTRAINTS,
    }

    def __init__(
        self,
        source: str | PathLike[str] | list[Any] | dict[int, Any],
        *,
        method: Literal["nearest", "bilinear", "containing"] = "nearest",
        quantization: str | Product | None = None,
        year: int | str | None = None,
        remote: bool = False,
        cache_bytes: int = 2 * 2**30,
        on_invalid: Literal["raise", "nan"] = "raise",
        lon: str | int | None = None,
        lat: str | int | None = None,
        area_points: int | str = 64,
        area_statistic: Literal["mean", "std"] = "mean",
    ) -> None:
        self.source = source
        self.method = method
        self.quantization = quantization
        self.year = year
        self.remote = remote
        self.cache_bytes = cache_bytes
        self.on_invalid = on_invalid
        self.lon = lon
        self.lat = lat
        self.area_points = area_points
        self.area_statistic = area_statistic

    def prepare(self) -> None:
        from skgeo_embed.rasters.catalogue import open_catalogue

        product = find_product(self.quantization)
        found = open_catalogue(self.source, remote=self.remote, product=product)
        self._patches: Patches | None = None if isinstance(found, list) else found
        tiles = found if isinstance(found, list) else []
        if self._patches is not None:
            if self.method == "bilinear":
                raise ValueError(
                    'method="bilinear" is for rasters, and this is a table of patches.'
                )
            dated = self._patches.years
            known = [] if dated is None else dated[~np.isnan(dated)]
            years = sorted({int(year) for year in known})
        else:
            years = sorted({tile.year for tile in tiles if tile.year is not None})
        if len(years) > 1 and self._time is None:
            raise ValueError(
                f"the rasters are of the years {', '.join(map(str, years))}; pass one of them as "
                "year=, or the name of the column of X that holds the year."
            )
        if isinstance(self._time, float) and years and self._time not in years:
            raise ValueError(
                f"year={self.year!r}, but the rasters are of {', '.join(map(str, years))}."
            )
        self._tiles: list[Tile] = tiles
        self._method = self.method
        self._cache_bytes = self.cache_bytes
        self._keeps_blocks = self.cache_bytes > 0 and any(tile.keeps_blocks for tile in tiles)
        self.n_tiles_ = len(tiles) if self._patches is None else len(self._patches.vectors)
        models = [tile.model for tile in tiles] if self._patches is None else [self._patches.model]
        self.model_ = next((model for model in models if model is not None), None)
        files = [tile.files for tile in tiles] if self._patches is None else self._patches.files
        self.encoder_info_ = {
            "source": "rasters" if self._patches is None else "patches",
            "files": hashlib.sha256(repr(files).encode()).hexdigest(),
            **({} if self.model_ is None else {"name": self.model_}),
        }

    def encode(self, lonlat: np.ndarray) -> Iterator[tuple[slice | Tensor, Tensor]]:
        import torch

        from skgeo_embed.rasters.cache import open_cache
        from skgeo_embed.rasters.sampling import sample

        years = lonlat[:, 2] if lonlat.shape[1] == 3 else None
        if isinstance(self._time, float):
            years = np.full(len(lonlat), self._time)
        if self._patches is not None:
            found = self._patches.sample(lonlat[:, :2], years, self._method)
        else:
            found = sample(
                self._tiles,
                lonlat[:, :2],
                years,
                method="bilinear" if self._method == "bilinear" else "nearest",
                cache=open_cache(self._cache_bytes) if self._keeps_blocks else None,
            )
        for places, values in found:
            yield torch.from_numpy(places), torch.from_numpy(values)

    def encode_places(self, places: Coordinates) -> np.ndarray:
        values = super().encode_places(places)
        missing = np.flatnonzero(places.valid & np.isnan(values).any(axis=1))
        if len(missing):
            lon, lat = places.lonlat[missing[0], :2]
            rows = ", ".join(f"row {row}" for row in missing[:ROWS_NAMED])
            message = (
                f"no raster has a value at {len(missing)} of {len(values)} places ({rows}; the "
                f"first is lon={lon:g}, lat={lat:g})."
            )
            if self.reader_.on_invalid == "raise":
                raise CoordinateError(
                    f'{message} Leave them out, or pass on_invalid="nan" for NaN features.'
                )
            warn_caller(f"{message} Their features are NaN.", InvalidCoordinateWarning)
        return values

    @property
    def n_features_out(self) -> int:
        if self._patches is not None:
            return self._patches.vectors.shape[1]
        return self._tiles[0].shape[0]

    def feature_names(self) -> list[str]:
        stated = self._tiles[0].names if self._patches is None else self._patches.names
        names = [name for name in stated or () if name is not None]
        if len(set(names)) == self.n_features_out:
            return names
        return numbered_names("raster", self.n_features_out)

    @property
    def output_dtype(self) -> np.dtype:
        return np.dtype(np.float32)
