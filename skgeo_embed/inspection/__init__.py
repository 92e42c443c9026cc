"""Plots and pages of encoders, their predictions, their errors and their training."""

from __future__ import annotations

from skgeo_embed.inspection._coverage import CoverageDisplay, coverage_by
from skgeo_embed.inspection._embedding_map import EmbeddingMapDisplay
from skgeo_embed.inspection._encoder_page import write_encoder_page
from skgeo_embed.inspection._fold_distances import FoldDistancesDisplay
from skgeo_embed.inspection._geolocation import GeolocationDisplay
from skgeo_embed.inspection._group_importance import GroupImportanceDisplay, group_importance
from skgeo_embed.inspection._map_page import write_map_page
from skgeo_embed.inspection._probability_map import ProbabilityMapDisplay
from skgeo_embed.inspection._similarity_map import SimilarityMapDisplay
from skgeo_embed.inspection._spatial_confusion import SpatialConfusionDisplay
from skgeo_embed.inspection._spatial_error import SpatialErrorDisplay
from skgeo_embed.inspection._training_curve import TrainingCurveDisplay

__all__ = [
    "CoverageDisplay",
    "EmbeddingMapDisplay",
    "FoldDistancesDisplay",
    "GeolocationDisplay",
    "GroupImportanceDisplay",
    "ProbabilityMapDisplay",
    "SimilarityMapDisplay",
    "SpatialConfusionDisplay",
    "SpatialErrorDisplay",
    "TrainingCurveDisplay",
    "coverage_by",
    "group_importance",
    "write_encoder_page",
    "write_map_page",
]
