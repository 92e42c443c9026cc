"""Tables of patches: the nearest one, or the one in which a place lies."""

import json
import pickle

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import shapely

from skgeo_embed import ImageError, RasterEncoder
from skgeo_embed.rasters import Product
from tests.rasters.small_tiles import pixels_of, write

SIDE = 0.05
LON, LAT = (axis.ravel() for axis in np.meshgrid(8 + SIDE * np.arange(6), 47 + SIDE * np.arange(5)))
VECTORS = np.random.RandomState(0).standard_normal((len(LON), 3)).astype(np.float32)
ROWS = [7, 8, 20]
INSIDE = np.column_stack([LON + 0.3 * SIDE, LAT - 0.2 * SIDE])[ROWS]


def table(path, geometry, vectors=VECTORS, column="embedding", crs=4326, **columns):
    frame = geopandas.GeoDataFrame(columns, geometry=geometry, crs=crs)
    frame[column] = list(vectors)
    frame.to_parquet(path)
    return path


def squares():
    half = SIDE / 2
    return shapely.box(LON - half, LAT - half, LON + half, LAT + half)


@pytest.mark.parametrize("method", ["nearest", "containing"])
def test_squares_as_clay_has_them(tmp_path, method):
    path = table(tmp_path / "clay.parquet", squares(), column="embeddings")
    encoder = RasterEncoder(path, method=method).fit()
    np.testing.assert_array_equal(encoder.transform(INSIDE), VECTORS[ROWS])
    assert encoder.n_tiles_ == 30
    assert list(encoder.get_feature_names_out()) == ["raster000", "raster001", "raster002"]
    with pytest.raises(ValueError, match="no raster has a value at 1 of 1"):
        encoder.transform([[20.0, 50.0]])
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(INSIDE), VECTORS[ROWS])


def test_centres_as_earth_index_has_them(tmp_path):
    path = table(tmp_path / "index.parquet", shapely.points(LON, LAT))
    encoder = RasterEncoder(path, on_invalid="nan").fit()
    np.testing.assert_array_equal(encoder.transform(INSIDE), VECTORS[ROWS])
    with pytest.warns(UserWarning, match="no raster has a value"):
        assert np.isnan(encoder.transform([[9.0, 47.0]])).all()  # fifteen steps away
    with pytest.raises(ValueError, match="points, which cannot contain a place"):
        RasterEncoder(path, method="containing").fit().transform(INSIDE)
    with pytest.raises(ValueError, match="is for rasters"):
        RasterEncoder(path, method="bilinear").fit()


def test_of_patches_that_overlap_the_one_with_the_nearest_centre_counts(tmp_path):
    outlines = [shapely.box(0, 0, 5, 4), shapely.box(1, 0, 3, 4), shapely.box(10, 0, 11, 1)]
    for order in ([0, 1, 2], [2, 1, 0]):
        chosen = [outlines[row] for row in order]
        path = table(tmp_path / "a.parquet", chosen, [[float(row)] for row in order])
        places = [[0.5, 1], [2.0, 2.0], [10, 0], [4, 3]]
        found = RasterEncoder(path, method="containing").fit_transform(places)
        assert found.ravel().tolist() == [0, 1, 2, 0]


def test_across_the_antimeridian(tmp_path):
    outlines = [shapely.box(179, 0, 181, 2), shapely.box(177, 0, 179, 2)]
    path = table(tmp_path / "a.parquet", outlines, [[1.0], [2.0]])
    places = [[179.5, 1], [-179.5, 1], [177.8, 1]]
    for method in ("nearest", "containing"):
        found = RasterEncoder(path, method=method).fit_transform(places)
        assert found.ravel().tolist() == [1, 1, 2]


def test_projected_outlines_and_missing_vectors(tmp_path):
    shapes = geopandas.GeoSeries(squares(), crs=4326).to_crs(32632)
    vectors = [None if row == 8 else vector for row, vector in enumerate(VECTORS)]
    path = table(tmp_path / "a.parquet", shapes.to_numpy(), vectors, crs=32632)
    encoder = RasterEncoder(path, method="containing", on_invalid="nan").fit()
    with pytest.warns(UserWarning, match="at 1 of 3 places"):
        found = encoder.transform(INSIDE)
    np.testing.assert_array_equal(found[[0, 2]], VECTORS[[7, 20]])


