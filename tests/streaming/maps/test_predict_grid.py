"""Maps of predictions: values, grids, files, and runs that end early."""

import json
import os
import signal
import warnings

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray
from pyproj import Transformer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from skgeo_embed import (
    AreaOfApplicability,
    PositionalEncoder,
    ResidualInterpolator,
    SpatialConformalRegressor,
    predict_grid,
)
from skgeo_embed.streaming.maps import engine, grids

rng = np.random.default_rng(0)
PLACES = pd.DataFrame({"lon": rng.uniform(-180, 180, 200), "lat": rng.uniform(-60, 80, 200)})
TARGET = (PLACES["lat"] + 20 * np.sin(np.deg2rad(PLACES["lon"]))).to_numpy()
CLASSES = np.array(["cold", "mild day", "a/b"])[np.digitize(TARGET, [0, 30])]
EUROPE = (-10, 35, 30, 60)
PACIFIC = (170, -20, -170, -10)


def encoded(model):
    return make_pipeline(PositionalEncoder(legendre_polys=4, dtype="float64"), model)


MODEL = encoded(Ridge()).fit(PLACES, TARGET)


def centres(dataset_or_file):
    """Return degrees of all cells, as a user of GIS programs finds them."""
    file = dataset_or_file
    rows, columns = np.meshgrid(np.arange(file.height), np.arange(file.width), indexing="ij")
    x, y = file.transform @ (columns.ravel() + 0.5, rows.ravel() + 0.5)
    to_degrees = Transformer.from_crs(file.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(x, y)
    return pd.DataFrame({"lon": (np.asarray(lon) + 180) % 360 - 180, "lat": lat})


@pytest.mark.parametrize(
    ("region", "crs", "resolution"),
    [
        (EUROPE, None, 0.5),
        (EUROPE, "EPSG:3035", "50km"),
        (EUROPE, "EPSG:3857", 50_000),
        ((6, 40, 18, 50), "EPSG:32633", "10000m"),
        (PACIFIC, None, 0.5),
        (PACIFIC, "EPSG:3832", "100km"),
        ((-180, 60, 180, 90), "EPSG:3413", "100km"),
    ],
)
@pytest.mark.parametrize("suffix", ["tif", "zarr", "nc"])
def test_a_cell_has_the_models_value_at_its_centre(tmp_path, region, crs, resolution, suffix):
    file = tmp_path / f"map.{suffix}"
    made = predict_grid(
        MODEL, file, region=region, crs=crs, resolution=resolution, dtype="float64", verbose=False
    )
    assert made == file
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    address = {"tif": file, "zarr": f'ZARR:"{file}":/prediction', "nc": f"netcdf:{file}:prediction"}
    with rasterio.open(address[suffix]) as opened:
        assert opened.crs.to_epsg() == (4326 if crs is None else int(crs[5:]))
        assert np.isnan(opened.nodata)
        found, places = opened.read(1).ravel(), centres(opened)
        assert opened.transform.e < 0  # from north to south
    there = ~np.isnan(found)
    assert there.mean() > 0.7  # the corners of a polar map in Mercator are off the Earth
    np.testing.assert_allclose(found[there], MODEL.predict(places[there]), rtol=1e-9, atol=1e-9)


def test_without_an_output_it_is_a_dataset():
    dataset = predict_grid(MODEL, region=PACIFIC, resolution=1, name="heat", units="K")
    assert dataset["heat"].dims == ("lat", "lon")
    assert dataset["heat"].dtype == np.float64
    assert dataset["heat"].attrs["units"] == "K"
    assert dataset.lon.values[[0, -1]].tolist() == [170.5, 189.5]
    assert dataset.lat.values[[0, -1]].tolist() == [-10.5, -19.5]
    assert "4326" in dataset.spatial_ref.attrs["crs_wkt"]
    expected = MODEL.predict(pd.DataFrame({"lon": [-170.5], "lat": [-19.5]}))
    assert dataset["heat"].values[-1, -1] == pytest.approx(expected[0])


def test_xarray_reads_zarr_and_netcdf_as_it_was_returned(tmp_path):
    options = {"region": EUROPE, "crs": "EPSG:3035", "resolution": "100km", "verbose": False}
    returned = predict_grid(MODEL, dtype="float32", **options)
    for suffix, engine_name in (("zarr", "zarr"), ("nc", "h5netcdf")):
        predict_grid(MODEL, tmp_path / f"map.{suffix}", **options)
        found = xarray.open_dataset(
            tmp_path / f"map.{suffix}", engine=engine_name, decode_coords="all"
        )
        xarray.testing.assert_equal(found, returned)
        assert found["prediction"].encoding["grid_mapping"] == "spatial_ref"
        assert found.x.attrs["units"] == "m"
        assert found.attrs["model"] == repr(MODEL)


def test_rioxarray_reads_all_formats(tmp_path):
    rioxarray = pytest.importorskip("rioxarray")
    options = {"region": EUROPE, "crs": "EPSG:3035", "resolution": "100km", "verbose": False}
    for suffix in ("tif", "nc", "zarr"):
        predict_grid(MODEL, tmp_path / f"map.{suffix}", name="heat", units="K", **options)
    tif = rioxarray.open_rasterio(tmp_path / "map.tif", masked=True)
    assert tif.attrs["long_name"] == "heat"
    for name, engine_name in (("map.nc", "h5netcdf"), ("map.zarr", "zarr")):
        found = xarray.open_dataset(tmp_path / name, engine=engine_name, decode_coords="all")
        assert found.rio.crs == tif.rio.crs
        assert found.rio.transform() == tif.rio.transform()
        np.testing.assert_array_equal(found["heat"], tif[0])


def test_a_geotiff_says_what_it_is(tmp_path):
    predict_grid(
        MODEL, tmp_path / "map.tif", resolution=0.25, name="heat", units="K", verbose=False
    )
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.descriptions == ("heat",)
        assert file.units == ("K",)
        assert file.tags()["model"] == repr(MODEL)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2, 4]
        assert file.profile["compress"] == "deflate"
        assert file.block_shapes == [(512, 512)]


