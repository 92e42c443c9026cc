"""A pipeline for a table with places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._errors import CoordinateError
from skgeo_embed.encoders.satclip import SatCLIPEncoder
from skgeo_embed.places.columns import classify_column, find_lonlat, unclear_columns
from skgeo_embed.places.kinds import Cells, Table, recognise
from skgeo_embed.places.kinds.frames import XarrayColumns
from skgeo_embed.places.kinds.geometries import GeoTable, ShapelyGeometries
from skgeo_embed.places.numbers import (
    as_array,
    plain_column,
    to_float64,
    to_numpy,
    without_mask,
)
from skgeo_embed.places.reading import area_columns, read_places
from skgeo_embed.places.times import values_of
from skgeo_embed.places.units import in_degrees, is_radian, unit_of
from skgeo_embed.prediction.base import warn_if_names_are_gone
from skgeo_embed.prediction.ensemble import SpatialEnsemble
from skgeo_embed.prediction.learners import (
    classifiers,
    first_columns,
    first_components,
    regressors,
)
from skgeo_embed.prediction.residuals import ResidualInterpolator
from skgeo_embed.prediction.table_columns import (
    AREA,
    PLACE,
    category_name,
    date_columns,
    lonlat_names,
    named_lonlat,
    named_place_and_time,
    number_columns,
    numbers_of,
    place_and_time_names,
    season_columns,
    season_names,
    seasons_of,
    text_columns,
    text_of,
)

N_COMPONENTS = 256
NAME_THEM = "name them with spatial_pipeline(lon=..., lat=...), or rename them to 'lon' and 'lat'"
MOST_CATEGORIES = 40


def spatial_pipeline(
    estimator: str | BaseEstimator = "regressor",
    *,
    encoder: Any = None,
    lon: Any = None,
    lat: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Pipeline:
    """Build a pipeline for a table with places and columns of any kind.

    It is a plain scikit-learn pipeline of three steps, which can be changed like any other:

    - "table" converts the table to a pandas frame;
    - "features" is a ColumnTransformer: longitude and latitude, the encoder's features, what the
      place looks like (``layer="content"``), numbers (booleans as 0 and 1, missing values replaced
      by the median and marked in a further column), dates (in days, which can hold a trend, and if
      they cover a year the month and two cycles of the year), and categories as columns of 0 and 1,
      with the rare ones in one column;
    - "model" is a :class:`~skgeo_embed.prediction.ensemble.SpatialEnsemble`: a linear model on the
      encoder's mixed columns, gradient boosting and extra trees on the columns of content. Their
      weights, the strength of the linear model, and how far neighbours are followed are chosen on
      rows held out at random and in whole blocks. Of more than 200,000 rows, it learns from 200,000
      that are drawn evenly, and all of them are neighbours.

    Tables that are larger than memory are fitted by :func:`~skgeo_embed.fit_table`.

    Parameters
    ----------
    estimator : {"regressor", "classifier"} or estimator object, default="regressor"
        Learner. Your own estimator gets all columns except those of content, inside a
        :class:`~skgeo_embed.ResidualInterpolator`.
    encoder : transformer of places, default=None
        None is the bundled :class:`~skgeo_embed.SatCLIPEncoder` with its content columns. Trees
        read the first 20 columns of another encoder. One that takes a month or a year, such as
        ``ClimplicitEncoder(month="sold")``, may name a column of dates.
    lon, lat : str, default=None
        Names of the longitude and latitude columns, if they are not recognised.
    n_jobs : int, default=None
        Number of processes for the folds.
    verbose : int, default=0
        With 1, `fit` prints a line after each step, each kind of features and each of some twenty
        fits, with how many are done and about how long the others take.

    Returns
    -------
    pipeline : Pipeline
        Not fitted. It takes a frame (pandas, polars or arrow) with columns of longitude and
        latitude, of an H3 cell, or of a box (west, south, east and north); a GeoDataFrame of points
        or polygons; or an array whose first two columns are longitude and latitude. Of an area
        features are means, and longitude and latitude are those of a place inside it. Spatial
        splitters and displays read places from all of these but arrays of more columns.

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
    place = FunctionTransformer(named_lonlat, feature_names_out=lonlat_names)
    where = PlaceColumns()
    as_numbers = FunctionTransformer(numbers_of, feature_names_out="one-to-one")
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    as_seasons = FunctionTransformer(seasons_of, feature_names_out=season_names)
    fill_seasons = SimpleImputer(strategy="median", keep_empty_features=True)
    as_text = FunctionTransformer(text_of, feature_names_out="one-to-one")
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MOST_CATEGORIES,
        sparse_output=False,
        feature_name_combiner=category_name,
    )
    content = [("content", make_pipeline(where, SatCLIPEncoder(layer="content")), [*PLACE, AREA])]
    features = FeatureTable(
        [
            ("place", place, PLACE),
            ("encoder", *_encoded(mixed, where)),
            *(content if encoder is None and not own else []),
            ("numbers", make_pipeline(as_numbers, fill), number_columns),
            ("dates", make_pipeline(as_numbers, fill), date_columns),
            ("seasons", make_pipeline(as_seasons, fill_seasons), season_columns),
            ("categories", make_pipeline(as_text, one_hot), text_columns),
        ],
        verbose_feature_names_out=True,
        verbose=bool(verbose),
    ).set_output(transform="pandas")
    names: dict[str, Any] = {"lon": "place__lon", "lat": "place__lat"}
    names |= {"n_jobs": n_jobs, "verbose": verbose}
    if own:
        model: Any = ResidualInterpolator(estimator, **names)
    else:
        few = first_components if encoder is None else first_columns
        learners = regressors(few) if estimator == "regressor" else classifiers(few)
        model = SpatialEnsemble(learners, **names)
    steps = [("table", TableReader(lon, lat)), ("features", features), ("model", model)]
    return Pipeline(steps, verbose=bool(verbose))


