"""Global layers as content columns, which people can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from skgeo_embed.datasets import land_mask
from skgeo_embed.datasets._blue_marble import read_band
from skgeo_embed.nn.encodings.content_layer import ContentLayer
from skgeo_embed.nn.encodings.content_layers import CODES, LARGEST, ContentLayers
from skgeo_embed.pretraining.content.summaries import read_between, running_sums

MEANS_KM = (40.0, 160.0, 640.0)
DEVIATIONS_KM = MEANS_KM[1:]
HEIGHT = 496  # rows: pixels of 40 km
BRIGHTNESS = "brightness of the picture, 0 to 255"
COLOURS = ("red", "green", "blue")
BYTES = np.arange(CODES, dtype=np.float64)
METRES = np.sign(BYTES - 128) * ((BYTES - 128) / 1.2) ** 2  # as elevation.webp is coded
SEA_BLOCK = 31  # open sea is averaged over blocks of so many pixels, which compress well
COAST_KM = 120.0

# columns of the layers that the package contains; the others are pictures in three colours
EARTH: dict[str, dict[str, Any]] = {
    "lights": {
        "height": 4032,  # pixels of 5 km, as they are
        "means_km": (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0),
        "deviations_km": (10.0, 40.0, 160.0, 320.0),
        "logarithm": True,
        "unit": "log(1 + brightness of the night lights, 0 to 255)",
    },
    "elevation": {
        "height": 992,  # pixels of 20 km, for the relief within 40 km
        "means_km": MEANS_KM,
        "deviations_km": MEANS_KM,
        "unit": "m above the sea, which counts as 0",
    },
}


def earth_content(bands: Sequence[str]) -> ContentLayers:
    """Build content columns of the global layers that the package contains.

    Parameters
    ----------
    bands : sequence of str
        As for :func:`earth_grid`.

    Returns
    -------
    content : ContentLayers
        Columns of each place: for each season means of three colours and greenness within 40, 160
        and 640 km; mean and deviation of elevation within the same distances; mean and deviation
        of night lights within 5 to 320 km.

    Examples
    --------
    >>> import torch
    >>> from skgeo_embed.pretraining.content import earth_content
    >>> content = earth_content(["elevation"])
    >>> content.column_names()[:2]
    ['elevation_mean_40km', 'elevation_mean_160km']
    >>> content(torch.tensor([[86.9, 28.0]])).shape
    torch.Size([1, 6])
    """
    filled: list[tuple[ContentLayer, np.ndarray, np.ndarray | None]] = []
    contrasts = {}
    for name in bands:
        picture = read_band(name)
        if name in EARTH:
            layer = ContentLayer(name=name, **EARTH[name])
            if name == "elevation":
                land = _on_land(len(picture))
                filled.append((layer, np.where(land, picture[:, :, 0], np.uint8(128)), METRES))
            else:
                filled.append((layer, picture[:, :, 0], BYTES))
            continue
        for number, colour in enumerate(COLOURS):
            layer = ContentLayer(f"{name}_{colour}", BRIGHTNESS, HEIGHT, MEANS_KM)
            filled.append((layer, picture[:, :, number], BYTES))
        contrasts[f"{name}_greenness"] = f"{name}_green", f"{name}_red"
    return _fill(filled, contrasts)


def content_layers(layers: Mapping[str, np.ndarray]) -> ContentLayers:
    """Build content columns of your own global layers.

    Parameters
    ----------
    layers : mapping of str to ndarray of shape (height, width, bands)
        As for :func:`content_grid`. If a layer has several bands, their names end in a number
        from 1.

    Returns
    -------
    content : ContentLayers
        Columns of each place: the mean of each band within 40, 160 and 640 km, and its deviation
        within 160 and 640 km. Sea that is 120 km or more from land has one value in blocks of
        1,250 km.

    Examples
    --------
    >>> import numpy as np
    >>> from skgeo_embed.pretraining.content import content_layers
    >>> rain = np.random.default_rng(0).gamma(2.0, size=(90, 180))
    >>> content_layers({"rain": rain}).column_names()[-2:]
    ['rain_std_160km', 'rain_std_640km']
    """
    filled: list[tuple[ContentLayer, np.ndarray, np.ndarray | None]] = []
    for name, picture in checked_pictures(layers).items():
        bands = np.moveaxis(picture, -1, 0)
        for called, band in zip(_names_of_bands(name, picture), bands, strict=True):
            layer = ContentLayer(called, "as given", HEIGHT, MEANS_KM, DEVIATIONS_KM)
            exact = band.dtype == np.uint8 and len(band) == HEIGHT
            filled.append((layer, band, BYTES if exact else None))
    return _fill(filled, {})


def checked_pictures(layers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Check that layers have distinct names and hold numbers everywhere on the whole Earth.

    Raises
    ------
    TypeError, ValueError
        If a layer cannot be used; the message names it.
    """
    if not isinstance(layers, Mapping) or not layers:
        found = "nothing" if isinstance(layers, Mapping) else type(layers).__name__
        raise TypeError(
            f'layers must be a dictionary of names and pictures, {{"rain": picture}}, got {found}.'
        )
    pictures = {name: _checked_picture(name, picture) for name, picture in layers.items()}
    described = [
        ContentLayer(called, "as given", HEIGHT, MEANS_KM).description()
        for name, picture in pictures.items()
        for called in _names_of_bands(name, picture)
    ]
    with torch.device("meta"):
        ContentLayers(described)
    return pictures


