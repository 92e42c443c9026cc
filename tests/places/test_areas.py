"""Areas: their mean is that of dense sampling, whatever they are written as."""

import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pytest
import shapely
from pyproj import Transformer

from skgeo_embed import CoordinateError, PositionalEncoder, SatCLIPEncoder
from skgeo_embed.places import areas as module
from skgeo_embed.places.areas import area_sampling, points_in_areas, square_km
from skgeo_embed.places.reading import Reader, read_coordinates
from tests.encoders.zoo import GLOBAL, MAKERS

HOLED = shapely.Polygon([(0, 0), (10, 0), (0, 10)], [[(1, 1), (4, 1), (1, 4)]])
AREAS = [
    shapely.box(-10, 20, 20, 60),
    HOLED,
    shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(4, 0, 6, 1)]),
    shapely.box(170, -20, 190, 20),  # across the antimeridian
    shapely.box(-180, 70, 180, 90),  # around a pole
    shapely.Polygon([(0, 0), (2, 2), (0, 2), (2, 0)]),  # a bow tie
    shapely.Polygon([(5, 40), (25, 60), (25.2, 60), (5.2, 40)]),  # a sliver of its bounds
    shapely.Polygon([(0, 0), (0, 60), (180, 60), (180, 0)]),  # half round
]


def dense_mean(function, polygon, cells=400):
    """The midpoint rule on an equal-area grid."""
    west, south, east, north = polygon.bounds
    low, high = np.sin(np.deg2rad([south, north]))
    middle = (np.arange(cells) + 0.5) / cells
    lon, sine = np.meshgrid(west + middle * (east - west), low + middle * (high - low))
    lon, lat = lon.ravel(), np.rad2deg(np.arcsin(sine.ravel()))
    inside = shapely.contains_xy(polygon.buffer(0) if not polygon.is_valid else polygon, lon, lat)
    if not polygon.is_valid:  # buffer(0) may drop a part
        inside = shapely.contains_xy(shapely.make_valid(polygon), lon, lat)
    return function(np.column_stack([lon[inside], lat[inside]])).mean(axis=0)


def points_of(areas, *sampling):
    values = np.empty(len(areas), dtype=object)
    values[:] = areas
    read = Reader().read(values).areas
    if read is None:
        read = values
    pieces = list(points_in_areas(read, area_sampling(*sampling)))
    lonlat = np.concatenate([points for _, points, _ in pieces])
    owner = np.concatenate([rows.start + area for rows, _, area in pieces])
    return [lonlat[owner == row] for row in range(len(areas))]


