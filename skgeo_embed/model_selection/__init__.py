"""Splitters that keep neighbouring rows together, so that scores are not too optimistic."""

from __future__ import annotations

from skgeo_embed.model_selection._spatial import LeaveOneRegionOut, SpatialBlockKFold

__all__ = ["LeaveOneRegionOut", "SpatialBlockKFold"]