def test_classes_have_their_names_in_the_file(tmp_path):
    model = encoded(LogisticRegression(max_iter=300)).fit(PLACES.to_numpy(), CLASSES)
    predict_grid(model, tmp_path / "c.tif", region=EUROPE, resolution=2, mask="land", verbose=False)
    with rasterio.open(tmp_path / "c.tif") as file:
        assert file.profile["dtype"] == "uint8"
        assert file.nodata == 255
        assert json.loads(file.tags(1)["class_names"]) == ["a/b", "cold", "mild day"]
        assert len({file.colormap(1)[code] for code in range(3)}) == 3
        codes, places = file.read(1).ravel(), centres(file)
    there = codes != 255
    assert 0.3 < there.mean() < 0.8
    expected = model.predict(places.to_numpy()[there])
    assert (model.classes_[codes[there]] == expected).all()
    dataset = predict_grid(model, region=EUROPE, resolution=2, probabilities=True)
    attributes = dataset["class"].attrs
    assert attributes["flag_values"].tolist() == [0, 1, 2]
    assert attributes["flag_meanings"] == "a/b cold mild_day"
    share = [dataset[f"probability_{name}"] for name in ("a_b", "cold", "mild day")]
    np.testing.assert_allclose(sum(share), 1)
    assert (np.argmax(share, axis=0) == dataset["class"]).all()


def test_more_classes_than_a_type_holds():
    classes = np.arange(200)
    model = encoded(KNeighborsRegressor(1)).fit(PLACES, TARGET)
    with pytest.raises(ValueError, match='dtype="int8" would round predictions'):
        predict_grid(model, resolution=30, dtype="int8")
    many = encoded(KNeighborsClassifier(1)).fit(pd.concat([PLACES] * 2), np.tile(classes, 2))
    with pytest.raises(ValueError, match=r'"int8" can hold 127 classes .* has 200; .*"uint8"'):
        predict_grid(many, resolution=30, dtype="int8")
    assert predict_grid(many, resolution=30)["class"].dtype == np.uint8


