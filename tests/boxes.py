"""Means of a picture of the Earth over boxes, a pixel at a time: what content columns must be."""

import numpy as np


def read_boxes(picture, points, level):
    """Means over boxes of 2**level rows, as wide on the ground, read between boxes bilinearly.

    At a pole lies the mean of the boxes beside it.
    """
    return np.array([_read(picture, lon, lat, level) for lon, lat in points])


def _read(picture, lon, lat, level):
    height = len(picture) / 2**level
    row = (90 - lat) / 180 * height - 0.5
    if row < 0:
        share = -2 * row
        return share * _pole(picture, 0, level) + (1 - share) * _along(picture, 0, lon, level)
    if row > height - 1:
        last, share = int(height) - 1, 2 * (row - (height - 1))
        return share * _pole(picture, last, level) + (1 - share) * _along(picture, last, lon, level)
    north = min(int(row), int(height) - 2)
    down = row - north
    upper = _along(picture, north, lon, level)
    return upper * (1 - down) + _along(picture, north + 1, lon, level) * down


def _pole(picture, row, level):
    boxes = picture.shape[1] // 2**level
    return np.mean([_box(picture, row, column, level) for column in range(boxes)])


def _along(picture, row, lon, level):
    boxes = picture.shape[1] // 2**level
    column = (lon + 180) / 360 * boxes - 0.5
    west = int(np.floor(column))
    right = column - west
    return _box(picture, row, west, level) * (1 - right) + (
        _box(picture, row, west + 1, level) * right
    )


def _box(picture, row, column, level):
    """Mean of one box; pixels at its eastern and western ends count in part."""
    height, width = picture.shape
    size = 2**level
    lat = 90 - (row + 0.5) * size * 180 / height
    wide = min(size / np.cos(np.deg2rad(lat)), width)
    centre = (column + 0.5) * size
    west, east = centre - wide / 2, centre + wide / 2
    pixels = np.arange(int(np.floor(west)), int(np.ceil(east)))
    share = np.minimum(pixels + 1, east) - np.maximum(pixels, west)
    strip = picture[row * size : (row + 1) * size, pixels % width]
    return float((strip.mean(axis=0) * share).sum() / wide)
