"""Closed-form positional encodings as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions

from skgeo_embed.encoders.base import READING_CONSTRAINTS, CoordinateTransformer
from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.nn.encodings import KINDS

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

# parameters that say which encoding it is
SETTINGS = (
    "kind",
    "legendre_polys",
    "harmonics_calculation",
    "n_frequencies",
    "min_radius",
    "max_radius",
)


@share_docs
class PositionalEncoder(CoordinateTransformer):
    """Encode longitude and latitude in closed form, without weights.

    These are the encodings that location encoders put in front of their networks, with the
    quirks that checkpoints depend on.

    Parameters
    ----------
    kind : str, default="sphericalharmonics"
        "sphericalharmonics" (L² columns); "direct" (radians minus π, 2); "cartesian3d" (the
        unit sphere, 3); "wrap" (sine and cosine of both, 4); and at F frequencies Space2Vec's
        "grid" (4 F) and "theory" (6 F) and Sphere2Vec's "spherec" (6 F), "spherecplus" (12 F),
        "spherem" (10 F), "spheremplus" (16 F). The multi-scale ones scale degrees. As in the
        authors' code some columns come twice (named ..._2), and in "spherem" and "spheremplus"
        capitals (cos_LON) mark coordinates that are not scaled: degrees taken for radians.
        TorchSpatial's forms [4]_ take radians and repeat nothing: "space2vec-theory" (6 F),
        "sphere2vec-spherec" (3 F), "sphere2vec-spherec+" (6 F), "sphere2vec-spherem" (5 F),
        "sphere2vec-spherem+" (8 F), "sphere2vec-dfs" (4 F² + 4 F), "nerf" (6 F), "wrap_ffn" (4)
        and "rff" (F random waves, always the same ones).
    legendre_polys : int, default=10
        L of the harmonics: degrees 0 ... L-1.
    harmonics_calculation : {"analytic", "closed-form", "discretized"}, default="analytic"
        "analytic" is what SatCLIP checkpoints use (m = 0 carries an extra factor π),
        "closed-form" is orthonormal with the Condon-Shortley sign, "discretized" reads the
        analytic ones off a 1° grid.
    n_frequencies : int, default=16
        F of the multi-scale encodings, of "nerf" and of "rff".
    min_radius, max_radius : float, default=1, 360
        Smallest and largest radius of the multi-scale encodings, degrees. For "sphere2vec-..."
        they are shares of 360°; published encoders have 0.0001 to 1.
    dtype : {"float32", "float64"}, default="float64"
        Type of the output; computed in float64.
    batch_size : int, default=8192
        Points encoded at a time; bounds the memory needed beside the output.
    {places}

    Attributes
    ----------
    n_features_in_ : int
        Number of input columns, always 2.

    See Also
    --------
    SatCLIPEncoder : A trained network on top of spherical harmonics.

    References
    ----------
    .. [1] M. Rußwurm, K. Klemmer, E. Rolf, R. Zbinden, D. Tuia (2024). "Geographic Location
       Encoding with Spherical Harmonics and Sinusoidal Representation Networks". ICLR.
       arXiv 2310.06743.
    .. [2] G. Mai et al. (2020). "Multi-Scale Representation Learning for Spatial Feature
       Distributions using Grid Cells". ICLR. arXiv 2003.00824.
    .. [3] G. Mai et al. (2023). "Sphere2Vec: A general-purpose location representation learning
       over a spherical surface for large-scale geospatial predictions". ISPRS Journal of
       Photogrammetry and Remote Sensing 202. arXiv 2306.17624.
    .. [4] N. Wu et al. (2024). "TorchSpatial: A Location Encoding Framework and Benchmark for
       Spatial Representation Learning". NeurIPS. arXiv 2406.15658.

    Examples
    --------
    >>> from skgeo_embed import PositionalEncoder
    >>> encoder = PositionalEncoder(legendre_polys=3)
    >>> encoder.fit_transform([[7.83, 36.83]]).shape
    (1, 9)
    >>> encoder.get_feature_names_out()[:4].tolist()
    ['sh_l0_m0', 'sh_l1_m-1', 'sh_l1_m0', 'sh_l1_m1']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "kind": [StrOptions(set(KINDS))],
        "legendre_polys": [Interval(Integral, 1, 1000, closed="both")],
        "harmonics_calculation": [StrOptions({"analytic", "closed-form", "discretized"})],
        "n_frequencies": [Interval(Integral, 1, None, closed="left")],
        "min_radius": [Interval(Real, 0, None, closed="neither")],
        "max_radius": [Interval(Real, 0, None, closed="neither")],
        "dtype": [StrOptions({"float32", "float64"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        **READING_CONSTRAINTS,
    }

    def __init__(
        self,
        kind: str = "sphericalharmonics",
        *,
        legendre_polys: int = 10,
        harmonics_calculation: Literal["analytic", "closed-form", "discretized"] = "analytic",
        n_frequencies: int = 16,
        min_radius: float = 1.0,
        max_radius: float = 360.0,
        dtype: Literal["float32", "float64"] = "float64",
        batch_size: int = 8192,
        on_invalid: Literal["raise", "nan"] = "raise",
        lon: str | int | None = None,
        lat: str | int | None = None,
        area_points: int | str = 64,
        area_statistic: Literal["mean", "std"] = "mean",
    ) -> None:
        self.kind = kind
        self.legendre_polys = legendre_polys
        self.harmonics_calculation = harmonics_calculation
        self.n_frequencies = n_frequencies
        self.min_radius = min_radius
        self.max_radius = max_radius
        self.dtype = dtype
        self.batch_size = batch_size
        self.on_invalid = on_invalid
        self.lon = lon
        self.lat = lat
        self.area_points = area_points
        self.area_statistic = area_statistic

    def prepare(self) -> None:
        self._settings = {name: getattr(self, name) for name in SETTINGS}
        self._build()
        self._dtype, self._batch_size = self.dtype, self.batch_size

    def _build(self) -> None:
        from skgeo_embed.nn.encodings.building import make_encoding

        self._encoding = make_encoding(**self._settings)

    def __getstate__(self) -> dict[str, Any]:  # skops writes no modules of torch
        return {k: v for k, v in super().__getstate__().items() if k != "_encoding"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_settings" in state:
            self._build()

    def encode(self, lonlat: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
        import torch

        dtype = getattr(torch, self._dtype)
        for start in range(0, len(lonlat), self._batch_size):
            part = slice(start, start + self._batch_size)
            with torch.inference_mode():
                values = self._encoding(torch.from_numpy(lonlat[part])).to(dtype)
            yield part, values

    def place_function(self) -> tuple[Callable[[Tensor], Tensor], Module]:
        import torch

        from skgeo_embed.nn.encodings.detailed import encode_positions

        dtype = getattr(torch, self._dtype)
        return partial(encode_positions, self._encoding, dtype=dtype), self._encoding

    def feature_names(self) -> list[str]:
        return self._encoding.column_names()  # type: ignore[operator]

    @property
    def output_dtype(self) -> np.dtype:
        return np.dtype(self._dtype)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags
