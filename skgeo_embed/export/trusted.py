"""Names of the types that skops must trust to load a saved pipeline of places."""

from __future__ import annotations

from skgeo_embed.models.registry import hub_encoders

_OF_ENCODERS = (
    "skgeo_embed.encoders.positional.PositionalEncoder",
    "skgeo_embed.encoders.satclip.SatCLIPEncoder",
    *(f"skgeo_embed.encoders.{module}.{name}" for module, name in hub_encoders().items()),
    "skgeo_embed.models.loaded.LoadedEncoder",
    "skgeo_embed.nn.inference.options.EncodingOptions",
    "skgeo_embed.places.areas.AreaSampling",
    "skgeo_embed.places.reading.Reader",
)
_OF_SPATIAL_PIPELINE = (
    "skgeo_embed._sphere.SphereTree",
    "skgeo_embed.prediction.corrections.KnownPlaces",
    "skgeo_embed.prediction.corrections.NeighborCorrection",
    "skgeo_embed.prediction.corrections.Weighting",
    "skgeo_embed.prediction.ensemble.SpatialEnsemble",
    "skgeo_embed.prediction.learners.LearnerColumns",
    "skgeo_embed.prediction.learners.day_columns",
    "skgeo_embed.prediction.learners.encoder_columns",
    "skgeo_embed.prediction.learners.first_components",
    "skgeo_embed.prediction.learners.linear_columns",
    "skgeo_embed.prediction.learners.other_columns",
    "skgeo_embed.prediction.learners.tree_columns",
    "skgeo_embed.prediction.pipeline.FeatureTable",
    "skgeo_embed.prediction.pipeline.PlaceColumns",
    "skgeo_embed.prediction.pipeline.TableReader",
    "skgeo_embed.prediction.ridge_path.RidgePath",
    "skgeo_embed.prediction.rows.HeldOutPredictions",
    "skgeo_embed.prediction.table_columns.category_name",
    "skgeo_embed.prediction.table_columns.date_columns",
    "skgeo_embed.prediction.table_columns.lonlat_names",
    "skgeo_embed.prediction.table_columns.named_lonlat",
    "skgeo_embed.prediction.table_columns.number_columns",
    "skgeo_embed.prediction.table_columns.numbers_of",
    "skgeo_embed.prediction.table_columns.season_columns",
    "skgeo_embed.prediction.table_columns.season_names",
    "skgeo_embed.prediction.table_columns.seasons_of",
    "skgeo_embed.prediction.table_columns.text_columns",
    "skgeo_embed.prediction.table_columns.text_of",
    "skgeo_embed.prediction.trend.TrendRegressor",
    # columns of text and trees, which skops does not trust by itself
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
_OF_META_ESTIMATORS = (
    "skgeo_embed.prediction.calibration.Calibration",
    "skgeo_embed.prediction.calibration.LocalScale",
    "skgeo_embed.prediction.calibration.Remoteness",
    "skgeo_embed.prediction.calibration.RemotenessBands",
    "skgeo_embed.prediction.corrections.NeighborCorrection.correct",
    "skgeo_embed.prediction.corrections.SurfaceCorrection",
    "skgeo_embed.prediction.corrections.SurfaceCorrection.correct",
    "skgeo_embed.prediction.intervals.SpatialConformalRegressor",
    "skgeo_embed.prediction.residuals.ResidualInterpolator",
    "skgeo_embed.prediction.sets.SpatialConformalClassifier",
)
SKOPS_TYPES = [*_OF_ENCODERS, *_OF_SPATIAL_PIPELINE, *_OF_META_ESTIMATORS]
