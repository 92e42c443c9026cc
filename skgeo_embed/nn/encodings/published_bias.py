"""The rounding error of the harmonics that SatCLIP checkpoints were trained with.

SatCLIP evaluates expanded polynomials whose coefficients were printed with 15 significant digits:
for m = 0 the coefficients of c N_l0 P_l(x), for m > 0 those of the m-th derivative of P_l. The
error of each coefficient is computed exactly here. So the bias is itself a polynomial, which is
added to exact harmonics without the cancellation of the expanded form.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

_PRINTED = Context(prec=15)
_EXACT = Context(prec=80)
_PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899863"
)
NEGLIGIBLE_BIAS = 1e-12


@lru_cache(maxsize=8)
def published_bias(legendre_polys: int) -> dict[int, tuple[list[int], Tensor]]:
    """Return the bias of each degree that has one, as polynomials in x = cos θ.

    Returns
    -------
    bias : dict
        degree -> (orders, coefficients): row i of the (n_orders, legendre_polys) tensor holds
        the coefficients of x⁰, x¹, ... of the bias of N_lm P_l^m / sin^m θ for orders[i]. For
        m = 0 it is the bias of the "analytic" column divided by its factor π.
    """
    with torch.inference_mode(False):  # cached: an inference tensor would break training
        return {
            degree: rows
            for degree in range(legendre_polys)
            if (rows := _degree_bias(degree, legendre_polys)) is not None
        }


def _degree_bias(degree: int, legendre_polys: int) -> tuple[list[int], Tensor] | None:
    orders, rows = [], []
    coefficients = _legendre_coefficients(degree)
    for order in range(degree + 1):
        errors = _coefficient_errors(degree, order, coefficients)
        if sum(abs(error) for error in errors.values()) > NEGLIGIBLE_BIAS:
            row = torch.zeros(legendre_polys, dtype=torch.float64)
            for power, error in errors.items():
                row[power] = error
            orders.append(order)
            rows.append(row)
        coefficients = {k - 1: k * value for k, value in coefficients.items() if k}
    return (orders, torch.stack(rows)) if rows else None


def _legendre_coefficients(degree: int) -> dict[int, Fraction]:
    """Return the exact coefficients of P_l(x) by power."""
    return {
        degree - 2 * k: Fraction(
            (-1) ** k * math.comb(degree, k) * math.comb(2 * degree - 2 * k, degree), 2**degree
        )
        for k in range(degree // 2 + 1)
    }


def _coefficient_errors(
    degree: int, order: int, coefficients: dict[int, Fraction]
) -> dict[int, float]:
    """Return printed minus exact coefficients by power, in units of N_lm P_l^m / sin^m θ."""
    if order == 0:
        # the printed coefficients are π N_l0 c_k; the longitude terms contain the factor π
        norm = _EXACT.divide(_EXACT.sqrt((2 * degree + 1) * _PI), Decimal(2))
        rounded_norm = math.sqrt(2 * degree + 1) * math.sqrt(math.pi) / 2
        unit = _EXACT.divide(Decimal(1), _PI)
    else:
        norm, rounded_norm = Decimal(1), 1.0
        ratio = Fraction(math.factorial(degree - order), math.factorial(degree + order))
        unit = _EXACT.sqrt(_EXACT.divide(_decimal(ratio * (2 * degree + 1)), 4 * _PI))
    errors = {}
    for power, value in coefficients.items():
        exact = _EXACT.multiply(norm, _decimal(value))
        # doubles were printed with 15 digits, and are read as doubles again
        digits = _PRINTED.create_decimal_from_float(rounded_norm * float(value))
        printed = Decimal(float(digits))
        errors[power] = float(_EXACT.multiply(_EXACT.subtract(printed, exact), unit))
    return errors


def _decimal(value: Fraction) -> Decimal:
    return _EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))
