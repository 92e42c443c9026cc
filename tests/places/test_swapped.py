"""Longitude and latitude that look swapped, though both are in range."""

import warnings
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skgeo_embed import (
    PositionalEncoder,
    SwappedCoordinateWarning,
    encode_table,
    predict_table,
    spatial_pipeline,
)
from skgeo_embed.datasets import land_mask, load_air_temperature
from skgeo_embed.places.swapped import warn_if_swapped

SMALL = PositionalEncoder(legendre_polys=3)
STATIONS = load_air_temperature().data[["lon", "lat"]]


def stations_in(west, south, east, north):
    inside = STATIONS["lon"].between(west, east) & STATIONS["lat"].between(south, north)
    return STATIONS[inside].reset_index(drop=True)


AMERICA = stations_in(-90, 25, -65, 45)
INDIA = stations_in(70, 8, 88, 33)
EUROPE = stations_in(-10, 36, 30, 60)
CHILE = stations_in(-75, -50, -68, -20)
RNG = np.random.default_rng(0)
ATLANTIC = np.column_stack([RNG.uniform(-60, -20, 50), RNG.uniform(30, 55, 50)])


def exchanged(places):
    """The same names on the wrong columns."""
    return pd.DataFrame({"lon": places["lat"], "lat": places["lon"]})


def warnings_of(call, *arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*arguments)
    return [w for w in caught if issubclass(w.category, SwappedCoordinateWarning)]


@pytest.mark.parametrize("places", [AMERICA, INDIA, CHILE], ids=["America", "India", "Chile"])
def test_exchanged_columns_are_noticed(places):
    assert len(places) >= 20
    assert not warnings_of(SMALL.fit, places)
    (warning,) = warnings_of(SMALL.fit, exchanged(places))
    assert "look swapped" in str(warning.message)
    assert "SwappedCoordinateWarning" in str(warning.message)  # how to go on
    assert warning.filename == __file__


@pytest.mark.parametrize(
    "places",
    [
        STATIONS,
        EUROPE,
        ATLANTIC,
        exchanged(AMERICA)[:19],
        pd.concat([exchanged(AMERICA)[:19]] * 9),
        exchanged(AMERICA).assign(lon=AMERICA["lat"] + 100),
        RNG.uniform(-90, 90, (500, 2)),
    ],
    ids=["world", "Europe", "sea", "few rows", "few places", "not exchangeable", "anywhere"],
)
def test_no_warning_without_a_clear_case(places):
    assert not warnings_of(warn_if_swapped, np.asarray(places))


def test_missing_rows_do_not_hide_it():
    encoder = PositionalEncoder(legendre_polys=3, on_invalid="nan")
    holed = exchanged(AMERICA)
    holed.loc[::2, "lat"] = np.nan
    assert len(warnings_of(encoder.fit, holed))


def test_one_warning_for_a_fit():
    swapped = exchanged(AMERICA)
    model = make_pipeline(PositionalEncoder(legendre_polys=3), Ridge())
    assert len(warnings_of(model.fit, swapped, np.arange(len(swapped)))) == 1
    assert not warnings_of(model.predict, swapped)
    encoder = PositionalEncoder(legendre_polys=3).fit()
    assert len(warnings_of(encoder.transform, swapped)) == 1


@pytest.mark.filterwarnings("default")
def test_a_pipeline_of_several_encoders_says_it_once():
    swapped = exchanged(AMERICA)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        spatial_pipeline(Ridge(), encoder=SMALL).fit(swapped, np.arange(len(swapped)))
    assert sum(issubclass(w.category, SwappedCoordinateWarning) for w in caught) == 1


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_in_files(tmp_path, suffix):
    model = make_pipeline(SMALL, Ridge()).fit(AMERICA, np.arange(len(AMERICA)))
    for name, frame, expected in (("right", AMERICA, 0), ("wrong", exchanged(AMERICA), 1)):
        path, out = tmp_path / f"{name}{suffix}", tmp_path / f"{name}.out.csv"
        frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
        assert len(warnings_of(lambda: encode_table(SMALL, path, out))) == expected  # noqa: B023
        out.unlink()
        assert len(warnings_of(lambda: predict_table(model, path, out))) == expected  # noqa: B023


def test_the_cells_are_those_of_the_land():
    """Which are made of `land_mask`: cells of half a degree, and those that touch them."""
    with (files("skgeo_embed") / "datasets/data/near_land.npz").open("rb") as file:
        stored = np.unpackbits(np.load(file)["cells"]).reshape(360, 720).astype(bool)
    rows = np.arange(90, 360, 40)
    land = land_mask(np.arange(-179.75, 180, 0.5), np.arange(-89.75, 90, 0.5)[85:])
    wide = land | np.roll(land, 1, axis=1) | np.roll(land, -1, axis=1)
    near = wide.copy()
    near[1:] |= wide[:-1]
    near[:-1] |= wide[1:]
    np.testing.assert_array_equal(stored[rows], near[rows - 85])
