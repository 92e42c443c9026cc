"""Dates beside places: seasons and trends are learned from the column as it is."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline

from skgeo_embed import ClimplicitEncoder, PositionalEncoder, RasterEncoder, spatial_pipeline
from skgeo_embed.places.times import year_cycles
from skgeo_embed.prediction.learners import day_columns, regressors
from skgeo_embed.prediction.trend import TrendRegressor
from tests.encoders.zoo import weights_file


@pytest.fixture(scope="module")
def sales():
    """Three years of sales by month at 20 places: size, season, a jump in December, a trend."""
    rng = np.random.default_rng(0)
    sites = pd.DataFrame({"lon": rng.uniform(6, 15, 20), "lat": rng.uniform(47, 55, 20)})
    months = pd.DataFrame({"month": pd.date_range("2020-01-01", periods=36, freq="MS")})
    table = sites.merge(months, how="cross")
    number, month = np.tile(np.arange(36), 20), table["month"].dt.month
    season = 10 * np.cos((month - 7) * np.pi / 6) + 8 * (month == 12)
    y = 50 + 5 * np.sin(table["lon"]) + season + 0.8 * number + rng.normal(0, 2, len(table))
    return table, y


@pytest.fixture(scope="module")
def model():
    return spatial_pipeline(encoder=PositionalEncoder("grid"))


def test_next_year_is_predicted_from_the_dates_alone(sales, model):
    table, y = sales
    past = table["month"] < "2022-01-01"
    model = clone(model).fit(table[past], y[past])
    assert model.score(table[~past], y[~past]) > 0.9
    for name, learner in model["model"].learners_:
        found = learner.predict(model[:-1].transform(table[~past]))
        assert abs(np.mean(found - y[~past])) < 4, name  # the trend adds 10 a year


def test_columns_of_dates(sales, model):
    table, y = sales
    names = list(clone(model)[:-1].fit(table, y).get_feature_names_out())
    parts = ["month", "sin1", "cos1", "sin2", "cos2"]
    assert [n for n in names if n.startswith("seasons__")] == [f"seasons__month_{p}" for p in parts]
    assert "dates__month" in names
    few = table[table["month"] < "2020-11-01"]  # ten months: a season looks like a trend
    names = list(clone(model)[:-1].fit(few).get_feature_names_out())
    assert [n for n in names if "month" in n] == ["dates__month"]


def test_dates_in_any_form_and_missing_ones(sales):
    table, y = sales
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid"))
    expected = model.fit(table, y).predict(table)
    forms = {
        "polars": pl.from_pandas(table),
        "periods": table.assign(month=table["month"].dt.to_period("M")),
        "objects": table.assign(month=[stamp.date() for stamp in table["month"]]),
    }
    for name, other in forms.items():
        np.testing.assert_allclose(
            clone(model).fit(other, y).predict(other), expected, err_msg=name
        )
    gaps = table.copy()
    gaps.loc[::5, "month"] = None
    assert np.isfinite(clone(model).fit(gaps, y).predict(gaps)).all()
    assert np.isfinite(model.predict(table.assign(month=pd.NaT))).all()


def test_cycles_close_at_the_end_of_the_year():
    dates = pd.Series(pd.to_datetime(["2023-12-31", "2024-01-01", "2024-12-31", "2024-07-01"]))
    found = year_cycles(dates)
    assert found["month"].tolist() == [12, 1, 12, 7]
    np.testing.assert_allclose(found["cos1"], [1, 1, 1, -1], atol=2e-3)
    np.testing.assert_allclose(found["sin1"][:3], [0, 0, 0], atol=0.01)
    assert found["sin1"][2] < 0 < found["sin1"][1]  # the 366th day ends a leap year
    np.testing.assert_allclose(found["cos2"], [1, 1, 1, 1], atol=2e-3)


def test_the_slope_is_that_of_the_trend_and_not_of_what_came_later():
    """Dear places were added over the years, and no price rose."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"dates__sold": rng.uniform(0, 1000, 300)})
    frame["place__lon"] = frame["dates__sold"] / 1000 + rng.normal(0, 0.3, 300)
    frame["dates__missingindicator_sold"] = 0.0
    y = 10 * frame["place__lon"].to_numpy() + rng.normal(0, 0.1, 300)
    trended = dict(regressors(None))["trees"].set_params(estimator=Ridge())
    assert isinstance(trended, TrendRegressor)
    slopes = trended.fit(frame, y).slopes_
    assert slopes.index.tolist() == day_columns(frame) == ["dates__sold"]
    assert abs(slopes["dates__sold"] * 1000) < 0.3
    rising = trended.fit(frame, y + 0.02 * frame["dates__sold"]).slopes_["dates__sold"]
    assert rising == pytest.approx(0.02, rel=0.05)
    plain = trended.fit(frame[["place__lon"]], y)
    assert len(plain.slopes_) == 0
    assert r2_score(y, plain.predict(frame[["place__lon"]])) > 0.9


@pytest.mark.parametrize("inside", [False, True])
def test_an_encoder_takes_its_month_from_the_dates(sales, inside):
    table, y = sales
    encoder = ClimplicitEncoder(weights_file("climplicit"), month="month")
    encoder = make_pipeline(encoder, PCA(3)) if inside else encoder
    features = spatial_pipeline(Ridge(), encoder=encoder)[:-1].fit(table, y).transform(table)
    numbers = table.assign(month=table["month"].dt.month)
    expected = clone(encoder).fit_transform(numbers)
    found = features[[name for name in features if name.startswith("encoder__")]]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert "dates__month" in features
    by_number = spatial_pipeline(Ridge(), encoder=encoder)[:-1].fit(numbers, y).transform(numbers)
    np.testing.assert_allclose(by_number[found.columns], expected, atol=1e-5)


def test_an_encoder_without_a_time_of_the_table_gets_places_alone(sales):
    table, y = sales
    for month in (None, 7):
        encoder = ClimplicitEncoder(weights_file("climplicit"), month=month)
        assert encoder.time_column is None
        assert len(spatial_pipeline(Ridge(), encoder=encoder)[:-1].fit_transform(table, y))
    assert (RasterEncoder("x.tif", year="sold").time_column, encoder.time_part) == ("sold", "month")
