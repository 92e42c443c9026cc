"""A pipeline for a table with places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.fft import dct
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._errors import CoordinateError
from skgeo_embed.encoders.satclip import SatCLIPEncoder
from skgeo_embed.places.columns import find_lonlat, unclear_columns
from skgeo_embed.places.kinds import recognise
from skgeo_embed.places.kinds.geometries import GeoTable
from skgeo_embed.places.reading import read_coordinates
from skgeo_embed.prediction.ensemble import SpatialEnsemble
from skgeo_embed.prediction.residuals import ResidualInterpolator
from skgeo_embed.prediction.ridge_path import RidgePath

N_COMPONENTS = 256
PLACE = ["(longitude)", "(latitude)"]  # no column of a table has such a name
NAME_THEM = "name them with spatial_pipeline(lon=..., lat=...), or rename them to 'lon' and 'lat'"
N_FOR_FEW = 64  # of a linear model that cannot memorise places
N_FOR_TREES = 20  # they split one column at a time: few columns, among which place and others
MOST_CATEGORIES = 40
STRENGTHS = (0.01, 1.0)  # of logistic regression, the inverse of its penalty


def spatial_pipeline(
    estimator: str | BaseEstimator = "regressor",
    *,
    encoder: Any = None,
    lon: Any = None,
    lat: Any = None,
    n_jobs: int | None = None,
) -> Pipeline:
    """Build a pipeline for a table with places and columns of any kind.

    It is a plain scikit-learn pipeline of three steps, which can be changed like any other:

    - "table" converts the table to a pandas frame;
    - "features" is a ColumnTransformer: longitude and latitude, the encoder's features, what the
      place looks like (``layer="content"``), numbers (dates in days, booleans as 0 and 1, missing
      values replaced by the median and marked in a further column), and categories as columns of 0
      and 1, with the rare ones in one column;
    - "model" is a :class:`~skgeo_embed.prediction.ensemble.SpatialEnsemble`: a linear model on the
      encoder's mixed columns, gradient boosting and extra trees on the columns of content. Their
      weights, the strength of the linear model, and how far neighbours are followed are chosen on
      rows held out at random and in whole blocks.

    Parameters
    ----------
    estimator : {"regressor", "classifier"} or estimator object, default="regressor"
        Learner. Your own estimator gets all columns except those of content, inside a
        :class:`~skgeo_embed.ResidualInterpolator`.
    encoder : transformer of places, default=None
        None is the bundled :class:`~skgeo_embed.SatCLIPEncoder` with its content columns. Trees
        read the first 20 columns of another encoder.
    lon, lat : str, default=None
        Names of the longitude and latitude columns, if they are not recognised.
    n_jobs : int, default=None
        Number of processes for the folds.

    Returns
    -------
    pipeline : Pipeline
        Not fitted. It takes a frame (pandas, polars or arrow), a GeoDataFrame of points, or an
        array whose first two columns are longitude and latitude; spatial splitters and displays
        read places from frames and such arrays of two columns.

    Raises
    ------
    ValueError
        If `estimator` is another string.

    Examples
    --------
    >>> from skgeo_embed import spatial_pipeline
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> stations = load_air_temperature().frame[::5]
    >>> rain = stations.pop("mean_precipitation_mm")
    >>> model = spatial_pipeline("regressor").fit(stations[::2], rain[::2])
    >>> model.score(stations[1::2], rain[1::2]) > 0.5
    True
    """
    own = not isinstance(estimator, str)
    if not own and estimator not in ("regressor", "classifier"):
        raise ValueError(
            f'estimator must be "regressor", "classifier" or an estimator, got {estimator!r}.'
        )
    mixed = SatCLIPEncoder(n_components=N_COMPONENTS) if encoder is None else encoder
    place = FunctionTransformer(named_lonlat, feature_names_out=_lonlat_names)
    as_numbers = FunctionTransformer(numbers_of, feature_names_out="one-to-one")
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    as_text = FunctionTransformer(text_of, feature_names_out="one-to-one")
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MOST_CATEGORIES,
        sparse_output=False,
        feature_name_combiner=category_name,
    )
    content = [("content", make_pipeline(place, SatCLIPEncoder(layer="content")), PLACE)]
    features = FeatureTable(
        [
            ("place", place, PLACE),
            ("encoder", make_pipeline(place, mixed), PLACE),
            *(content if encoder is None and not own else []),
            ("numbers", make_pipeline(as_numbers, fill), number_columns),
            ("categories", make_pipeline(as_text, one_hot), text_columns),
        ],
        verbose_feature_names_out=True,
    ).set_output(transform="pandas")
    names: dict[str, Any] = {"lon": "place__lon", "lat": "place__lat", "n_jobs": n_jobs}
    if own:
        model: Any = ResidualInterpolator(estimator, **names)
    else:
        few = first_components if encoder is None else first_columns
        learners = _regressors(few) if estimator == "regressor" else _classifiers(few)
        model = SpatialEnsemble(learners, **names)
    return Pipeline([("table", TableReader(lon, lat)), ("features", features), ("model", model)])


def named_lonlat(X: pd.DataFrame) -> pd.DataFrame:
    """Give the two columns of the place their usual names."""
    return X.set_axis(["lon", "lat"], axis=1)


def number_columns(X: pd.DataFrame) -> list[Any]:
    """Name the other columns that are numbers, booleans, dates or durations."""
    return [name for name in X if name not in PLACE and _is_numeric(X[name])]


def text_columns(X: pd.DataFrame) -> list[Any]:
    """Name the columns that are neither the place nor numbers."""
    return [name for name in X if name not in PLACE and not _is_numeric(X[name])]


def numbers_of(X: pd.DataFrame) -> pd.DataFrame:
    """Convert columns to float64: dates and durations to days, booleans to 0 and 1."""
    return X.apply(_numbers)


def text_of(X: pd.DataFrame) -> pd.DataFrame:
    """Convert columns to text; missing values are a category too, and 1.0 is the category 1."""
    return X.apply(lambda column: column.astype(object).map(_word).astype(object))


def category_name(column: str, category: Any) -> str:
    """Name the column of a category."""
    return f"{column}={category}"


class FeatureTable(ColumnTransformer):
    """A pandas frame, whatever is asked of the pipeline's output: the model finds places in it."""

    def set_output(self, *, transform: Any = None) -> FeatureTable:
        """Give pandas frames."""
        return super().set_output(transform="pandas")