def test_intervals_and_applicability_are_bands_of_one_pass(tmp_path, monkeypatch):
    inner = encoded(Ridge())
    model = SpatialConformalRegressor(inner).fit(PLACES, TARGET)
    area = AreaOfApplicability.from_model(model, PLACES)
    counted = []
    encode = PositionalEncoder.encode
    monkeypatch.setattr(
        PositionalEncoder, "encode", lambda self, x: counted.append(len(x)) or encode(self, x)
    )
    dataset = predict_grid(model, region=EUROPE, resolution=5, applicability=area, verbose=False)
    assert counted == [40, 40]  # a sample, and the map: each place once for all bands
    assert list(dataset) == ["prediction", "lower", "upper", "dissimilarity", "applicable"]
    lon, lat = np.meshgrid(dataset.lon, dataset.lat)
    places = pd.DataFrame({"lon": lon.ravel(), "lat": lat.ravel()})
    low, high = model.predict_interval(places).T
    np.testing.assert_allclose(dataset["lower"].values.ravel(), low)
    np.testing.assert_allclose(dataset["upper"].values.ravel(), high)
    index = area.dissimilarity(places)
    np.testing.assert_allclose(dataset["dissimilarity"].values.ravel(), index, rtol=1e-5)
    assert (dataset["applicable"].values.ravel() == (area.predict(places) == 1)).all()


def test_applicability_of_a_pipeline_and_of_features():
    features = MODEL[:-1].transform(PLACES)
    plain = AreaOfApplicability().fit(features)
    chained = make_pipeline(MODEL[0], AreaOfApplicability()).fit(PLACES)
    options = {"region": EUROPE, "resolution": 10, "verbose": False}
    of_features = predict_grid(MODEL, applicability=plain, **options)
    of_pipeline = predict_grid(MODEL, applicability=chained, **options)
    xarray.testing.assert_allclose(of_features, of_pipeline)
    wrong = AreaOfApplicability().fit(features[:, :3])
    with pytest.raises(ValueError, match=r"fitted on 3 features, and .* reads 16; .*from_model"):
        predict_grid(MODEL, applicability=wrong, **options)


def test_several_outputs():
    both = np.column_stack([TARGET, -TARGET])
    model = encoded(LinearRegression()).fit(PLACES, both)
    dataset = predict_grid(model, region=EUROPE, resolution=10, name=["a", "b"], units=["K", "m"])
    np.testing.assert_allclose(dataset["a"], -dataset["b"])
    assert dataset["b"].attrs["units"] == "m"
    unnamed = predict_grid(model, region=EUROPE, resolution=10)
    assert list(unnamed) == ["prediction_0", "prediction_1"]


@pytest.mark.parametrize("places", ["frame", "array", "renamed", "beside", "search"])
def test_models_are_given_the_table_that_they_were_fitted_with(places):
    if places == "renamed":
        table = PLACES.rename(columns={"lon": "east", "lat": "north"})
        encoder = PositionalEncoder(legendre_polys=4, dtype="float64", lon="east", lat="north")
        model = make_pipeline(encoder, Ridge()).fit(table, TARGET)
    elif places == "array":
        model = encoded(Ridge()).fit(PLACES.to_numpy(), TARGET)
    elif places == "search":
        model = GridSearchCV(encoded(Ridge()), {"ridge__alpha": [1.0]}, cv=2).fit(PLACES, TARGET)
    elif places == "beside":
        features = MODEL[:-1].transform(PLACES)[:, 0:1] * 0 + 3.0
        model = ResidualInterpolator(LinearRegression()).fit(features, TARGET, coords=PLACES)
        dataset = predict_grid(model, region=EUROPE, resolution=5, covariates={"x0": 3.0})
        at = [[-7.5, 57.5]]
        assert dataset["prediction"].values[0, 0] == pytest.approx(
            model.predict(np.array([[3.0]]), coords=at)[0]
        )
        return
    else:
        model = MODEL
    dataset = predict_grid(model, region=EUROPE, resolution=5)
    expected = MODEL.predict(pd.DataFrame({"lon": [-7.5], "lat": [57.5]}))
    assert dataset["prediction"].values[0, 0] == pytest.approx(expected[0])


