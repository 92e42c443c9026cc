"""Plots of encoders, their predictions, their errors and their training."""

from __future__ import annotations

from skgeo_embed.inspection._coverage import CoverageDisplay, coverage_by
from skgeo_embed.inspection._embedding_map import EmbeddingMapDisplay
from skgeo_embed.inspection._geolocation import GeolocationDisplay
from skgeo_embed.inspection._group_importance import GroupImportanceDisplay, group_importance
from skgeo_embed.inspection._similarity_map import SimilarityMapDisplay
from skgeo_embed.inspection._spatial_error import SpatialErrorDisplay
from skgeo_embed.inspection._training_curve import TrainingCurveDisplay

__all__ = [
    "CoverageDisplay",
    "EmbeddingMapDisplay",
    "GeolocationDisplay",
    "GroupImportanceDisplay",
    "SimilarityMapDisplay",
    "SpatialErrorDisplay",
    "TrainingCurveDisplay",
    "coverage_by",
    "group_importance",
]
