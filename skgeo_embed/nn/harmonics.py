"""Real spherical harmonics by a normalised three-term recurrence."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from skgeo_embed.nn.encodings.published_bias import published_bias

CALCULATIONS = ("analytic", "closed-form")
FORMS = ("exact", "published")
# below these sizes calls cost more than multiplications, on a CPU and on a card
FEW_POINTS = 256
FEW_PRODUCTS = 2**25
FEW_VALUES = 2**25


class SphericalHarmonics(nn.Module):
    r"""Real spherical harmonics of longitude and latitude, as SatCLIP uses them.

    With :math:`\varphi = lon + 180°`, :math:`\theta = lat + 90°` and
    :math:`N_{lm} = \sqrt{\frac{2l+1}{4\pi}\frac{(l-|m|)!}{(l+|m|)!}}`, column
    :math:`l^2 + l + m` is

    .. math::
        \sqrt 2\, N_{lm} P_l^{|m|}(\cos\theta) \sin(|m|\varphi) \;(m<0), \qquad
        c\, N_{l0} P_l(\cos\theta) \;(m=0), \qquad
        \sqrt 2\, N_{lm} P_l^m(\cos\theta) \cos(m\varphi) \;(m>0).

    "analytic" has no Condon-Shortley sign and :math:`c=\pi`, an error in SatCLIP's generator
    that all SatCLIP checkpoints were trained with; "closed-form" has :math:`c=1` and the sign
    :math:`(-1)^m`. The two are different features.

    Parameters
    ----------
    legendre_polys : int
        L, the number of degrees l = 0 ... L-1; the output has L² columns.
    calculation : {"analytic", "closed-form"}, default="analytic"
        The normalisation.
    harmonics : {"exact", "published"}, default="exact"
        "published" adds the bias of SatCLIP's analytic expressions, whose coefficients were
        printed with 15 digits: up to 0.6 at L = 40 near the poles, 0.01 below 60° (see
        :mod:`skgeo_embed.nn.encodings.published_bias`). The L = 40 checkpoints were trained with
        it.

    Notes
    -----
    The recurrence in degree of fully normalised Legendre functions is that of Holmes &
    Featherstone (2002), "A unified approach to the Clenshaw summation and the recursive
    computation of very high degree and order normalised associated Legendre functions",
    Journal of Geodesy 76, eq. 11. In float64 it is right to 1e-12 at L = 100, poles included.

    Examples
    --------
    >>> import torch
    >>> from skgeo_embed.nn.harmonics import SphericalHarmonics
    >>> SphericalHarmonics(10)(torch.tensor([[7.8, 36.8]], dtype=torch.float64)).shape
    torch.Size([1, 100])
    """

    takes_dtype = True

    def __init__(
        self, legendre_polys: int, calculation: str = "analytic", harmonics: str = "exact"
    ) -> None:
        super().__init__()
        if legendre_polys < 1:
            raise ValueError(f"legendre_polys must be at least 1, got {legendre_polys}")
        if calculation not in CALCULATIONS:
            raise ValueError(f"calculation must be one of {CALCULATIONS}, got {calculation!r}")
        if harmonics not in FORMS:
            raise ValueError(f"harmonics must be one of {FORMS}, got {harmonics!r}")
        if harmonics == "published" and calculation != "analytic":
            raise ValueError(
                f"harmonics='published' needs calculation='analytic', got {calculation!r}"
            )
        self.legendre_polys = legendre_polys
        self.harmonics = harmonics
        self.calculation = calculation

    @property
    def embedding_dim(self) -> int:
        """Number of columns, L²."""
        return self.legendre_polys**2

    def forward(
        self, lonlat: Tensor, dtype: torch.dtype | None = None, out: Tensor | None = None
    ) -> Tensor:
        """Encode (n, 2) degrees to (n, L²); computed in float64, returned as `dtype`.

        The result is a transposed view of the (L², n) memory in which it is computed, and which
        matrix products read without a copy. That memory may be given as `out`.
        """
        if out is None and torch.compiler.is_compiling():  # a graph cannot branch on the number
            return self.at_once(lonlat, dtype or lonlat.dtype)
        lon, lat = lonlat.double().unbind(-1)
        if out is None:
            out = torch.empty(
                (self.embedding_dim, len(lon)), dtype=dtype or lonlat.dtype, device=lonlat.device
            )
        if self._pays_at_once(lon):
            return out.copy_(self.at_once(lonlat, out.dtype).T).T
        cos_m, sin_m = (terms.to(out.dtype) for terms in self.longitude_terms(lon))
        sin_m = sin_m[1:].flip(0)  # orders L-1 ... 1, as the columns run
        for degree, legendre in enumerate(self.legendre_rows(lat)):  # legendre: (l + 1, n)
            centre = degree * degree + degree
            legendre = legendre.to(out.dtype)
            out[centre : centre + degree + 1].copy_(legendre).mul_(cos_m[: degree + 1])
            if degree:
                negative = out[degree * degree : centre]
                negative.copy_(legendre[1:].flip(0)).mul_(sin_m[-degree:])
        return out.T

    def at_once(self, lonlat: Tensor, dtype: torch.dtype) -> Tensor:
        """Encode (n, 2) degrees to (n, L²) by one product for all columns."""
        lon, lat = lonlat.double().unbind(-1)
        cos_m, sin_m = (terms.to(dtype) for terms in self.longitude_terms(lon))
        series, wave = _fourier_series(self.legendre_polys, self.harmonics, lat.device)
        legendre = (series @ self._latitude_terms(lat)).to(dtype)
        # at the poles they are 1e-16, not 0, and would make the pole depend on longitude
        inside = (lat.abs() != 90.0).to(dtype)
        waves = torch.cat([cos_m[:1], cos_m[1:] * inside, sin_m * inside])
        return (legendre * waves.index_select(0, wave)).T

    def _pays_at_once(self, lon: Tensor) -> bool:
        """Return whether one product for all columns is faster than a call for each degree."""
        n_values = len(lon) * self.embedding_dim
        on_card = lon.device.type == "cuda" and n_values <= FEW_VALUES
        products = n_values * 2 * self.legendre_polys
        few = len(lon) <= FEW_POINTS and products <= FEW_PRODUCTS
        return self.harmonics == "exact" and (on_card or few)

    def _latitude_terms(self, lat: Tensor) -> Tensor:
        """Return cos(k θ), then sin(k θ), for k = 0 ... L-1, (2 L, n)."""
        angles = _wave_numbers(self.legendre_polys, lat.device) * torch.deg2rad(lat + 90.0)
        return torch.cat([torch.cos(angles), torch.sin(angles)])

    def longitude_terms(self, lon: Tensor, n_orders: int | None = None) -> tuple[Tensor, Tensor]:
        """Return cos(m φ) and sin(m φ) for m = 0 ... L-1 with their norm, each (L, n)."""
        count = self.legendre_polys if n_orders is None else n_orders
        angles = _wave_numbers(count, lon.device) * torch.deg2rad(lon + 180.0)
        norm = _wave_norms(count, self.calculation, lon.device)
        return torch.cos(angles) * norm, torch.sin(angles) * norm

    def legendre_rows(self, lat: Tensor) -> Iterator[Tensor]:
        """Yield, for l = 0 ... L-1, N_lm P_l^m of orders m = 0 ... l, shape (l+1, n)."""
        radians = torch.deg2rad(lat)
        cos_theta = -torch.sin(radians)
        # cos(±90°) is 6e-17 in floating point, which would make the pole depend on longitude
        sin_theta = torch.where(lat.abs() == 90.0, 0.0, torch.cos(radians))
        sectoral = sin_theta * _sectoral_steps(self.legendre_polys, lat.device)
        sectoral[0] = math.sqrt(0.25 / math.pi)
        sectoral = sectoral.cumprod(0)  # N_ll P_l^l, (L, n)
        bias = published_bias(self.legendre_polys) if self.harmonics == "published" else {}
        powers = _powers(cos_theta, self.legendre_polys if bias else 0)
        sine_powers = _powers(sin_theta, self.legendre_polys if bias else 0)
        before, last = lat.new_empty((0, len(lat))), sectoral[:1]
        for degree in range(self.legendre_polys):
            current = last
            if degree:
                rise, fall = _recurrence(degree, lat.device)
                lower = (last * rise).mul_(cos_theta)  # orders 0 ... l-1
                lower[: degree - 1].addcmul_(before, fall[: degree - 1], value=-1)
                current = torch.cat([lower, sectoral[degree : degree + 1]])
                before, last = last, current
            if degree in bias:
                orders, coefficients = bias[degree]
                current = current.clone()
                current[orders] += (coefficients.to(lat.device) @ powers) * sine_powers[orders]
            yield current

    def column_names(self) -> list[str]:
        """Return the names of the columns: sh_l0_m0, sh_l1_m-1, ..."""
        degrees = range(self.legendre_polys)
        return [f"sh_l{l}_m{m}" for l in degrees for m in range(-l, l + 1)]  # noqa: E741

    def extra_repr(self) -> str:
        """Show the two arguments."""
        return (
            f"legendre_polys={self.legendre_polys}, calculation={self.calculation!r}, "
            f"harmonics={self.harmonics!r}"
        )


def column_degrees(legendre_polys: int) -> Tensor:
    """Return the degree l of each of the L² columns."""
    degrees = torch.arange(legendre_polys)
    return degrees.repeat_interleave(2 * degrees + 1)


def _powers(base: Tensor, count: int) -> Tensor:
    """Return base⁰ ... base^(count-1), shape (count, n)."""
    exponents = torch.arange(count, dtype=torch.float64, device=base.device)
    return base ** exponents[:, None]


@functools.lru_cache(maxsize=16)
def _wave_numbers(count: int, device: torch.device) -> Tensor:
    """Return 0 ... L-1, (L, 1)."""
    with torch.inference_mode(False):  # a cached inference tensor would break training
        return torch.arange(count, dtype=torch.float64, device=device)[:, None]


@functools.lru_cache(maxsize=16)
def _wave_norms(count: int, calculation: str, device: torch.device) -> Tensor:
    """Return the norms of cos(m φ) and sin(m φ) for m = 0 ... L-1, (L, 1)."""
    with torch.inference_mode(False):
        orders = torch.arange(count, dtype=torch.float64, device=device)[:, None]
        if calculation == "analytic":
            norm = torch.full_like(orders, math.sqrt(2.0))
            norm[0] = math.pi
        else:
            norm = math.sqrt(2.0) * (1 - 2 * (orders % 2))
            norm[0] = 1.0
        return norm


@functools.lru_cache(maxsize=16)
def _fourier_series(count: int, form: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return Fourier coefficients of N_lm P_l^m, and the index of each column's cos or sin m φ.

    The coefficients (L², 2 L) are those of cos k θ, then of sin k θ.

    Over a whole meridian N_lm P_l^m is even in θ for even m and odd for odd m, a sum of L cosines
    or sines, whose coefficients follow from L evenly spaced values.
    """
    with torch.inference_mode(False):
        angles = (torch.arange(count, dtype=torch.float64) + 0.5) * (math.pi / count)
        k = torch.arange(count, dtype=torch.float64)[:, None]
        harmonics = SphericalHarmonics(count, harmonics=form)
        legendre = torch.cat(list(harmonics.legendre_rows(torch.rad2deg(angles) - 90.0)))
        cosines = torch.cos(k * angles) * (2.0 / count)
        cosines[0] /= 2
        sines = torch.sin(k * angles) * (2.0 / count)
        degrees = column_degrees(count)
        orders = torch.arange(count**2) - degrees * (degrees + 1)
        values = legendre[degrees * (degrees + 1) // 2 + orders.abs()]  # (L², L)
        odd = (orders % 2 == 1)[:, None]
        series = torch.cat([values @ cosines.T * ~odd, values @ sines.T * odd], dim=1)
        series[0, 1:] = 0.0  # trees would split a constant column that differs in the last bit
        wave = orders.abs() + count * (orders < 0)
        return series.to(device), wave.to(device)


@functools.lru_cache(maxsize=16)
def _sectoral_steps(count: int, device: torch.device) -> Tensor:
    """Return N_ll P_l^l / (sin θ N_{l-1,l-1} P_{l-1}^{l-1}), (L, 1); the first is not used."""
    with torch.inference_mode(False):
        degrees = torch.arange(count, dtype=torch.float64, device=device)[:, None]
        return torch.sqrt((2 * degrees + 1) / (2 * degrees).clamp_(min=1))


@functools.lru_cache(maxsize=1024)
def _recurrence(degree: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the factors of P_{l-1} cos θ and of P_{l-2} for m = 0 ... l-1, each (l, 1)."""
    with torch.inference_mode(False):
        order = torch.arange(degree, dtype=torch.float64, device=device)[:, None]
        width = degree**2 - order**2
        rise = torch.sqrt((4 * degree**2 - 1) / width)
        below = ((degree - 1) ** 2 - order**2) / (4 * (degree - 1) ** 2 - 1)
        return rise, rise * torch.sqrt(below.clamp_min(0.0))