def test_a_model_of_a_geodataframe():
    geopandas = pytest.importorskip("geopandas")
    points = geopandas.points_from_xy(PLACES["lon"], PLACES["lat"])
    table = geopandas.GeoDataFrame(geometry=points, crs="EPSG:4326")
    model = encoded(Ridge()).fit(table, TARGET)
    dataset = predict_grid(model, region=EUROPE, resolution=5)
    expected = MODEL.predict(pd.DataFrame({"lon": [-7.5], "lat": [57.5]}))
    assert dataset["prediction"].values[0, 0] == pytest.approx(expected[0])


@pytest.fixture
def slope(tmp_path):
    """Write a raster in another CRS that covers a part of Europe."""
    profile = {
        "driver": "GTiff",
        "width": 40,
        "height": 30,
        "count": 1,
        "dtype": "float32",
        "nodata": -9999,
        "crs": "EPSG:3035",
        "transform": rasterio.Affine(50_000, 0, 3_000_000, 0, -50_000, 3_500_000),
    }
    with rasterio.open(tmp_path / "slope.tif", "w", **profile) as file:
        file.write(np.arange(1200, dtype="float32").reshape(1, 30, 40))
    return tmp_path / "slope.tif"


def with_slope(model=None):
    table = PLACES.assign(slope=np.arange(200.0), year=2020 + np.arange(200) % 3)
    return LinearRegression().fit(table, table["slope"] * 2 + table["year"])


