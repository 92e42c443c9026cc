"""Tables whose rows are areas: polygons, H3 cells and boxes, beside other columns."""

import numpy as np
import pandas as pd
import polars
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skgeo_embed import (
    PositionalEncoder,
    ResidualInterpolator,
    SpatialConformalRegressor,
    spatial_pipeline,
)
from skgeo_embed.inspection import SpatialErrorDisplay
from skgeo_embed.model_selection import SpatialBlockKFold

geopandas = pytest.importorskip("geopandas")
h3 = pytest.importorskip("h3")

rng = np.random.default_rng(0)
LON, LAT = rng.uniform(0, 20, 60), rng.uniform(40, 55, 60)
ROOMS = np.arange(60) % 3
TARGET = LAT + 2 * ROOMS
CIRCLES = geopandas.GeoSeries(geopandas.points_from_xy(LON, LAT), crs=4326).to_crs(3035)
CIRCLES = CIRCLES.buffer(20_000)
CELLS = [h3.latlng_to_cell(lat, lon, 5) for lon, lat in zip(LON, LAT, strict=True)]
BOXES = pd.DataFrame({"west": LON - 0.2, "south": LAT - 0.2, "east": LON + 0.2, "north": LAT + 0.2})
ALONE = {
    "polygons": CIRCLES,
    "polygons in a frame": geopandas.GeoDataFrame(geometry=CIRCLES),
    "shapely": list(CIRCLES.to_crs(4326)),
    "cells": CELLS,
    "cells in a frame": pd.DataFrame({"cell": CELLS}),
    "boxes": BOXES,
}
WITH_OTHERS = {
    "polygons": geopandas.GeoDataFrame({"rooms": ROOMS}, geometry=CIRCLES),
    "cells": pd.DataFrame({"cell": CELLS, "rooms": ROOMS}),
    "cells of polars": polars.DataFrame({"rooms": ROOMS, "cell": CELLS}),
    "boxes": BOXES.assign(rooms=ROOMS),
}


def encoder():
    return PositionalEncoder(legendre_polys=4, dtype="float64")


@pytest.mark.parametrize("kind", WITH_OTHERS)
def test_the_pipeline_averages_features_over_the_areas(kind):
    table = WITH_OTHERS[kind]
    model = spatial_pipeline(Ridge(), encoder=encoder()).fit(table, TARGET)
    assert model.score(table, TARGET) > 0.9
    features = model[:-1].transform(table)
    alone = ALONE["boxes" if kind == "boxes" else kind.split()[0]]
    wanted = encoder().fit_transform(alone)
    found = features.filter(like="encoder__").to_numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    points = encoder().fit_transform(features[["place__lon", "place__lat"]].to_numpy())
    assert np.abs(points - wanted).max() > 1e-6  # they are no features of points
    assert [name for name in features if name.startswith("numbers")] == ["numbers__rooms"]
    np.testing.assert_allclose(features["place__lat"], LAT, atol=0.25)


@pytest.mark.parametrize("kind", ALONE)
def test_areas_alone(kind):
    X = ALONE[kind]
    model = spatial_pipeline(Ridge(), encoder=encoder()).fit(X, TARGET)
    assert model.predict(X).shape == (60,)
    plain = make_pipeline(encoder(), Ridge())
    corrected = ResidualInterpolator(plain).fit(X, TARGET)
    assert np.isfinite(corrected.predict(X)).all()
    low, high = SpatialConformalRegressor(plain).fit(X, TARGET).predict_interval(X).T
    assert (low < high).all()


@pytest.mark.parametrize("kind", WITH_OTHERS)
def test_splitters_and_displays_read_a_place_of_each(kind):
    table = WITH_OTHERS[kind]
    splitter = SpatialBlockKFold(3, block_size=4.0)
    points = np.column_stack([LON, LAT])
    tested = np.concatenate([test for _, test in splitter.split(table)])
    assert sorted(tested) == list(range(60))
    assert len(np.unique(splitter.blocks(table))) == pytest.approx(
        len(np.unique(splitter.blocks(points))), abs=2
    )
    if not isinstance(table, pd.DataFrame):
        return
    model = spatial_pipeline(Ridge(), encoder=encoder())
    scores = cross_val_score(model, table, TARGET, cv=splitter)
    assert np.isfinite(scores).all()
    display = SpatialErrorDisplay.from_estimator(model.fit(table, TARGET), table, TARGET)
    np.testing.assert_allclose(display.lonlat[:, 1], LAT, atol=0.25)


def test_a_model_of_areas_predicts_points_and_one_of_points_areas():
    points = pd.DataFrame({"lon": LON, "lat": LAT, "rooms": ROOMS})
    of_areas = spatial_pipeline(Ridge(), encoder=encoder()).fit(WITH_OTHERS["cells"], TARGET)
    of_points = spatial_pipeline(Ridge(), encoder=encoder()).fit(points, TARGET)
    for model in (of_areas, of_points):
        for table in (points, WITH_OTHERS["cells"], WITH_OTHERS["boxes"]):
            assert model.score(table, TARGET) > 0.9


def test_two_columns_of_cells_are_not_guessed():
    table = pd.DataFrame({"home": CELLS, "work": CELLS})
    with pytest.raises(ValueError, match="there is no column that is recognised as the longitude"):
        spatial_pipeline(Ridge(), encoder=encoder()).fit(table, TARGET)
