"""Folds that hold out the future of places."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score

from skgeo_embed._sphere import nearest_km
from skgeo_embed.model_selection import SpatioTemporalKFold


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    sites = pd.DataFrame({"lon": rng.uniform(5, 15, 40), "lat": rng.uniform(45, 55, 40)})
    months = pd.DataFrame({"month": pd.date_range("2021-01-01", periods=24, freq="MS")})
    return sites.merge(months, how="cross").sample(frac=1, random_state=0).reset_index(drop=True)


def test_neither_the_places_nor_the_times_of_a_test_are_in_training(table):
    splitter = SpatioTemporalKFold(4, future="2022-07-01", buffer_km=30)
    tested = []
    for train, test in splitter.split(table):
        assert (table["month"][train] < "2022-07-01").all()
        assert (table["month"][test] >= "2022-07-01").all()
        lonlat = table[["lon", "lat"]].to_numpy()
        assert nearest_km(lonlat[train], lonlat[test]).min() > 30
        tested.append(test)
    assert splitter.future_from_ == pd.Timestamp("2022-07-01", tz="UTC")
    rows = np.flatnonzero(table["month"] >= "2022-07-01")
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), rows)
    sizes = [len(test) for test in tested]
    assert max(sizes) - min(sizes) <= 24


def test_places_of_a_test_have_no_row_in_training(table):
    for train, test in SpatioTemporalKFold(4, future="2022-07-01").split(table):
        assert not set(table["lon"][train]) & set(table["lon"][test])


def test_a_share_of_the_distinct_times():
    day = np.repeat([3, 1, 2, 3], [1, 26, 2, 1])  # most rows are of the first day
    rows = pd.DataFrame({"lon": np.arange(30.0), "lat": 50.0, "day": day})
    splitter = SpatioTemporalKFold(2, future=0.4)
    for _, test in splitter.split(rows, times=rows["day"]):
        assert set(rows["day"][test]) == {3}
    assert splitter.future_from_ == 3
    tests = [test for _, test in SpatioTemporalKFold(2, future=2).split(rows, times=day)]
    assert sorted(np.concatenate(tests)) == [0, 27, 28, 29]
    with pytest.raises(ValueError, match=r"rows of the future lie in 2 block\(s\) of .* km"):
        next(SpatioTemporalKFold(3).split(rows, times=day))


def test_times_in_any_form(table):
    expected = [list(map(list, fold)) for fold in SpatioTemporalKFold(3).split(table)]
    places = table[["lon", "lat"]].to_numpy()
    days = [stamp.date() for stamp in table["month"]]
    forms = {
        "polars": (pl.from_pandas(table), {}),
        "named": (table.assign(other=table["month"]), {"time": "month"}),
        "dates": (table.assign(month=days), {}),
        "periods": (table.assign(month=table["month"].dt.to_period("M")), {}),
        "zone": (table.assign(month=table["month"].dt.tz_localize("UTC")), {}),
    }
    for name, (X, params) in forms.items():
        found = [list(map(list, fold)) for fold in SpatioTemporalKFold(3, **params).split(X)]
        assert found == expected, name
    for times in (table["month"], table["month"].to_numpy(), days, pd.Index(table["month"])):
        found = SpatioTemporalKFold(3).split(places, times=times)
        assert [list(map(list, fold)) for fold in found] == expected
    found = SpatioTemporalKFold(3).split(np.ones((len(table), 1)), coords=places, times=days)
    assert [list(map(list, fold)) for fold in found] == expected


def test_places_that_have_no_future_train_all_folds(table):
    ended = (table["lon"] < 8) & (table["month"] >= "2022-07-01")
    rest = table[~ended].reset_index(drop=True)
    folds = list(SpatioTemporalKFold(3, future="2022-07-01").split(rest))
    west = np.flatnonzero((rest["lon"] < 7).to_numpy())
    assert len(west)
    for train, test in folds:
        assert len(test) > 0
        assert set(west) <= set(train)


def test_scores(table):
    y = np.arange(len(table)) * 1.0
    model = LinearRegression()
    places = table[["lon", "lat"]]
    folds = list(SpatioTemporalKFold(3).split(table))
    assert len(cross_val_score(model, places, y, cv=folds)) == 3


@pytest.mark.parametrize(
    ("params", "change", "expected"),
    [
        ({"time": "day"}, {}, "no column 'day'; it has 'lon', 'lat', 'month'"),
        ({}, {"other": datetime.date(2020, 1, 1)}, "columns of dates are 'month', 'other'"),
        ({}, {"month": 3.0}, "X has no dates; name the column"),
        ({"future": "2030-01-01"}, {}, "leaves no future: times are from 2021"),
        ({"future": "2020-01-01"}, {}, "leaves no past"),
        ({"future": 2022}, {}, "first time of the future, a date as those of the rows; got 2022"),
        ({"future": "soon"}, {}, "got 'soon'"),
        ({"time": "month"}, {"month": "words"}, "must be dates or numbers, got words"),
        ({}, {"month": pd.Timestamp("2021-01-01")}, "all rows have the time"),
    ],
)
def test_what_cannot_be_meant(table, params, change, expected):
    with pytest.raises(ValueError, match=expected):
        next(SpatioTemporalKFold(3, **params).split(table.assign(**change)))


def test_missing_times_are_named(table):
    table.loc[5, "month"] = None
    with pytest.raises(ValueError, match=r"times are missing in 1 row\(s\) \(first: row 5\)"):
        next(SpatioTemporalKFold(3).split(table))