@pytest.mark.parametrize("name", GLOBAL)
def test_every_encoder_averages(name):
    encoder = MAKERS[name](area_points=9, dtype="float64").fit()
    areas = gpd.GeoSeries([HOLED, shapely.Point(7, 8), shapely.box(10, 2, 12, 9)], crs=4326)
    features = encoder.transform(areas)
    for row, points in enumerate(points_of(areas, 9, "mean")):
        assert len(points) == (1 if row == 1 else 9)
        np.testing.assert_allclose(
            features[row], encoder.transform(points).mean(axis=0), rtol=0, atol=1e-12
        )
    spread = MAKERS[name](area_points=9, dtype="float64", area_statistic="std").fit()
    deviation = spread.transform(areas)
    assert (deviation[1] == 0).all()
    expected = encoder.transform(points_of(areas, 9, "mean")[2]).std(axis=0)
    np.testing.assert_allclose(deviation[2], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("area", AREAS, ids=range(len(AREAS)))
def test_the_mean_is_that_of_dense_integration(area):
    encoder = PositionalEncoder(legendre_polys=8, area_points=1024).fit()
    expected = dense_mean(lambda lonlat: encoder.transform(_wrapped(lonlat)), area)
    found = encoder.transform(np.array([area], dtype=object))[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02)
    few = encoder.set_params(area_points=64).fit().transform([area])[0]
    np.testing.assert_allclose(few, expected, rtol=0, atol=0.12)


def _wrapped(lonlat):
    return np.column_stack([(lonlat[:, 0] + 180) % 360 - 180, lonlat[:, 1]])


def test_points_are_inside_and_even():
    for area, points in zip(AREAS, points_of(AREAS, 64, "mean"), strict=True):
        assert len(points) == 64
        shifted = points + np.where(points[:, :1] < area.bounds[0], [[360.0, 0]], [[0, 0]])
        assert shapely.contains_xy(shapely.make_valid(area), *shifted.T).all()
        assert len(np.unique(points, axis=0)) == 64
    north = points_of([shapely.box(0, 0, 10, 90)], 1000, "mean")[0][:, 1]
    assert np.mean(north > 30) == pytest.approx(0.5, abs=0.005)  # half of the sphere's surface


def test_it_is_the_same_every_time_and_in_any_company(monkeypatch):
    alone = [points_of([area], 40, "mean")[0] for area in AREAS]
    together = points_of(AREAS, 40, "mean")
    monkeypatch.setattr(module, "POINTS_AT_A_TIME", 50)  # an area at a time
    in_pieces = points_of(AREAS, 40, "mean")
    for first, second, third in zip(alone, together, in_pieces, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, third)


def test_a_bounded_number_of_points_is_held(monkeypatch):
    monkeypatch.setattr(module, "POINTS_AT_A_TIME", 100)
    areas = np.array([shapely.box(i, 0, i + 1, 1) for i in range(9)], dtype=object)
    pieces = list(points_in_areas(areas, area_sampling(30, "mean")))
    assert [len(points) for _, points, _ in pieces] == [90, 90, 90]
    assert [rows for rows, _, _ in pieces] == [slice(0, 3), slice(3, 6), slice(6, 9)]


def test_spacing():
    box = shapely.box(0, 0, 1, 1)
    surface = square_km(np.array([box]))[0]
    assert surface == pytest.approx(111.195**2, rel=1e-3)
    assert len(points_of([box], "10km", "mean")[0]) == round(surface / 100)
    assert len(points_of([box], "500 km", "mean")[0]) == 1
    assert len(points_of([box], "20000m", "mean")[0]) == round(surface / 400)
    line = shapely.LineString([(0, 60), (10, 60)])
    assert len(points_of([line], "10km", "mean")[0]) == 56  # half of 10° of the equator
    whole = square_km(np.array([shapely.box(-180, -90, 180, 90)]))[0]
    assert whole == pytest.approx(4 * np.pi * 6371.0088**2)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "5", "5 miles", "0km", "-3km", None, "km"])
def test_what_area_points_cannot_be(wrong):
    with pytest.raises(ValueError, match="area_points"):
        PositionalEncoder(area_points=wrong).fit()


def test_lines_and_several_points():
    line = shapely.LineString([(0, 0), (8, 0)])
    np.testing.assert_allclose(points_of([line], 4, "mean")[0], [[1, 0], [3, 0], [5, 0], [7, 0]])
    two = shapely.MultiLineString([[(0, 0), (1, 0)], [(5, 0), (6, 0)]])
    np.testing.assert_allclose(
        points_of([two], 4, "mean")[0], [[0.25, 0], [0.75, 0], [5.25, 0], [5.75, 0]]
    )
    steep = shapely.LineString([(0, 59), (2, 59), (2, 61)])  # 1° of longitude is half as long
    points = points_of([steep], 300, "mean")[0]
    assert np.mean(points[:, 0] < 2) == pytest.approx(1 / 3, abs=0.01)
    some = shapely.MultiPoint([(1, 2), (3, 4), (179, 5)])
    np.testing.assert_array_equal(points_of([some], 64, "mean")[0], [[1, 2], [3, 4], [179, 5]])


def test_slivers_have_their_representative_point():
    flat = shapely.Polygon([(3, 4), (5, 6), (3, 4)])
    thin = shapely.Polygon([(0, 0), (10, 10), (10, 10 + 1e-9)])
    for points in points_of([flat, thin], 8, "mean"):
        assert len(points) >= 1
        assert ((points >= 0) & (points <= 10)).all()


