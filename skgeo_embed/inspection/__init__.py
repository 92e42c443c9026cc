"""Pictures of encoders and of their training."""

from __future__ import annotations

from skgeo_embed.inspection._training_curve import TrainingCurveDisplay

__all__ = ["TrainingCurveDisplay"]