def _checked_picture(name: str, given: Any) -> np.ndarray:
    ContentLayer(name, "as given", HEIGHT, MEANS_KM)  # checks the name
    picture = np.asarray(given)
    if picture.dtype.kind not in "buif":
        raise TypeError(f"the layer {name!r} has the type {picture.dtype}, expected numbers.")
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if picture.ndim != 3 or picture.shape[1] != 2 * picture.shape[0] or not picture.size:
        raise ValueError(
            f"the layer {name!r} has shape {picture.shape}, expected (height, width, bands) of the "
            "whole Earth, twice as wide as high, north up, from 180°W; resample it."
        )
    missing = int(np.ma.count_masked(given)) if np.ma.isMaskedArray(given) else 0
    if picture.dtype.kind == "f":
        missing += int((~(np.abs(picture) < LARGEST)).sum())
    if missing:
        raise ValueError(
            f"the layer {name!r} has {missing} of {picture.size} values that are missing, infinite "
            f"or beyond {LARGEST:g}; fill them first, for instance with 0 or the mean over land."
        )
    return picture


def _names_of_bands(name: str, picture: np.ndarray) -> list[str]:
    bands = picture.shape[2]
    return [name] if bands == 1 else [f"{name}_{number}" for number in range(1, bands + 1)]


def _fill(
    filled: Sequence[tuple[ContentLayer, np.ndarray, np.ndarray | None]],
    contrasts: Mapping[str, tuple[str, str]],
) -> ContentLayers:
    """Fill layers with pictures and the values of their bytes; None chooses suitable values."""
    content = ContentLayers([layer.description() for layer, *_ in filled], contrasts)
    seas: dict[int, np.ndarray] = {}
    for layer, picture, meaning in filled:
        if meaning is None or picture.shape[0] != layer.height:
            values = picture.astype(np.float64) if meaning is None else meaning[picture]
            sea = seas.setdefault(layer.height, _open_sea(layer.height))
            values = _coarse_sea(_pooled(values, layer.height), sea)
            meaning = _values_of_codes(values) if meaning is None else meaning
            picture = _nearest_codes(values, meaning)
        content.fill(layer.name, torch.from_numpy(np.array(picture)), torch.from_numpy(meaning))
    return content


def _values_of_codes(values: np.ndarray) -> np.ndarray:
    """Return values for 256 codes: half are evenly spaced, half are quantiles of the pixels.

    Even spacing alone would be coarse for rain or population, whose large values are rare.
    """
    even = np.linspace(values.min(), values.max(), CODES // 2)
    often = np.quantile(values, np.linspace(0, 1, CODES // 2))
    return np.sort(np.concatenate([even, often])).astype(np.float64)


def _pooled(values: np.ndarray, height: int) -> np.ndarray:
    """Average a picture to `height` rows; pixels that a larger one covers in part count in part."""
    for length in (height, 2 * height):
        values = _pool_rows(values, length).T
    return values


def _pool_rows(values: np.ndarray, length: int) -> np.ndarray:
    """Average rows to `length` rows."""
    ends = read_between(running_sums(values), np.linspace(0, len(values), length + 1))
    return np.diff(ends, axis=0) * (length / len(values))


def _open_sea(height: int) -> np.ndarray:
    """Return which pixels are far from any land."""
    near = _on_land(height)
    for _ in range(round(COAST_KM * height / 20_015)):
        near = near | np.roll(near, 1, 1) | np.roll(near, -1, 1)
        near[1:-1] |= near[:-2] | near[2:]
    return ~near


def _on_land(height: int) -> np.ndarray:
    lat = 90 - (np.arange(height) + 0.5) * (180 / height)
    lon = -180 + (np.arange(2 * height) + 0.5) * (180 / height)
    return land_mask(lon, lat)


def _coarse_sea(picture: np.ndarray, sea: np.ndarray) -> np.ndarray:
    """Give open sea one value in blocks of pixels."""
    height, width = picture.shape
    rows, columns = -(-height // SEA_BLOCK), -(-width // SEA_BLOCK)
    block = np.arange(height)[:, None] // SEA_BLOCK * columns + np.arange(width) // SEA_BLOCK
    sums, counts = (
        np.bincount(block[sea], weights, rows * columns) for weights in (picture[sea], None)
    )
    means = sums / np.maximum(counts, 1)
    return np.where(sea, means[block], picture)


def _nearest_codes(values: np.ndarray, meaning: np.ndarray) -> np.ndarray:
    """Return the codes with the nearest values to the given ones; the codes' values rise."""
    between = (meaning[1:] + meaning[:-1]) / 2
    return np.searchsorted(between, values).astype(np.uint8)