def test_boxes_are_columns():
    frame = pd.DataFrame(
        {"east": [3.0, -178.0], "north": [4.0, 9.0], "west": [1.0, 177.0], "south": [2.0, -1.0]}
    )
    encoder = PositionalEncoder(legendre_polys=4).fit(frame)
    expected = [shapely.box(1, 2, 3, 4), shapely.box(177, -1, 182, 9)]
    np.testing.assert_array_equal(encoder.transform(frame), encoder.transform(expected))
    bounds = gpd.GeoSeries(expected).bounds  # minx, miny, maxx, maxy
    of_bounds = PositionalEncoder(legendre_polys=4).fit_transform(bounds)
    np.testing.assert_array_equal(of_bounds, encoder.transform(expected))
    frame.loc[1, "south"] = 10.0
    with pytest.raises(CoordinateError, match=r"'south' is more than 'north' in 1 row.*row 1: 10"):
        encoder.transform(frame)


CELLS = ["85283473fffffff", "8029fffffffffff", "8003fffffffffff", "837eb5fffffffff"]


@pytest.mark.parametrize(
    "make",
    [
        list,
        pd.Series,
        np.array,
        lambda cells: [int(cell, 16) for cell in cells],
        lambda cells: np.array([int(cell, 16) for cell in cells], dtype=np.uint64),
        lambda cells: pd.DataFrame({"h3": cells}),
    ],
)
def test_h3_cells(make):
    import h3

    encoder = PositionalEncoder(legendre_polys=6, area_points=400).fit()
    found = encoder.fit_transform(make(CELLS))
    for row, cell in enumerate(CELLS):
        children = h3.cell_to_children(cell, h3.get_resolution(cell) + 4)
        centres = [h3.cell_to_latlng(child)[::-1] for child in children]
        size = [h3.cell_area(child) for child in children]
        expected = np.average(encoder.transform(np.array(centres)), axis=0, weights=size)
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=0.02)


def test_wrong_h3_cells():
    encoder = PositionalEncoder(legendre_polys=4, on_invalid="nan").fit()
    found = encoder.transform([CELLS[0], None])
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    with pytest.raises(CoordinateError, match="row 1 is 'Paris', which is not an H3 cell"):
        encoder.transform([CELLS[0], "Paris"])
    with pytest.raises(CoordinateError):
        encoder.transform(["Paris", "Berlin"])


def test_projected_areas_across_the_antimeridian_and_around_a_pole():
    fiji = gpd.GeoSeries([shapely.box(1_900_000, 3_800_000, 2_100_000, 4_000_000)], crs=3832)
    encoder = PositionalEncoder(legendre_polys=8, area_points=400).fit()
    degrees = fiji.to_crs(4326).iloc[0].bounds
    expected = encoder.transform([shapely.box(*degrees)])
    np.testing.assert_allclose(encoder.transform(fiji), expected, atol=0.02)
    chatham = gpd.GeoSeries([shapely.box(3_000_000, -150_000, 3_400_000, 150_000)], crs=3832)
    points = points_of_geo(chatham)
    assert points[:, 0].min() > 177 or points[:, 0].max() < 180
    cap = gpd.GeoSeries([shapely.Point(0, 0).buffer(1_000_000)], crs=3995)  # arctic, metres
    points = points_of_geo(cap)
    assert points[:, 1].min() > 80
    assert np.ptp(points[:, 0]) > 340
    expected = encoder.transform([shapely.box(-180, 81.1, 180, 90)])
    np.testing.assert_allclose(encoder.transform(cap), expected, atol=0.05)


def points_of_geo(series):
    areas = Reader().read(series).areas
    return np.concatenate([p for _, p, _ in points_in_areas(areas, area_sampling(200, "mean"))])


