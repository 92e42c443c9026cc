"""Splitters that keep neighbouring rows together, so that scores are not too optimistic."""

from __future__ import annotations

from skgeo_embed.model_selection._nearest import NearestNeighborDistanceKFold
from skgeo_embed.model_selection._regions import LeaveOneRegionOut
from skgeo_embed.model_selection._spatial import SpatialBlockKFold
from skgeo_embed.model_selection._time import SpatioTemporalKFold
from skgeo_embed.model_selection._variogram import autocorrelation_range

__all__ = [
    "LeaveOneRegionOut",
    "NearestNeighborDistanceKFold",
    "SpatialBlockKFold",
    "SpatioTemporalKFold",
    "autocorrelation_range",
]
