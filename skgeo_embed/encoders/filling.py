"""Fills the array that `transform` returns: features of points, and those of areas."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgeo_embed.encoders.group_statistics import GroupStatistics
from skgeo_embed.places.areas import AreaSampling, points_in_areas
from skgeo_embed.places.distinct import distinct_places, spread_rows
from skgeo_embed.places.reading import Coordinates


def encode_points(encoder: Any, places: Coordinates) -> np.ndarray:
    """Encode points: each distinct place once, and its features spread over its rows."""
    import torch

    out = np.empty((len(places.valid), encoder.n_features_out), dtype=encoder.output_dtype)
    out[~places.valid] = np.nan
    rows = np.flatnonzero(places.valid)
    lonlat = places.lonlat if len(rows) == len(out) else places.lonlat[rows]
    repeated = distinct_places(lonlat)
    if repeated is not None:
        first, inverse = repeated
        spread = rows, rows[first][inverse]
        rows, lonlat = rows[first], lonlat[first]
    target = torch.from_numpy(out)
    places_of = None if len(rows) == len(out) else torch.from_numpy(rows)
    for part, values in encoder.encode(lonlat) if len(rows) else ():
        where = part if places_of is None else places_of[part]
        if isinstance(where, slice):
            target[where].copy_(torch.as_tensor(values))
        else:
            values = torch.as_tensor(values).to(target.dtype)
            target.index_copy_(0, torch.as_tensor(where), values)
        del values  # its memory is the next batch's
    if repeated is not None:
        spread_rows(out, *spread)
    return out


def encode_areas(encoder: Any, places: Coordinates, sampling: AreaSampling) -> np.ndarray:
    """Average over points inside areas, which are encoded batch after batch and not kept."""
    out = np.full((len(places.valid), encoder.n_features_out), np.nan, dtype=encoder.output_dtype)
    rows = np.flatnonzero(places.valid)
    areas, times = places.areas[rows], places.lonlat[rows, 2:]  # type: ignore[index]
    for part, lonlat, area in points_in_areas(areas, sampling):
        here = encoder.covers(lonlat)
        points, area = np.column_stack([lonlat, times[part][area]])[here], area[here]
        n_areas, largest = part.stop - part.start, int(np.bincount(area).max(initial=0))
        summary = GroupStatistics(
            n_areas, out.shape[1], sampling.statistic, out.dtype.name, largest
        )
        if len(points):
            summary.add(encoder.encode(points), area)
        out[rows[part]] = summary.result()
    return out