class TableReader(  # type: ignore[call-arg]
    TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Make a pandas frame of any table: the place first, then the columns it was fitted with.

    Parameters
    ----------
    lon, lat : str, default=None
        Names of the longitude and latitude columns, if they are not recognised.
    """

    def __init__(self, lon: Any = None, lat: Any = None) -> None:
        self.lon = lon
        self.lat = lat

    def fit(self, X: Any, y: Any = None) -> TableReader:
        """Remember the columns."""
        self._lonlat = [None if name is None else flat_name(name) for name in (self.lon, self.lat)]
        frame = as_pandas(X)
        taken = self._place_columns(frame)
        self.columns_ = [name for name in frame if name not in taken]
        return self

    def transform(self, X: Any) -> pd.DataFrame:
        """Return longitude, latitude and the columns of `fit` in its order; others are left out."""
        check_is_fitted(self)
        frame = as_pandas(X)
        self._place_columns(frame)
        missing = [name for name in self.columns_ if name not in frame]
        if missing:
            raise ValueError(
                f"the table lacks {', '.join(map(repr, missing))}, which the pipeline was fitted "
                f"with; it has {', '.join(map(repr, frame))}."
            )
        lon, lat = self._lonlat
        lonlat = read_coordinates(frame, lon=lon, lat=lat, wide=True, remedy=NAME_THEM).lonlat
        places = pd.DataFrame(lonlat, columns=PLACE, index=frame.index)
        return pd.concat([places, pd.DataFrame(frame[self.columns_])], axis=1)

    def _place_columns(self, frame: pd.DataFrame) -> list[Any]:
        lon, lat = self._lonlat
        source = recognise(frame, columns_are_named=lon is not None or lat is not None)
        if isinstance(source, GeoTable):
            return [frame.geometry.name]
        found = find_lonlat(list(frame), lon, lat)
        if found is None:
            raise CoordinateError(unclear_columns(list(frame), lon, lat, NAME_THEM))
        return [frame.columns[position] for position in found]

    def set_output(self, *, transform: Any = None) -> TableReader:
        """Change nothing: the next step reads pandas frames."""
        return self

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns."""
        return np.asarray([*PLACE, *self.columns_], dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags


def as_pandas(X: Any) -> pd.DataFrame:
    """Convert a table of any kind to a pandas frame; an array's first columns are lon and lat."""
    names = recognise(X).names
    if names is not None:
        flat = [flat_name(name) for name in names]
        twice = sorted({name for name in flat if flat.count(name) > 1})
        if twice:
            raise ValueError(f"several columns have one name: {', '.join(twice)}; rename them.")
        if isinstance(X, pd.DataFrame):
            return X if flat == names else X.set_axis(flat, axis=1)
        return pd.DataFrame(
            {new: np.asarray(X[name]) for new, name in zip(flat, names, strict=True)}
        )
    values = X if isinstance(X, np.ma.MaskedArray) else np.asarray(X)
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(float), np.nan)
    if values.ndim != 2 or values.shape[1] < 2:
        raise CoordinateError(
            "a table without names must be (n, d), longitude and latitude first; got shape "
            f"{values.shape}."
        )
    rest = (f"x{number}" for number in range(2, values.shape[1]))
    return pd.DataFrame(values, columns=["lon", "lat", *rest])


def flat_name(name: Any) -> str:
    """Return a column's name as text; levels of a MultiIndex are joined."""
    return ".".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _kind(column: pd.Series) -> str:
    """Return pandas' word for the values of a column, or "empty", whatever its dtype."""
    if not isinstance(column.dtype, np.dtype):
        column = column.astype(object)
    return pd.api.types.infer_dtype(column, skipna=True)


NUMBERS = {"boolean", "decimal", "empty", "floating", "integer", "mixed-integer-float"}
DATES = {"date", "datetime", "datetime64"}
DURATIONS = {"timedelta", "timedelta64"}


def _is_numeric(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    return _kind(column) in NUMBERS | DATES | DURATIONS | {"period"}


def _numbers(column: pd.Series) -> pd.Series:
    kind = _kind(column)
    if kind == "period":
        column, kind = column.dt.to_timestamp(), "datetime64"
    if not isinstance(column.dtype, np.dtype):
        column = column.astype(object)
    try:
        if kind in DATES:
            column = pd.to_datetime(column, utc=True) - pd.Timestamp(0, tz="UTC")
        elif kind in DURATIONS:
            column = pd.to_timedelta(column)
        else:
            return pd.to_numeric(column.where(column.notna(), np.nan)).astype("float64")
        return column.dt.total_seconds() / 86_400
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the column {column.name!r} held numbers in fit, and now holds something else: {error}"
        ) from error


def _word(value: Any) -> str:
    if pd.isna(value):
        return "missing"
    whole = isinstance(value, (float, np.floating)) and value.is_integer()
    return str(int(value)) if whole else str(value)


def _lonlat_names(transformer: Any, names: Any) -> list[str]:
    return ["lon", "lat"]


BOOSTING: dict[str, Any] = {
    "early_stopping": False,
    "l2_regularization": 1.0,  # without it boosting diverges where a class is rare
    "random_state": 0,
}
FOREST: dict[str, Any] = {
    "n_estimators": 50,
    "min_samples_leaf": 2,
    "max_features": 0.33,
    "random_state": 0,
}


def _regressors(few: Any) -> list[tuple[str, BaseEstimator]]:
    linear = ColumnTransformer([("columns", "passthrough", linear_columns)])
    return [
        ("linear", make_pipeline(linear, RidgePath())),
        ("boosting", _on_tree_columns(few, HistGradientBoostingRegressor(**BOOSTING))),
        ("trees", _on_tree_columns(few, ExtraTreesRegressor(**FOREST))),
    ]


def _classifiers(few: Any) -> list[tuple[str, BaseEstimator]]:
    return [
        *((f"linear, C={C:g}", _logistic("passthrough", C)) for C in STRENGTHS),
        ("linear, few columns", _logistic(_first(few, N_FOR_FEW), 1.0)),
        ("boosting", _on_tree_columns(few, HistGradientBoostingClassifier(**BOOSTING))),
        ("trees", _on_tree_columns(few, ExtraTreesClassifier(**FOREST))),
    ]


def _logistic(encoded: Any, strength: float) -> Pipeline:
    columns = ColumnTransformer(
        [("encoder", encoded, encoder_columns), ("others", "passthrough", other_columns)]
    )
    return make_pipeline(columns, StandardScaler(), LogisticRegression(C=strength, max_iter=1000))


def _on_tree_columns(few: Any, trees: BaseEstimator) -> Pipeline:
    columns = ColumnTransformer(
        [
            ("encoder", _first(few, N_FOR_TREES), encoder_columns),
            ("others", "passthrough", tree_columns),
        ]
    )
    return make_pipeline(columns, trees)


def _first(few: Any, count: int) -> FunctionTransformer:
    return FunctionTransformer(few, kw_args={"count": count})


def first_columns(X: Any, count: int) -> np.ndarray:
    """Return the first columns of an encoder."""
    return np.asarray(X, dtype=np.float64)[:, :count]


def first_components(X: Any, count: int) -> np.ndarray:
    """Return the first principal components of the default encoder, which its columns mix."""
    return dct(np.asarray(X, dtype=np.float64), norm="ortho", axis=1)[:, :count]


def encoder_columns(X: pd.DataFrame) -> list[str]:
    """Name the encoder's columns."""
    return [name for name in map(str, X) if name.startswith("encoder__")]


def linear_columns(X: pd.DataFrame) -> list[str]:
    """Name all columns except those of content, on which a linear model extrapolates badly."""
    return [name for name in map(str, X) if not name.startswith("content__")]


def other_columns(X: pd.DataFrame) -> list[str]:
    """Name the columns of the table itself."""
    return [name for name in linear_columns(X) if not name.startswith("encoder__")]


def tree_columns(X: pd.DataFrame) -> list[str]:
    """Name the columns of the table itself, and those of content."""
    return [name for name in map(str, X) if not name.startswith("encoder__")]