def test_years(tmp_path):
    twice, years = np.tile(squares(), 2), np.repeat([2023, 2024], len(LON))
    path = table(tmp_path / "a.parquet", twice, np.concatenate([VECTORS, -VECTORS]), year=years)
    with pytest.raises(ValueError, match="are of the years 2023, 2024"):
        RasterEncoder(path).fit()
    for method in ("nearest", "containing"):
        found = RasterEncoder(path, method=method, year=2024).fit_transform(INSIDE)
        np.testing.assert_array_equal(found, -VECTORS[ROWS])
    frame = pd.DataFrame(INSIDE, columns=["lon", "lat"]).assign(year=[2023, 2024, 2023])
    found = RasterEncoder(path, year="year").fit_transform(frame)
    np.testing.assert_array_equal(found, VECTORS[ROWS] * [[1], [-1], [1]])
    one = table(tmp_path / "one.parquet", squares())
    assert RasterEncoder({2022: one}).fit()._patches.years[0] == 2022


def thirds(raw, scales):
    return raw.astype(np.float32) / 3 * scales[:, None]


def test_quantised_vectors(tmp_path):
    raw = np.round(VECTORS * 40).astype(np.int8)
    path = table(tmp_path / "a.parquet", squares(), raw, scale=np.arange(30.0))
    product = Product("thirds", "int8", None, "scale", thirds)
    found = RasterEncoder(path, quantization=product).fit_transform(INSIDE)
    np.testing.assert_allclose(found, raw[ROWS] / 3 * np.array(ROWS)[:, None], rtol=1e-6)
    said = {"method": "linear", "original_dtype": "float32", "scale": [0.5], "offset": [1.0]}
    asset = {"href": "a.parquet", "type": "application/vnd.apache.parquet"}
    item = {"type": "Feature", "properties": {"emb:quantization": said}}
    item["assets"] = {"embeddings": asset}
    (tmp_path / "item.json").write_text(json.dumps(item))
    found = RasterEncoder(tmp_path / "item.json").fit_transform(INSIDE)
    np.testing.assert_allclose(found, raw[ROWS] * 0.5 + 1)


def test_several_tables_are_one(tmp_path):
    first = table(tmp_path / "a.parquet", squares()[:10], VECTORS[:10])
    second = table(tmp_path / "b.parquet", squares()[10:], VECTORS[10:])
    found = RasterEncoder([first, second]).fit_transform(INSIDE)
    np.testing.assert_array_equal(found, VECTORS[ROWS])
    wide = table(tmp_path / "c.parquet", squares(), np.ones((30, 4)))
    with pytest.raises(ImageError, match=r"differ in their columns: .* has 3, .*c.parquet 4"):
        RasterEncoder([first, wide]).fit()
    with pytest.raises(ImageError, match=r"a table of patches and .* a raster"):
        RasterEncoder([first, write(tmp_path / "tile.tif", pixels_of())]).fit()


def test_tables_that_cannot_be_meant(tmp_path):
    lists = {"a": list(VECTORS), "b": list(VECTORS)}
    two = geopandas.GeoDataFrame(lists, geometry=squares(), crs=4326)
    two.to_parquet(tmp_path / "two.parquet")
    with pytest.raises(ImageError, match=r"one column of vectors.*are a, b"):
        RasterEncoder(tmp_path / "two.parquet").fit()
    ragged = [vector[: 2 + row % 2] for row, vector in enumerate(VECTORS)]
    table(tmp_path / "ragged.parquet", squares(), ragged)
    with pytest.raises(ImageError, match="differ in length"):
        RasterEncoder(tmp_path / "ragged.parquet").fit()
    parquet.write_table(pa.table({"embedding": list(VECTORS)}), tmp_path / "nowhere.parquet")
    with pytest.raises(ImageError, match="states no geometries"):
        RasterEncoder(tmp_path / "nowhere.parquet").fit()
    two[["geometry"]].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(ImageError, match=r"one column of paths .*or be GeoParquet with a column"):
        RasterEncoder(tmp_path / "none.parquet").fit()
