"""Dask collections: lazy, partitioned, and on a cluster whose worker is killed."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skgeo_embed import PositionalEncoder, SatCLIPEncoder
from skgeo_embed._errors import CoordinateError
from tests.encoders.zoo import MAKERS
from tests.places.on_workers import die_once, encoders_held

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")


@pytest.fixture
def frame(sphere_points):
    lon, lat = sphere_points[:100].T
    return pd.DataFrame({"lat": lat, "lon": lon}, index=np.arange(100) * 2)


@pytest.fixture
def encoder(frame):
    return SatCLIPEncoder("bluemarble-l10").fit(frame)


def test_frames_stay_lazy(encoder, frame, monkeypatch):
    lazy = dd.from_pandas(frame, npartitions=4)
    expected = encoder.transform(frame)
    features = encoder.transform(lazy)
    assert isinstance(features, dd.DataFrame)
    assert features.npartitions == lazy.npartitions
    assert list(features.columns) == encoder.get_feature_names_out().tolist()
    assert (features.dtypes == np.float32).all()
    computed = features.compute(scheduler="sync")
    pd.testing.assert_index_equal(computed.index, frame.index)
    np.testing.assert_allclose(computed, expected, atol=1e-5)
    assert computed.dtypes.equals(features.dtypes)
    empty = encoder.transform(lazy[lazy["lat"] > 100]).compute(scheduler="sync")
    assert empty.shape == (0, 512)


@pytest.mark.parametrize("chunks", [(30, 2), (100, 1), (7, 1)])
def test_arrays_stay_lazy(encoder, frame, chunks):
    X = frame[["lon", "lat"]].to_numpy()
    lazy = encoder.transform(da.from_array(X, chunks=chunks))
    assert isinstance(lazy, da.Array)
    assert lazy.shape == (100, 512)
    assert lazy.dtype == np.float32
    assert lazy.chunks[0] == da.from_array(X, chunks=chunks).chunks[0]
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), encoder.transform(X), atol=1e-5)
    unknown = da.from_array(X, chunks=chunks)
    unknown = unknown[unknown[:, 0] > 1000]
    assert encoder.transform(unknown).compute(scheduler="sync").shape == (0, 512)


def test_mapped_by_hand(encoder, frame):
    lazy = dd.from_pandas(frame, npartitions=3)
    features = lazy.map_partitions(encoder.set_output(transform="pandas").transform)
    np.testing.assert_allclose(
        features.compute(scheduler="sync"), encoder.transform(frame), atol=1e-5
    )
    blocks = da.from_array(frame[["lon", "lat"]].to_numpy(), chunks=(40, 2)).map_blocks(
        SatCLIPEncoder("bluemarble-l10").fit().transform,
        dtype=np.float32,
        chunks=((40, 40, 20), 512),
    )
    assert blocks.compute(scheduler="sync").shape == (100, 512)


def test_fit_looks_at_columns_alone(frame):
    lazy = dd.from_pandas(frame, npartitions=2)
    encoder = PositionalEncoder("wrap").fit(lazy)
    assert list(encoder.feature_names_in_) == ["lat", "lon"]
    features = encoder.fit_transform(lazy)
    np.testing.assert_array_equal(features.compute(scheduler="sync"), encoder.transform(frame))
    with pytest.raises(CoordinateError, match="no column that is recognised as the latitude"):
        encoder.fit(lazy.rename(columns={"lat": "height"}))
    encoder.fit(lazy)
    with pytest.raises(CoordinateError, match="exactly 2"):
        encoder.transform(da.zeros((10, 3)))
    with pytest.raises(CoordinateError, match="pass a dask DataFrame"):
        encoder.transform(dask.delayed(frame))


def test_set_output_does_not_compute_behind_your_back(encoder, frame):
    lazy = dd.from_pandas(frame, npartitions=2)
    encoder.set_output(transform="pandas")
    with pytest.raises(ValueError, match="set_output has no meaning"):
        encoder.transform(lazy)


def test_the_encoder_is_not_run_for_the_meta(encoder, frame, monkeypatch):
    lazy = dd.from_pandas(frame, npartitions=2)
    monkeypatch.setattr(SatCLIPEncoder, "encode", None)
    assert encoder.transform(lazy).shape[1] == 512


def test_bad_rows_are_named_when_computed(encoder, frame):
    frame.iloc[60, 0] = 91
    lazy = encoder.transform(dd.from_pandas(frame, npartitions=2))
    with pytest.raises(CoordinateError, match="lat=91"):
        lazy.compute(scheduler="sync")


@pytest.fixture
def geometries(sphere_points):
    """Points and polygons in metres, with a month."""
    gpd = pytest.importorskip("geopandas")
    pytest.importorskip("dask_geopandas")
    lon, lat = sphere_points[:40].T
    points = gpd.GeoSeries(gpd.points_from_xy(lon, lat.clip(-60, 60)), crs=4326).to_crs(3857)
    mixed = points.where(np.arange(40) % 4 == 0, points.buffer(20_000))
    return gpd.GeoDataFrame({"month": np.arange(40) % 12 + 1.0}, geometry=mixed)


def assert_same(found, expected):
    """Equal but for how a product rounds, which on some processors hangs on the rows beside it."""
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_geometries_stay_lazy(geometries):
    import dask_geopandas

    encoder = PositionalEncoder(legendre_polys=8, area_points=8)
    for made in (geometries, geometries.iloc[::4], geometries.geometry):  # the second is of points
        lazy = dask_geopandas.from_geopandas(made, npartitions=4)
        features = encoder.fit(lazy).transform(lazy)
        assert type(features) is dd.DataFrame
        assert features.npartitions == lazy.npartitions
        computed = features.compute(scheduler="sync")
        pd.testing.assert_index_equal(computed.index, made.index)
        assert_same(computed, encoder.transform(made))  # their CRS is kept
        assert_same(encoder.fit_transform(lazy).compute(scheduler="sync"), computed)
    nothing = lazy[lazy.is_empty]
    assert encoder.transform(nothing).compute(scheduler="sync").shape == (0, computed.shape[1])


def test_geometries_in_partitions_of_another_frame(geometries):
    """Whoever made the partitions: what they hold counts."""
    plain = dd.from_pandas(pd.DataFrame({"row": np.arange(40)}), npartitions=3)
    lazy = plain.map_partitions(lambda part: geometries.loc[part["row"]], meta=geometries.iloc[:0])
    encoder = PositionalEncoder(legendre_polys=8, area_points=8).fit()
    assert_same(encoder.transform(lazy).compute(scheduler="sync"), encoder.transform(geometries))


def test_geometries_with_a_month(geometries):
    import dask_geopandas

    encoder = MAKERS["climplicit"](month="month", area_points=4)
    lazy = dask_geopandas.from_geopandas(geometries, npartitions=3)
    features = encoder.fit(lazy).transform(lazy).compute(scheduler="sync")
    np.testing.assert_allclose(features, encoder.transform(geometries), atol=1e-6)
    with pytest.raises(CoordinateError, match="there is no column 'month'"):
        encoder.transform(lazy[["geometry"]])


def test_geometries_without_a_crs_are_refused_at_once(geometries):
    import dask_geopandas

    unknown = type(geometries)(geometry=list(geometries.geometry))
    lazy = dask_geopandas.from_geopandas(unknown, npartitions=2)
    with pytest.raises(CoordinateError, match="no CRS"):
        PositionalEncoder(legendre_polys=8).fit(lazy)


@pytest.mark.parametrize(
    "areas",
    [
        pd.DataFrame({"west": [1.0, 177], "south": [2.0, 3], "east": [5.0, -179], "north": 9.0}),
        pd.DataFrame({"h3": ["85283473fffffff", "8029fffffffffff"]}),
        pd.DataFrame({"h3": [int("85283473fffffff", 16), int("8029fffffffffff", 16)]}),
        pd.Series(["85283473fffffff", "8029fffffffffff"], name="h3"),
    ],
    ids=["boxes", "h3", "h3 numbers", "h3 series"],
)
def test_other_areas_stay_lazy(areas):
    pytest.importorskip("h3")
    encoder = PositionalEncoder(legendre_polys=8, area_points=8)
    lazy = dd.from_pandas(areas, npartitions=2)
    features = encoder.fit(lazy).transform(lazy)
    expected = encoder.fit(areas).transform(areas)
    assert_same(features.compute(scheduler="sync"), expected)


def test_pickles_are_small(encoder):
    assert len(pickle.dumps(encoder)) < 2000


@pytest.mark.slow
def test_cluster_with_a_killed_worker(tmp_path, unchanged_process):
    lon = np.linspace(-179, 179, 24_000)
    frame = pd.DataFrame({"lon": lon, "lat": 80 * np.sin(lon)})
    encoder = SatCLIPEncoder("bluemarble-l10").fit(frame)
    expected = encoder.transform(frame)
    marker = str(tmp_path / "died")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = set(client.scheduler_info()["workers"])
        lazy = dd.from_pandas(frame, npartitions=12)
        doomed = lazy.map_partitions(die_once, marker, meta=lazy._meta)
        computed = encoder.transform(doomed).compute()
        np.testing.assert_allclose(computed, expected, atol=1e-5)
        assert (tmp_path / "died").exists()
        assert set(client.scheduler_info()["workers"]) != workers
        held = set(client.run(encoders_held).values())
        assert 1 in held
        assert held <= {0, 1}  # a worker that came late may have had nothing to do