def test_what_areas_cannot_be():
    encoder = PositionalEncoder(legendre_polys=4)
    with pytest.raises(CoordinateError, match=r"row 1 has an edge of 358° of longitude"):
        encoder.fit_transform([HOLED, shapely.box(-179, 0, 179, 1)])
    with pytest.raises(CoordinateError, match="360°"):
        encoder.fit_transform([shapely.Polygon([(180, 0), (-180, 9), (-170, 0)])])
    with pytest.raises(CoordinateError, match="360°"):
        encoder.fit_transform([shapely.LineString([(180, 0), (-180, 0)])])
    metres = shapely.box(500_000, 4_000_000, 500_100, 4_000_100)
    with pytest.raises(CoordinateError, match="look like projected coordinates"):
        encoder.fit_transform([metres])
    with pytest.raises(CoordinateError, match=r"GeometryCollection.*explode"):
        encoder.fit_transform([HOLED, shapely.GeometryCollection([HOLED, shapely.Point(0, 0)])])
    with pytest.raises(CoordinateError, match=r"1 row\(s\) with NaN.*row 1"):
        encoder.fit_transform([HOLED, shapely.Polygon()])
    with pytest.raises(CoordinateError, match="no CRS"):
        encoder.fit_transform(gpd.GeoSeries([HOLED]))
    kept = PositionalEncoder(legendre_polys=4, on_invalid="nan")
    with pytest.warns(UserWarning, match="lie outside"):
        found = kept.fit_transform([HOLED, None, shapely.Polygon(), metres])
    assert np.isfinite(found[:, 0]).tolist() == [True, False, False, False]
    with pytest.raises(CoordinateError, match="geometries are not points"):
        read_coordinates([HOLED])  # what is no encoder takes points


def test_pipelines_frames_and_grids():
    frame = gpd.GeoDataFrame({"price": [1.0, 2.0]}, geometry=[HOLED, AREAS[0]], crs=4326)
    encoder = SatCLIPEncoder("bluemarble-l10").set_output(transform="pandas")
    found = encoder.fit_transform(frame)
    assert list(found.index) == list(frame.index)
    assert found.shape == (2, 512)
    deviation = PositionalEncoder(legendre_polys=4, area_statistic="std").fit()
    with pytest.raises(ValueError, match='area_statistic="mean", got "std"'):
        deviation.transform_grid([1, 2], [3, 4])
    assert (deviation.transform([[1, 2], [3, 4]]) == 0).all()


def test_projected_areas_of_the_whole_width_of_a_map():
    encoder = PositionalEncoder(legendre_polys=4, area_points=400).fit()
    world = gpd.GeoSeries([shapely.box(-20037508.34, -1e7, 20037508.34, 1e7)], crs=3857)
    south, north = world.to_crs(4326).total_bounds[[1, 3]]
    expected = encoder.transform([shapely.box(-180, south, 180, north)])
    np.testing.assert_allclose(encoder.transform(world), expected, atol=0.02)
    wide = gpd.GeoSeries([shapely.box(-100, 0, 100, 10)], crs=4326).to_crs(3857)
    expected = encoder.transform([shapely.box(-100, 0, 100, 10).segmentize(10)])
    np.testing.assert_allclose(encoder.transform(wide), expected, atol=0.02)


def test_projected_parts_on_both_sides_of_the_antimeridian():
    parts = [shapely.box(179.5, 0, 180.5, 1), shapely.box(-180.5, 2, -179.5, 3)]
    to_metres = Transformer.from_crs(4326, 3832, always_xy=True).transform
    moved = shapely.transform(
        shapely.MultiPolygon(parts), lambda c: np.column_stack(to_metres(c[:, 0], c[:, 1]))
    )
    encoder = PositionalEncoder(legendre_polys=4, area_points=100).fit()
    found = encoder.transform(gpd.GeoSeries([moved], crs=3832))
    expected = encoder.transform(
        [shapely.MultiPolygon([parts[0], shapely.box(179.5, 2, 180.5, 3)])]
    )
    np.testing.assert_allclose(found, expected, atol=1e-3)
    with pytest.raises(CoordinateError, match="GeometryCollection"):
        encoder.transform(gpd.GeoSeries([shapely.GeometryCollection([moved])], crs=3832))


def test_small_parts_far_apart_share_the_points_by_their_surface():
    two = shapely.MultiPolygon([shapely.box(0, 0, 0.01, 0.01), shapely.box(60, 0, 60.03, 0.01)])
    points = points_of([two], 64, "mean")[0]
    assert len(points) == 64
    assert np.count_nonzero(points[:, 0] < 1) == 16
    ring = shapely.Point(0, 0).buffer(20).difference(shapely.Point(0, 0).buffer(19.9))
    assert len(points_of([ring], 64, "mean")[0]) == 64
    many = shapely.MultiPolygon([shapely.box(i, 0, i + 0.5, 0.5) for i in range(100)])
    assert len(points_of([many], 7, "mean")[0]) == 7  # fewer than parts