def _encoded(encoder: Any, place: Any) -> tuple[Pipeline, list[Any]]:
    """Return the step that encodes, and the columns it reads: the place, and a time if it asks."""
    first = encoder
    while isinstance(first, Pipeline):
        first = first.steps[0][1]
    time = getattr(first, "time_column", None)
    if time is None:
        return make_pipeline(place, encoder), [*PLACE, AREA]
    with_time = FunctionTransformer(
        named_place_and_time,
        kw_args={"part": first.time_part},
        feature_names_out=place_and_time_names,
    )
    return make_pipeline(with_time, encoder), [*PLACE, flat_name(time)]


class FeatureTable(ColumnTransformer):
    """A step that always returns a pandas frame, in which the model finds places."""

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> pd.DataFrame:
        """Fit and apply the steps; `set_output` does not reach them."""
        with config_context(transform_output="default"):
            return super().fit_transform(X, y, **params)

    def transform(self, X: Any, **params: Any) -> pd.DataFrame:
        """Apply the steps; `set_output` does not reach them."""
        with config_context(transform_output="default"):
            return super().transform(X, **params)

    def set_output(self, *, transform: Any = None) -> FeatureTable:
        """Give pandas frames."""
        return super().set_output(transform="pandas")


class PlaceColumns(  # type: ignore[call-arg]
    TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Return the place as encoders read it: areas if there are any, else longitude and latitude."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> PlaceColumns:
        """Do nothing."""
        return self

    def transform(self, X: pd.DataFrame) -> Any:
        """Return a column of geometries, or a frame of longitude and latitude."""
        return named_lonlat(X[PLACE]) if X[AREA].isna().all() else X[AREA]

    def set_output(self, *, transform: Any = None) -> PlaceColumns:
        """Change nothing: encoders read what this returns."""
        return self

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the two columns."""
        return np.asarray(lonlat_names(self, input_features), dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True


class TableReader(  # type: ignore[call-arg]
    TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Make a pandas frame of any table: the place first, then the columns it was fitted with.

    Parameters
    ----------
    lon, lat : str, default=None
        Names of the longitude and latitude columns, if they are not recognised.

    Attributes
    ----------
    columns_ : list of str
        The columns beside the place.
    kinds_ : dict of str to str
        What each of them held in `fit`: "numbers", "dates", "durations", "words" or "nothing".
    """

    def __init__(self, lon: Any = None, lat: Any = None) -> None:
        self.lon = lon
        self.lat = lat

    def fit(self, X: Any, y: Any = None) -> TableReader:
        """Remember the columns."""
        self._lonlat = [None if name is None else flat_name(name) for name in (self.lon, self.lat)]
        self._names = recognise(X).names
        frame = as_pandas(X)
        taken = self._place_columns(frame)
        self.columns_ = [name for name in frame if name not in taken]
        self.kinds_ = {name: values_of(frame[name]) for name in self.columns_}
        return self

    def transform(self, X: Any) -> pd.DataFrame:
        """Return longitude, latitude and the columns of `fit` in its order; others are left out."""
        check_is_fitted(self)
        warn_if_names_are_gone(self, X, self._names)
        frame = as_pandas(X)
        self._place_columns(frame)
        missing = [name for name in self.columns_ if name not in frame]
        if missing:
            raise ValueError(
                f"the table lacks {', '.join(map(repr, missing))}, which the pipeline was fitted "
                f"with; it has {', '.join(map(repr, frame))}."
            )
        for name, kind in self.kinds_.items():
            _check_values(name, kind, values_of(frame[name]))
        lon, lat = self._lonlat
        read = read_places(frame, lon=lon, lat=lat, wide=True, remedy=NAME_THEM)
        if read.areas is not None:  # scikit-learn before 1.7 loses the index of a column of areas
            frame = frame.reset_index(drop=True)
        places = pd.DataFrame(read.lonlat, columns=PLACE, index=frame.index)
        places[AREA] = pd.Series(read.areas, index=frame.index, dtype=object)
        return pd.concat([places, pd.DataFrame(frame[self.columns_])], axis=1)

    def _place_columns(self, frame: pd.DataFrame) -> list[Any]:
        lon, lat = self._lonlat
        named = lon is not None or lat is not None
        source = recognise(frame, columns_are_named=named)
        if isinstance(source, GeoTable):
            return [frame.geometry.name]
        if not isinstance(source, Table):  # cells alone
            return list(frame)
        areas = [] if named else area_columns(source)
        if areas:
            return areas
        found = find_lonlat(list(frame), lon, lat)
        if found is None:
            raise CoordinateError(unclear_columns(list(frame), lon, lat, NAME_THEM))
        return [frame.columns[position] for position in found]

    def set_output(self, *, transform: Any = None) -> TableReader:
        """Change nothing: the next step reads pandas frames."""
        return self

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns."""
        return np.asarray([*PLACE, AREA, *self.columns_], dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags


def as_pandas(X: Any) -> pd.DataFrame:
    """Convert a table of any kind to a pandas frame; an array's first columns are lon and lat."""
    source = recognise(X)
    if isinstance(source, Cells) and not isinstance(X, pd.DataFrame):
        return pd.DataFrame({"cell": source.values()})
    if isinstance(source, (GeoTable, ShapelyGeometries)) and source.names is None:
        return geo_frame(X)
    names = source.names
    if isinstance(source, Cells):
        names = list(X.columns)
    if names is not None:
        flat = [flat_name(name) for name in names]
        twice = sorted({name for name in flat if flat.count(name) > 1})
        if twice:
            raise ValueError(f"several columns have one name: {', '.join(twice)}; rename them.")
        if isinstance(X, pd.DataFrame):
            return X if flat == names else X.set_axis(flat, axis=1)
        return pd.DataFrame({name: _column(source, i) for i, name in enumerate(flat)})
    values = np.asarray(without_mask(as_array(to_numpy(X), "the values of a table", "")))
    if values.ndim != 2 or values.shape[1] < 2:
        raise CoordinateError(
            "a table without names must be (n, d), longitude and latitude first; got shape "
            f"{values.shape}."
        )
    rest = (f"x{number}" for number in range(2, values.shape[1]))
    frame = pd.DataFrame(values, columns=["lon", "lat", *rest])
    unit = unit_of(X)
    for kind in ("lon", "lat") if unit else ():
        frame[kind] = in_degrees(to_float64(frame[kind], "coordinates"), unit, kind, "coordinates")
    return frame


def geo_frame(geometries: Any) -> pd.DataFrame:
    """Make a table of geometries alone: geopandas' with their CRS, shapely's in degrees."""
    import geopandas

    series = geopandas.GeoSeries(geometries, crs=getattr(geometries, "crs", "EPSG:4326"))
    return geopandas.GeoDataFrame(geometry=series.reset_index(drop=True))


def _column(source: Any, position: int) -> Any:
    """Return a column as pandas holds it; angles that are said to be in radians are in degrees."""
    name, unit = source.names[position], source.unit(position)
    kind = classify_column(name)
    if unit and (kind or is_radian(unit)):
        what = f"the values of column {name!r}"
        return in_degrees(source.numbers(position, what, ""), unit, kind or "lon", what)
    if isinstance(source, XarrayColumns):
        return source.X.values[:, position]
    values = plain_column(source.X[name])
    return values if isinstance(values, pd.Series) else np.asarray(without_mask(values))


def flat_name(name: Any) -> str:
    """Return a column's name as text; levels of a MultiIndex are joined."""
    return ".".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _check_values(name: Any, fitted: str, found: str) -> None:
    """Refuse a column that held values of one kind in `fit` and holds another kind now."""
    both = {fitted, found}
    if len(both) == 1 or "nothing" in both or both == {"numbers", "words"}:
        return  # a code may be 3 or "3"; the conversion to numbers refuses other text
    raise ValueError(
        f"the column {name!r} held {fitted} in fit, and now holds {found}; convert it to {fitted}, "
        "or fit again."
    )