def test_other_columns_come_from_rasters_and_constants(slope):
    with pytest.warns(UserWarning, match=r"covariates\['slope'\] has no value in 640 of 1,000"):
        dataset = predict_grid(
            with_slope(),
            region=EUROPE,
            resolution=1,
            covariates={"slope": slope, "year": 2024},
            verbose=False,
        )
    found = dataset["prediction"].values
    with rasterio.open(slope) as file:
        lon, lat = np.meshgrid(dataset.lon, dataset.lat)
        x, y = Transformer.from_crs("EPSG:4326", file.crs, always_xy=True).transform(lon, lat)
        pixels = [v[0] for v in file.sample(zip(x.ravel(), y.ravel(), strict=True))]
        outside = ~(
            (x > file.bounds.left)
            & (x < file.bounds.right)
            & (y > file.bounds.bottom)
            & (y < file.bounds.top)
        )
    expected = np.where(outside, np.nan, np.reshape(pixels, lon.shape) * 2 + 2024)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_missing_covariate_is_named_before_anything_is_computed(slope, tmp_path):
    def refused(message, **covariates):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            predict_grid(with_slope(), tmp_path / "m.tif", resolution=1, covariates=covariates)

    refused("2 column.s. that the map does not have: 'slope', 'year'")
    refused("column.s. that the map does not have: 'year'", slope=slope)
    refused("covariates has 'hight', which the model was not", slope=1, year=1, hight=slope)
    refused(r"covariates\['slope'\]: there is no file", slope="no.tif", year=1)
    refused(r"covariates\['year'\] must be a raster .* or a constant, got list", slope=1, year=[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slope.tif"]


def test_a_grid_like_another_raster_is_that_rasters_to_the_bit(tmp_path):
    transform = rasterio.Affine(0.1 + 1e-13, 0, 1 / 3, 0, -0.1, 50 + 1e-9)
    profile = {"driver": "GTiff", "width": 7, "height": 5, "count": 1, "dtype": "uint8"}
    with rasterio.open(
        tmp_path / "like.tif", "w", **profile, crs="EPSG:4258", transform=transform
    ) as file:
        file.write(np.ones((1, 5, 7), dtype="uint8"))
    predict_grid(MODEL, tmp_path / "map.tif", like=tmp_path / "like.tif", verbose=False)
    with rasterio.open(tmp_path / "map.tif") as file:
        assert tuple(file.transform) == tuple(transform)
        assert file.crs.to_epsg() == 4258
        assert (file.height, file.width) == (5, 7)
    dataset = predict_grid(MODEL, like=tmp_path / "like.tif", verbose=False)
    predict_grid(MODEL, tmp_path / "again.tif", like=dataset, verbose=False)
    with rasterio.open(tmp_path / "again.tif") as file:
        assert tuple(file.transform) == tuple(transform)


def test_a_rotated_raster_can_be_followed_by_a_geotiff_alone(tmp_path):
    transform = rasterio.Affine(1, 0.5, 10, -0.5, -1, 50)
    profile = {"driver": "GTiff", "width": 7, "height": 5, "count": 1, "dtype": "uint8"}
    with rasterio.open(
        tmp_path / "like.tif", "w", **profile, crs="EPSG:4326", transform=transform
    ) as file:
        file.write(np.ones((1, 5, 7), dtype="uint8"))
    predict_grid(MODEL, tmp_path / "map.tif", like=tmp_path / "like.tif", verbose=False)
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_allclose(file.read(1).ravel(), MODEL.predict(centres(file)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"do not run along an axis; name a \.tif"):
        predict_grid(MODEL, like=tmp_path / "like.tif")


def test_masks_of_polygons_rasters_and_land(slope, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    from shapely.geometry import box

    options = {"region": (160, -30, 200, 0), "resolution": 1, "verbose": False}
    fiji = geopandas.GeoSeries([box(177, -19, 182, -16)], crs="EPSG:4326")
    for mask in (fiji, list(fiji), fiji[0], fiji.to_crs("EPSG:3832"), fiji.translate(-360)):
        there = ~np.isnan(predict_grid(MODEL, mask=mask, **options)["prediction"].values)
        assert there.sum() == 15
    fiji.to_file(tmp_path / "fiji.gpkg")
    there = ~np.isnan(predict_grid(MODEL, mask=tmp_path / "fiji.gpkg", **options)["prediction"])
    assert there.sum() == 15
    covered = predict_grid(MODEL, region=EUROPE, resolution=1, mask=slope, verbose=False)
    assert (~np.isnan(covered["prediction"])).sum() == 360
    from skgeo_embed.datasets import land_mask

    land = predict_grid(MODEL, region=EUROPE, resolution=0.5, mask="land", verbose=False)
    assert (np.isnan(land["prediction"]) == ~land_mask(land.lon, land.lat)).all()


def test_cells_outside_the_mask_cost_nothing(monkeypatch):
    from shapely.geometry import box

    counted = []
    predict = Ridge.predict
    monkeypatch.setattr(Ridge, "predict", lambda s, X: counted.append(len(X)) or predict(s, X))
    predict_grid(MODEL, resolution=0.5, mask=box(0, 0, 2, 2), verbose=False)
    assert sum(counted) < 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region": (1, 1, 1, 1)}, "region must be .west, south, east, north."),
        ({"region": (20, 0, 10, 5), "resolution": "1km"}, "is a length, and the cells"),
        ({"resolution": 0}, "resolution must be a positive number"),
        ({"resolution": "fine"}, "resolution must be a positive number"),
        ({"crs": "EPSG:3035"}, 'needs a resolution, such as resolution="1km"'),
        ({"crs": "EPSG:3035", "resolution": "1deg"}, "is in metre"),
        ({"crs": "EPSG:9", "resolution": 1}, "cannot be read"),
        ({"crs": "EPSG:3857", "resolution": "50km", "region": PACIFIC}, "is split at the edge"),
        ({"resolution": 1e-8}, "of memory, and this machine has"),
        ({"like": "no.tif"}, "there is no file no.tif"),
        ({"like": 3}, "like must be a path or an xarray object"),
        ({"like": "no.tif", "resolution": 1}, "resolution cannot be given too"),
        ({"mask": "sea"}, 'is neither "land" nor a file'),
        ({"mask": 5}, 'mask must be "land", polygons or a raster, got int'),
        ({"region": (-30, -30, -25, -25), "mask": "land"}, "no cell of the map can be predicted"),
        ({"probabilities": True}, "Pipeline is not a classifier"),
        ({"applicability": Ridge()}, "must be a fitted AreaOfApplicability"),
        ({"name": ["a", "b"]}, "name must be 1 text"),
        ({"dtype": "words"}, "is not a type of numbers"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        predict_grid(MODEL, **options)


def test_models_that_were_not_fitted_on_places():
    features = rng.normal(size=(20, 5))
    with pytest.raises(ValueError, match=r"'x2', 'x3', 'x4'.*fitted on an encoder's features"):
        predict_grid(Ridge().fit(features, features[:, 0]))
    frame = pd.DataFrame(features[:, :2], columns=["a", "b"])
    with pytest.raises(ValueError, match="was not fitted on places: there is no column"):
        predict_grid(Ridge().fit(frame, features[:, 0]))
    with pytest.raises(ValueError, match=r"has no predict.* use encode_grid"):
        predict_grid(PositionalEncoder().fit())
    with pytest.raises(Exception, match="is not fitted"):
        predict_grid(Ridge())


def test_like_without_a_crs(tmp_path):
    array = xarray.DataArray(np.zeros((2, 2)), coords={"y": [1.0, 0.0], "x": [0.0, 1.0]})
    with pytest.raises(ValueError, match="like has no CRS"):
        predict_grid(MODEL, like=array)
    uneven = xarray.DataArray(np.zeros((3, 2)), coords={"lat": [9.0, 5, 0], "lon": [0.0, 1.0]})
    with pytest.raises(ValueError, match="like: the coordinate 'lat' is not evenly spaced"):
        predict_grid(MODEL, like=uneven)


def test_values_beyond_float32(tmp_path):
    model = encoded(LinearRegression()).fit(PLACES, TARGET * 1e300)
    with pytest.raises(ValueError, match=r'which float32 does not hold; pass dtype="float64"'):
        predict_grid(model, tmp_path / "m.tif", resolution=10, verbose=False)
    predict_grid(
        model, tmp_path / "m.tif", resolution=10, dtype="float64", restart=True, verbose=False
    )


NEAREST = KNeighborsRegressor(3).fit(PLACES, TARGET)  # nothing of torch, so that a fork is safe
KILLED = {"resolution": 7.5, "verbose": False}  # 48 × 24 cells


@pytest.fixture
def eight_blocks(monkeypatch):
    monkeypatch.setattr(grids, "BLOCK", 12)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("suffix", ["tif", "zarr"])
@pytest.mark.parametrize(
    ("what", "times"),
    [
        ("predict", 1),
        ("predict", 2),
        ("predict", 5),
        ("predict", 9),
        ("add", 1),
        ("add", 4),
        ("add", 8),
        ("windows", 1),
        ("publish", 1),
        ("rmtree", 1),
    ],
)
def test_a_run_that_is_killed_goes_on(eight_blocks, tmp_path, monkeypatch, what, times, suffix):
    file = tmp_path / f"map.{suffix}"
    child = os.fork()
    if not child:  # pragma: no cover
        kill_at(what, times)
        predict_grid(NEAREST, file, **KILLED)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert file.exists() == (what == "rmtree")
    counted = []
    predict = KNeighborsRegressor.predict
    monkeypatch.setattr(
        KNeighborsRegressor, "predict", lambda s, X: counted.append(1) or predict(s, X)
    )
    predict_grid(NEAREST, file, overwrite=what == "rmtree", **KILLED)
    done = {"predict": max(0, times - 2), "add": times - 1}.get(what, 8)
    assert len(counted) == 1 + 8 - done  # a sample, and the blocks that were not there
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    predict_grid(NEAREST, tmp_path / f"whole.{suffix}", **KILLED)
    address = "{}" if suffix == "tif" else 'ZARR:"{}":/prediction'
    with (
        rasterio.open(address.format(file)) as resumed,
        rasterio.open(address.format(tmp_path / f"whole.{suffix}")) as whole,
    ):
        np.testing.assert_array_equal(resumed.read(), whole.read())


def kill_at(what, times):  # pragma: no cover
    """Let the process be killed when something is called for the so-manieth time."""
    from skgeo_embed.streaming.maps import facts, geotiff
    from skgeo_embed.streaming.maps.store import MapStore

    holders = {
        "predict": [(KNeighborsRegressor, "predict")],
        "add": [(MapStore, "add")],
        "windows": [(geotiff, "windows"), (facts, "windows")],
        "publish": [(engine, "replace_durably"), (engine, "replace_folder")],
        "rmtree": [(engine.shutil, "rmtree")],
    }
    left = [times]
    for holder, name in holders[what]:
        called = getattr(holder, name)

        def counted(*arguments, called=called, **named):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return called(*arguments, **named)

        setattr(holder, name, counted)


def interrupted(monkeypatch, file, model=NEAREST, after=4, **options):
    """Begin a map, and stop it after some blocks."""
    with monkeypatch.context() as patched:
        calls = [0]
        predict = type(model).predict

        def stopping(self, X):
            calls[0] += 1
            if calls[0] > after:
                raise KeyboardInterrupt
            return predict(self, X)

        patched.setattr(type(model), "predict", stopping)
        with pytest.raises(KeyboardInterrupt, match=r"3 of 8 blocks are kept in .*; repeat the"):
            predict_grid(model, file, **{**KILLED, **options})


def test_blocks_of_another_map_are_not_mixed_in(eight_blocks, tmp_path, monkeypatch):
    file = tmp_path / "map.tif"
    interrupted(monkeypatch, file)
    other = KNeighborsRegressor(3).fit(PLACES, -TARGET)
    with pytest.raises(FileExistsError, match=r"of a map with another model .its predictions"):
        predict_grid(other, file, **KILLED)
    with pytest.raises(FileExistsError, match=r"another grid, mask; pass\s+restart=True"):
        predict_grid(NEAREST, file, region=EUROPE, mask="land", verbose=False)
    predict_grid(other, file, restart=True, **KILLED)
    with rasterio.open(file) as opened:
        np.testing.assert_allclose(
            opened.read(1).ravel(), other.predict(centres(opened)), rtol=1e-5
        )


def test_a_damaged_block_is_computed_again(eight_blocks, tmp_path, monkeypatch):
    file = tmp_path / "map.tif"
    interrupted(monkeypatch, file)
    stored = tmp_path / "map.tif.parts" / "layer-000.npy"
    content = bytearray(stored.read_bytes())
    content[len(content) // 8 + 200] ^= 1  # in the second of eight blocks
    stored.write_bytes(content)
    with (tmp_path / "map.tif.parts" / "blocks.txt").open("a") as journal:
        journal.write('{"block": 7, "crc')  # a line that was being written
    predict_grid(NEAREST, file, **KILLED)
    with rasterio.open(file) as opened:
        np.testing.assert_allclose(
            opened.read(1).ravel(), NEAREST.predict(centres(opened)), rtol=1e-5
        )


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "map.tif.parts").mkdir()
    (tmp_path / "map.tif.parts" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds something else .mine.txt.; move it"):
        predict_grid(NEAREST, tmp_path / "map.tif", **KILLED)
    assert (tmp_path / "map.tif.parts" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("suffix", ["tif", "zarr", "nc"])
def test_an_output_that_exists_stays_unless_it_is_to_be_replaced(tmp_path, suffix):
    file = tmp_path / f"map.{suffix}"
    options = {"region": EUROPE, "resolution": 10, "verbose": False}
    predict_grid(MODEL, file, **options)
    with pytest.raises(FileExistsError, match=r"exists; pass overwrite=True"):
        predict_grid(MODEL, file, **options)
    other = encoded(Ridge()).fit(PLACES, -TARGET)
    predict_grid(other, file, overwrite=True, **options)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    address = {"tif": file, "zarr": f'ZARR:"{file}":/prediction', "nc": f"netcdf:{file}:prediction"}
    with rasterio.open(address[suffix]) as opened:
        np.testing.assert_allclose(
            opened.read(1).ravel(), other.predict(centres(opened)), rtol=1e-5
        )


def test_outputs_that_cannot_be(tmp_path):
    for name, message in (
        ("map.jpg", "must end with .tif or .tiff or .zarr or .nc"),
        ("no/map.tif", "does not exist; make it first"),
    ):
        with pytest.raises(ValueError, match=message):
            predict_grid(MODEL, tmp_path / name)
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a folder that holds no Zarr store"):
        predict_grid(MODEL, tmp_path / "mine.zarr", overwrite=True)


def test_a_disk_without_room_is_found_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(Ridge, "predict", lambda *_: pytest.fail("something was computed"))
    with pytest.raises(OSError, match=r"needs [\d,]+ TB on the disk, .* left; choose") as caught:
        predict_grid(MODEL, tmp_path / "map.tif", resolution=1e-5)
    assert caught.value.filename == str(tmp_path / "map.tif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["tif", "zarr", "nc"])
def test_a_file_that_cannot_be_written_keeps_the_blocks(tmp_path, monkeypatch, suffix):
    file = tmp_path / f"map.{suffix}"

    def fail(store, facts, path):
        path.write_bytes(b"a part of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setitem(engine.WRITERS, f".{suffix}", fail)
        with pytest.raises(OSError, match=r"No space left on device; the computed blocks are kept"):
            predict_grid(NEAREST, file, **KILLED)
    names = {path.name for path in (tmp_path / f"{file.name}.parts").iterdir()}
    assert names == {"layer-000.npy", "blocks.txt", "progress.json", ".lock"}
    monkeypatch.setattr(engine, "_compute_elsewhere", None)
    predict_grid(NEAREST, file, **KILLED)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_geotiff_that_does_not_hold_what_was_written(tmp_path, monkeypatch):
    from skgeo_embed.streaming.maps import geotiff
    from skgeo_embed.streaming.maps.store import MapStore

    read = MapStore.read
    calls = [0]

    def changing(self, *window):
        calls[0] += 1
        return read(self, *window) + (calls[0] > 1)

    monkeypatch.setattr(MapStore, "read", changing)
    with pytest.raises(OSError, match="does not hold what was written to it; is the disk full"):
        predict_grid(MODEL, tmp_path / "map.tif", region=EUROPE, resolution=10, verbose=False)
    assert geotiff.GDAL_MEMORY < 500
    assert not (tmp_path / "map.tif").exists()


def test_a_second_run_of_one_output_is_refused(tmp_path):
    from skgeo_embed.streaming.files import only_writer

    with (
        only_writer(tmp_path / "map.tif.parts", tmp_path / "map.tif"),
        pytest.raises(RuntimeError, match="another process is writing"),
    ):
        predict_grid(NEAREST, tmp_path / "map.tif", **KILLED)


def test_no_warning_where_all_is_covered(slope):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict_grid(
            with_slope(),
            region=(6, 46, 10, 50),
            resolution=1,
            covariates={"slope": slope, "year": 2024},
        )


def test_several_processes_give_the_same_map(eight_blocks, tmp_path):
    predict_grid(NEAREST, tmp_path / "one.tif", **KILLED)
    predict_grid(NEAREST, tmp_path / "two.tif", n_jobs=2, **KILLED)
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()


def test_a_dask_cluster_computes_blocks(eight_blocks, tmp_path):
    distributed = pytest.importorskip("distributed")
    import joblib

    predict_grid(NEAREST, tmp_path / "here.tif", **KILLED)
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config("dask"):
        predict_grid(NEAREST, tmp_path / "there.tif", n_jobs=2, **KILLED)
    assert (tmp_path / "here.tif").read_bytes() == (tmp_path / "there.tif").read_bytes()
