"""Splits that keep neighbours together, so that scores do not flatter."""

from __future__ import annotations

from skgeo_embed.model_selection._spatial import LeaveOneRegionOut, SpatialBlockKFold

__all__ = ["LeaveOneRegionOut", "SpatialBlockKFold"]