def test_corners_that_are_missing():
    encoder = PositionalEncoder(legendre_polys=4, on_invalid="nan").fit()
    gaps = [
        shapely.Polygon([(10, 40), (np.nan, 42), (12, 40), (12, 41)]),
        shapely.LineString([(10, 40), (np.nan, np.nan), (12, 40)]),
        shapely.MultiPoint([(10, 40), (np.nan, 42)]),
        HOLED,
    ]
    assert np.isnan(encoder.transform(gaps)[:, 0]).tolist() == [True, True, True, False]
    with pytest.raises(CoordinateError, match=r"3 row\(s\) with NaN"):
        PositionalEncoder(legendre_polys=4).fit_transform(gaps)


@pytest.mark.parametrize("wrong", [10**12, "0.1m", "0.0000001m"])
def test_more_points_than_anybody_can_mean(wrong):
    with pytest.raises(ValueError, match=r"points in one area, more than 10,000,000"):
        PositionalEncoder(legendre_polys=4, area_points=wrong).fit_transform([AREAS[0]])


@pytest.mark.parametrize("make", [lambda c: pd.Series(c, dtype="Int64"), pl.Series])
def test_numbers_of_cells_with_gaps(make):
    cells = make([int(CELLS[0], 16), None])
    encoder = PositionalEncoder(legendre_polys=4, on_invalid="nan").fit()
    found = encoder.transform(cells)
    np.testing.assert_array_equal(found[0], encoder.transform([CELLS[0]])[0])
    assert np.isnan(found[1]).all()


def test_areas_that_cannot_be_meant_are_nan_where_that_was_asked_for():
    boxes = [shapely.box(i, 0, i + 1, 1) for i in range(5)]
    boxes[1] = shapely.GeometryCollection([boxes[0], shapely.Point(1, 2)])
    boxes[3] = shapely.Polygon([(-170, 0), (170, 0), (170, 5), (-170, 5)])
    areas = gpd.GeoSeries(boxes, crs=4326)
    encoder = PositionalEncoder(legendre_polys=3, on_invalid="nan").fit()
    with pytest.warns(UserWarning, match=r"first: row 1, a GeometryCollection"):
        found = encoder.transform(areas)
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False, True, False]
    with pytest.warns(UserWarning, match=r"row 3 has an edge of 340°"):
        encoder.transform(areas[[0, 2, 3]].reset_index(drop=True)[[0, 1, 2, 2]].iloc[[0, 1, 1, 2]])


DISC = shapely.Point(0, 0).buffer(2e6)
AROUND_A_POLE = {
    "a ring": DISC.difference(shapely.Point(0, 0).buffer(1e6)),
    "a ring that runs clockwise": DISC.difference(shapely.Point(0, 0).buffer(1e6)).reverse(),
    "a hole beside the pole": DISC.difference(shapely.Point(1.2e6, 0).buffer(3e5)),
    "a hole that touches the pole": DISC.difference(shapely.Point(5e5, 0).buffer(5e5)),
    "two holes": DISC.difference(shapely.MultiPoint([(0, 0), (12e5, 0)]).buffer(3e5)),
    "an island in the hole": shapely.MultiPolygon(
        [DISC.difference(shapely.Point(0, 0).buffer(1e6)), shapely.Point(1e5, 1e5).buffer(5e5)]
    ),
    "a corner at the pole": shapely.Polygon([(0, 0), (1e6, 1e5), (1e6, -1e5)]),
    "beyond the equator": shapely.Point(0, 0).buffer(1.1e7),
}


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:3031", "EPSG:3573"])
@pytest.mark.parametrize("name", AROUND_A_POLE)
def test_areas_around_a_pole_keep_their_holes(name, crs):
    area = AROUND_A_POLE[name]
    read = Reader().read(gpd.GeoSeries([area], crs=crs)).areas
    points = np.concatenate([p for _, p, _ in points_in_areas(read, area_sampling(500, "mean"))])
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*points.T)
    assert shapely.contains_xy(area.buffer(5e3), x, y).all()
    if crs == "EPSG:3573":  # of equal area
        assert square_km(read)[0] == pytest.approx(area.area / 1e6, rel=0.02)
