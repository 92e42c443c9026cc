"""Files of features say what made them, and are read back as the same features."""

import json

import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest
import rasterio
import shapely
import xarray
import zarr

from skgeo_embed import (
    ImageError,
    PositionalEncoder,
    RasterEncoder,
    SatCLIPEncoder,
    encode_grid,
    encode_table,
)
from skgeo_embed.rasters.conventions import CONVENTION
from skgeo_embed.streaming.provenance import embedding_attributes
from tests.hub_server import Repository
from tests.satclip_checkpoint import checkpoint, to_bytes, without_vision

EUROPE = (-10, 35, 30, 60)
PLACES = np.array([[7.5, 47.5], [-7.5, 57.5], [27.5, 37.5]])


@pytest.fixture(scope="module")
def encoder():
    return SatCLIPEncoder("bluemarble-l10", n_components=5).fit()


def check(said, encoder):
    info = encoder.encoder_info_
    assert said["geoemb:type"] == "pixel"
    assert said["geoemb:dimensions"] == 5
    assert said["geoemb:model"] == f"urn:sha256:{info['sha256']}"
    assert said["geoemb:data_type"] == "float32"
    assert len(said["geoemb:source_data"]) == 1
    assert said["zarr_conventions"] == [CONVENTION]
    assert said["skgeo_embed:name"] == "bluemarble-l10"
    for key in ("sha256", "licence", "layer"):
        assert said[f"skgeo_embed:{key}"] == info[key]


@pytest.mark.parametrize("suffix", ["zarr", "tif"])
def test_grids(tmp_path, encoder, suffix):
    file = tmp_path / f"grid.{suffix}"
    encode_grid(encoder, file, region=EUROPE, resolution=5, verbose=False)
    read = RasterEncoder(file).fit()
    # harmonics of a grid are added up in another order than those of points
    np.testing.assert_allclose(read.transform(PLACES), encoder.transform(PLACES), atol=1e-6)
    assert read.model_ == f"urn:sha256:{encoder.encoder_info_['sha256']}"
    if suffix == "zarr":
        check(dict(zarr.open_group(str(file), mode="r").attrs), encoder)
        opened = xarray.open_zarr(file, decode_coords="all")
        assert "WGS 84" in opened.spatial_ref.attrs["crs_wkt"]
    else:
        with rasterio.open(file) as opened:
            tags = opened.tags()
        assert json.loads(tags["zarr_conventions"]) == [CONVENTION]
        assert tags["skgeo_embed_licence"] == encoder.encoder_info_["licence"]


def test_grids_of_two_encoders_are_not_mixed(tmp_path, encoder):
    other = SatCLIPEncoder("bluemarble-l20", n_components=5).fit()
    names = encoder.get_feature_names_out()
    assert list(names) == list(other.get_feature_names_out())  # nothing else tells them apart
    for name, made_by in (("a", encoder), ("b", other)):
        encode_grid(made_by, tmp_path / f"{name}.zarr", region=EUROPE, resolution=5, verbose=False)
    with pytest.raises(ImageError, match="several models cannot be mixed"):
        RasterEncoder([tmp_path / "a.zarr", tmp_path / "b.zarr"]).fit()


def write_tables(folder):
    frame = pd.DataFrame(PLACES, columns=["lon", "lat"]).assign(price=[1.0, 2.0, 3.0])
    frame.to_parquet(folder / "plain.parquet")
    frame.to_csv(folder / "table.csv", index=False)
    points = geopandas.GeoDataFrame(frame[["price"]], geometry=shapely.points(PLACES), crs=4326)
    points.to_parquet(folder / "points.parquet")
    points.to_crs(3035).to_parquet(folder / "projected.parquet")


@pytest.mark.parametrize("name", ["plain.parquet", "table.csv", "points.parquet"])
def test_tables(tmp_path, encoder, name):
    write_tables(tmp_path)
    output = tmp_path / "out.parquet"
    encode_table(encoder, tmp_path / name, output, verbose=False)
    check(json.loads(parquet.read_schema(output).metadata[b"geoemb"]), encoder)
    read = RasterEncoder(output).fit()
    np.testing.assert_array_equal(read.transform(PLACES), encoder.transform(PLACES))
    assert list(read.get_feature_names_out()) == list(encoder.get_feature_names_out())
    assert pd.read_parquet(output)["price"].astype(float).tolist() == [1, 2, 3]
    if name == "points.parquet":
        assert geopandas.read_parquet(output).crs == "EPSG:4326"


def test_projected_points(tmp_path, encoder):
    write_tables(tmp_path)
    encode_table(encoder, tmp_path / "projected.parquet", tmp_path / "out.parquet", verbose=False)
    read = RasterEncoder(tmp_path / "out.parquet").fit()
    np.testing.assert_allclose(read.transform(PLACES), encoder.transform(PLACES), atol=1e-5)


def test_a_model_of_the_hub_is_named_by_its_address(hub):
    content = to_bytes(checkpoint("resnet18_l10", keep=without_vision))
    hub.repositories["microsoft/SatCLIP-ResNet18-L10"] = Repository(
        {"satclip-resnet18-l10.ckpt": content}
    )
    said = embedding_attributes(SatCLIPEncoder("satclip-resnet18-l10").fit())
    assert said["geoemb:model"] == "https://huggingface.co/microsoft/SatCLIP-ResNet18-L10"
    assert said["geoemb:source_data"] == ["urn:skgeo-embed:data:S2-100K"]
    assert said["skgeo_embed:revision"] == "a" * 40


def test_encoders_without_weights_are_named_too():
    said = embedding_attributes(PositionalEncoder().fit())
    assert said["geoemb:model"] == "urn:skgeo-embed:PositionalEncoder"
    assert said["geoemb:data_type"] == "float64"
    assert "skgeo_embed:sha256" not in said
