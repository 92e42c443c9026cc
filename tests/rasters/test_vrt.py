"""What a raster leads to: no server unless the user says so, and no file that a server names."""

import json
from html import escape

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.warp
import shapely
from affine import Affine
from rasterio.vrt import WarpedVRT

from skgeo_embed import ImageError, RasterEncoder
from skgeo_embed.images.files import read_geotiff

SIZE = 64
PLACES = [[0.55, 9.45], [3.35, 7.25], [6.05, 4.15]]  # rows 5, 27, 58; columns 5, 33, 60
AT = ([5, 27, 58], [5, 33, 60])
PIXELS = np.random.RandomState(0).randint(1, 255, (2, SIZE, SIZE)).astype(np.uint8)
SECRET = np.full((2, SIZE, SIZE), 99, dtype=np.uint8)


def write(path, pixels=PIXELS, **more):
    profile = {"driver": "GTiff", "count": len(pixels), "height": SIZE, "width": SIZE}
    profile |= {"dtype": pixels.dtype, "crs": "EPSG:4326", "photometric": "MINISBLACK"}
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(0.1, 0, 0, 0, -0.1, 10)
    with rasterio.open(path, "w", transform=transform, **(profile | more)) as file:
        file.write(pixels)
    return path


def source(name, kind="SimpleSource", more="", rects=True, band=1):
    side = f'xOff="0" yOff="0" xSize="{SIZE}" ySize="{SIZE}"'
    rects = f"<SrcRect {side}/><DstRect {side}/>" if rects else ""
    return (
        f'<{kind}><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>{more}{rects}</{kind}>"
    )


def vrt_of(*names, sources=(), start="", more="", size=SIZE):
    parts = [*map(source, names), *sources]
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{number + 1}">{part}</VRTRasterBand>'
        for number, part in enumerate(parts)
    )
    place = f"<SRS>EPSG:4326</SRS><GeoTransform>0,{6.4 / size},0,10,0,-{6.4 / size}</GeoTransform>"
    head = f'{start}<VRTDataset rasterXSize="{size}" rasterYSize="{size}">'
    return f"{head}{place}{more}{bands}</VRTDataset>"


def wms_of(address):
    box = "<UpperLeftX>0</UpperLeftX><UpperLeftY>10</UpperLeftY><LowerRightX>6.4</LowerRightX>"
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{address}</ServerUrl></Service><DataWindow>{box}'
        "<LowerRightY>3.6</LowerRightY><SizeX>64</SizeX><SizeY>64</SizeY></DataWindow><Projection>"
        "EPSG:4326</Projection><BlockSizeX>64</BlockSizeX><BlockSizeY>64</BlockSizeY>"
        "<BandsCount>1</BandsCount></GDAL_WMS>"
    )


def hidden(address):
    return f"/vsicurl/{address}".replace("/vsi", "&#47;vsi").replace("://", "&#58;//")


def entities(folder, address):
    (folder / "a.vrt").write_text(
        vrt_of("&a;", start=f'<!DOCTYPE x [<!ENTITY a "{hidden(address)}">]>')
    )


def references(folder, address):
    (folder / "a.vrt").write_text(vrt_of(hidden(address)))


def an_attribute(folder, address):
    other = f'<SimpleSource SourceFilename="{hidden(address)}"><SourceBand>1</SourceBand>'
    (folder / "a.vrt").write_text(vrt_of(sources=[f"{other}</SimpleSource>"]))


def streaming(folder, address):
    (folder / "a.vrt").write_text(vrt_of(hidden(address).replace("curl", "curl_streaming")))


def plain_address(folder, address):
    (folder / "a.vrt").write_text(vrt_of(address))


def nested(folder, address):
    (folder / "b.vrt").write_text(vrt_of(f"/vsicurl/{address}"))
    (folder / "a.vrt").write_text(vrt_of("b.vrt"))


def nested_in_text(folder, address):
    (folder / "a.vrt").write_text(vrt_of(escape(vrt_of(hidden(address)))))


def nested_under_another_name(folder, address):
    (folder / "b.tif").write_text(vrt_of(f"/vsicurl/{address}"))
    (folder / "a.vrt").write_text(vrt_of("b.tif"))


def a_connection(folder, address):
    (folder / "a.vrt").write_text(vrt_of("vrt&#58;//" + hidden(address)))


def a_service(folder, address):
    (folder / "b.xml").write_text(wms_of(address))
    (folder / "a.vrt").write_text(vrt_of("b.xml"))


def a_service_in_text(folder, address):
    (folder / "a.vrt").write_text(vrt_of(escape(wms_of(address.replace("://", "&#58;//")))))


def a_service_as_geotiff(folder, address):
    (folder / "b.tif").write_text(wms_of(address))
    (folder / "a.vrt").write_text(vrt_of("b.tif"))


def a_mask_beside_a_source(folder, address, suffix=".msk"):
    write(folder / "b.tif")
    flags = '<Metadata><MDI key="INTERNAL_MASK_FLAGS_1">2</MDI></Metadata>'
    (folder / f"b.tif{suffix}").write_text(vrt_of(f"/vsicurl/{address}", more=flags))
    mask = f'<MaskBand><VRTRasterBand dataType="Byte">{source("b.tif", band="mask,1")}'
    mask += "</VRTRasterBand></MaskBand>"
    (folder / "a.vrt").write_text(vrt_of("b.tif", more=mask))


def overviews_beside_a_source(folder, address):
    write(folder / "b.tif")
    (folder / "b.tif.ovr").write_text(vrt_of(f"/vsicurl/{address}", size=32))
    (folder / "a.vrt").write_text(vrt_of(sources=[source("b.tif", rects=False)], size=32))


def overviews_of_a_source_elsewhere(folder, address):
    write(folder / "b.tif")
    entry = f'<MDI key="OVERVIEW_FILE">/vsicurl/{address}</MDI>'
    (folder / "b.tif.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS">{entry}</Metadata></PAMDataset>'
    )
    (folder / "a.vrt").write_text(vrt_of(sources=[source("b.tif", rects=False)], size=32))


def a_reference_system(folder, address):
    write(folder / "b.tif")
    with rasterio.open(folder / "b.tif") as file, WarpedVRT(file, crs="EPSG:3857") as warped:
        rasterio.shutil.copy(warped, folder / "a.vrt", driver="VRT")
    text = (folder / "a.vrt").read_text()
    start, end = text.index("<TargetSRS>") + 11, text.index("</TargetSRS>")
    (folder / "a.vrt").write_text(f"{text[:start]}{address.replace('://', '&#58;//')}{text[end:]}")


def raw_bytes(folder, address):
    band = '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand"><SourceFilename>'
    band += f"{hidden(address)}</SourceFilename></VRTRasterBand>"
    (folder / "a.vrt").write_text(vrt_of(more=band))


def an_item(folder, address):
    nested_under_another_name(folder, address)
    assets = {"data": {"href": "a.vrt", "type": "image/tiff", "roles": ["data"]}}
    item = {"id": "x", "assets": assets, "properties": {"datetime": "2024-01-01"}}
    (folder / "a.json").write_text(json.dumps({"features": [item]}))


def a_table(folder, address):
    (folder / "a.gpkg").write_text(
        f'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/vsicurl_streaming/{address}'
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )


def a_mask(folder, address):
    a_mask_beside_a_source(folder, address)
    (folder / "b.tif").rename(folder / "a.tif")
    (folder / "b.tif.msk").rename(folder / "a.tif.msk")


def a_mask_in_capitals(folder, address):
    a_mask(folder, address)
    (folder / "a.tif.msk").rename(folder / "a.tif.MSK")


DOORS = {
    "a.vrt": [
        entities, references, an_attribute, streaming, plain_address, nested, nested_in_text,
        nested_under_another_name, a_connection, a_service, a_service_in_text,
        a_service_as_geotiff, a_mask_beside_a_source, overviews_beside_a_source,
        overviews_of_a_source_elsewhere, a_reference_system, raw_bytes,
    ],
    "a.json": [an_item],
    "a.gpkg": [a_table],
    "a.tif": [a_mask, a_mask_in_capitals],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "door"), [(name, door) for name, doors in DOORS.items() for door in doors]
)
def test_nobody_is_asked(tmp_path, server, name, door):
    write(server.folder / "x.tif")
    folder = tmp_path / "mine"
    folder.mkdir()
    door(folder, f"{server.url}/x.tif")
    told = None
    try:
        encoder = RasterEncoder(folder / name, on_invalid="nan").fit()
        encoder.transform(PLACES)
    except ImageError as error:
        told = str(error)
    assert server.requests == 0
    assert told is not None
    assert str(folder) in told


@pytest.mark.parametrize("door", [a_mask, a_mask_in_capitals])
def test_nobody_is_asked_for_an_image(tmp_path, server, door):
    write(server.folder / "x.tif")
    door(tmp_path, f"{server.url}/x.tif")
    with pytest.raises(ImageError, match=r"a\.tif\.(msk|MSK) cannot be read.*it is not a GeoTIFF"):
        read_geotiff(tmp_path / "a.tif")
    assert server.requests == 0


def values(path, **options):
    return RasterEncoder(path, **options).fit().transform(PLACES)


def expected(pixels=PIXELS):
    return pixels[:, *AT].T


def test_local_vrts(tmp_path):
    """Masks, VRTs in VRTs, and warped ones are what GDAL makes of them."""
    folder = tmp_path / "a folder & more"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        path = write(folder / "b.tif")
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.arange(SIZE * SIZE).reshape(SIZE, SIZE) < SIZE * SIZE // 2)
    assert (folder / "b.tif.msk").exists()
    with rasterio.open(path) as file:
        rasterio.shutil.copy(file, folder / "b.vrt", driver="VRT")
    (folder / "a.vrt").write_text(vrt_of(sources=[source("b.vrt"), source("b.vrt", band=2)]))
    for name in ("b.tif", "b.vrt"):
        found = values(folder / name, on_invalid="nan")
        np.testing.assert_array_equal(found[:2], expected()[:2])
        assert np.isnan(found[2]).all()
    np.testing.assert_array_equal(values(folder / "a.vrt"), expected())
    with rasterio.open(write(folder / "c.tif")) as file, WarpedVRT(file, crs="EPSG:3857") as warped:
        rasterio.shutil.copy(warped, folder / "warped.vrt", driver="VRT")
        x, y = rasterio.warp.transform("EPSG:4326", "EPSG:3857", *np.transpose(PLACES))
        gdal = np.array(list(warped.sample(zip(x, y, strict=True))))
    np.testing.assert_array_equal(values(folder / "warped.vrt"), gdal)
    half = vrt_of(sources=[source("c.tif", rects=False)], size=32)
    (folder / "half.vrt").write_text(half)
    with rasterio.open(folder / "half.vrt") as file:
        gdal = np.array(list(file.sample(PLACES)))
    np.testing.assert_array_equal(values(folder / "half.vrt"), gdal)


def test_a_vrt_in_itself(tmp_path):
    (tmp_path / "a.vrt").write_text(vrt_of("a.vrt"))
    with pytest.raises(ImageError, match=r"a\.vrt lies inside 8 other VRTs, or in itself"):
        RasterEncoder(tmp_path / "a.vrt").fit()


def test_a_vrt_of_many_levels_is_refused(tmp_path):
    deep = "<Metadata>" * 20_000 + "</Metadata>" * 20_000
    (tmp_path / "a.vrt").write_text(vrt_of("a.tif").replace("<SRS>", f"{deep}<SRS>", 1))
    with pytest.raises(ImageError, match=r"a\.vrt cannot be read as a VRT"):
        RasterEncoder(tmp_path / "a.vrt").fit()


def test_metadata_of_a_vrt_leads_nowhere(tmp_path, server):
    write(server.folder / "x.tif")
    write(tmp_path / "b.tif")
    entry = f'<MDI key="OVERVIEW_FILE">/vsicurl/{server.url}/x.tif</MDI>'
    more = f'<Metadata domain="OVERVIEWS">{entry}</Metadata>'
    (tmp_path / "a.vrt").write_text(vrt_of("b.tif", more=more))
    np.testing.assert_array_equal(values(tmp_path / "a.vrt"), expected()[:, :1])
    assert server.requests == 0


def test_an_address_that_answers_with_a_vrt(tmp_path, servers):
    one, two = servers
    secret = write(tmp_path / "secret.tif", SECRET)
    write(two.folder / "x.tif")
    answers = [vrt_of(str(secret)), vrt_of(f"/vsicurl/{two.url}/x.tif"), wms_of(f"{two.url}/x.tif")]
    for answer in answers:
        (one.folder / "tile.tif").write_text(answer)
        with pytest.raises(ImageError, match=r"tile\.tif cannot be read.*must be GeoTIFFs"):
            RasterEncoder(f"{one.url}/tile.tif", remote=True).fit()
        (tmp_path / "mine.vrt").write_text(vrt_of(f"/vsicurl/{one.url}/tile.tif"))
        with pytest.raises(
            ImageError, match=r"mine\.vrt leads to a file that is not a GeoTIFF.*tile\.tif"
        ):
            values(tmp_path / "mine.vrt", remote=True)
    assert two.requests == 0


def test_what_lies_beside_an_address_is_not_asked_for(tmp_path, servers):
    one, two = servers
    write(two.folder / "x.tif")
    a_mask_beside_a_source(one.folder, f"{two.url}/x.tif")
    np.testing.assert_array_equal(values(f"{one.url}/b.tif", remote=True), expected())
    assert two.requests == 0


def test_a_mask_beside_an_address(server):
    path = write(server.folder / "b.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(SIZE * SIZE).reshape(SIZE, SIZE) < SIZE * SIZE // 2)
    found = values(f"{server.url}/b.tif", remote=True, on_invalid="nan")
    np.testing.assert_array_equal(found[:2], expected()[:2])
    assert np.isnan(found[2]).all()


@pytest.mark.parametrize("prefix", ["", "/vsicurl/"])
def test_a_vrt_of_the_same_server(server, prefix):
    write(server.folder / "tiles" / "x.tif")
    text = vrt_of("tiles/x.tif", sources=[source(f"{server.url}/tiles/x.tif", band=2)])
    (server.folder / "b.vrt").write_text(text)
    (server.folder / "a.vrt").write_text(vrt_of("b.vrt", sources=[source("b.vrt", band=2)]))
    for name in ("a.vrt", "b.vrt", "b.vrt?signed=1"):
        (server.folder / "b.vrt?signed=1").write_text(text)
        found = values(f"{prefix}{server.url}/{name}", remote=True)
        np.testing.assert_array_equal(found, expected())


def test_a_vrt_of_another_server(tmp_path, servers):
    one, two = servers
    secret = write(tmp_path / "secret.tif", SECRET)
    write(two.folder / "x.tif")
    (two.folder / "y.vrt").write_text(vrt_of("x.tif"))
    port = two.url.rpartition(":")[2]
    for name, told in [
        (f"{two.url}/x.tif", "another server"),
        (f"/vsicurl/{two.url}/x.tif", "another server"),
        (f"/vsicurl/{one.url}@127.0.0.1:{port}/x.tif", "another server"),
        (f"/vsicurl_streaming/{two.url}/x.tif", "another server"),
        ("/vsis3/bucket/x.tif", "another server"),
        (f"{two.url}/y.vrt", "another server"),
        (str(secret), "leads to a file on this disk"),
        (escape(vrt_of(str(secret))), "contains another document"),
        (f"vrt://{secret}", "not the address of a GeoTIFF"),
        (f"/vsizip/{secret}", "another server"),
    ]:
        (one.folder / "a.vrt").write_text(vrt_of(name))
        with pytest.raises(ImageError, match=told):
            values(f"{one.url}/a.vrt", remote=True)
    (one.folder / "a.vrt.moved").write_text(f"{two.url}/y.vrt")
    with pytest.raises(ImageError, match="redirects to another server"):
        RasterEncoder(f"{one.url}/a.vrt", remote=True).fit()
    assert two.requests == 0
    with pytest.raises(ImageError, match="not http or https; download it"):
        RasterEncoder("/vsis3/bucket/x.vrt", remote=True).fit()


def test_masks_and_sizes_of_addresses_are_refused(tmp_path, server):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(server.folder / "x.tif")
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.arange(SIZE * SIZE).reshape(SIZE, SIZE) < SIZE * SIZE // 2)
    address = f"/vsicurl/{server.url}/x.tif"
    use = "<UseMaskBand>true</UseMaskBand>"
    for part, told in [
        (source(address, band="mask,1"), "the mask"),
        (source(address, "ComplexSource", more=use), "the mask"),
        (source(address, rects=False), "pixels of another size"),
    ]:
        (tmp_path / "a.vrt").write_text(vrt_of(sources=[part]))
        with pytest.raises(ImageError, match=f"takes {told} of a source at an address"):
            RasterEncoder(tmp_path / "a.vrt", remote=True).fit()
    with rasterio.open(path) as file, WarpedVRT(file, crs="EPSG:3857") as warped:
        rasterio.shutil.copy(warped, tmp_path / "w.vrt", driver="VRT")
    text = (tmp_path / "w.vrt").read_text()
    (tmp_path / "w.vrt").write_text(text.replace(str(path), address).replace("one/x.tif", address))
    with pytest.raises(ImageError, match="the mask of a source at an address"):
        RasterEncoder(tmp_path / "w.vrt", remote=True).fit()
    found = values(f"{server.url}/x.tif", remote=True, on_invalid="nan")
    assert np.isnan(found[2]).all()


def test_a_table_of_footprints_still_opens(tmp_path):
    import geopandas

    write(tmp_path / "b.tif")
    frame = geopandas.GeoDataFrame(
        {"path": ["b.tif"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326
    )
    for suffix in (".gpkg", ".fgb", ".shp"):
        frame.to_file(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(values(tmp_path / f"a{suffix}"), expected())


def test_a_table_of_footprints_in_a_folder(tmp_path):
    import geopandas

    write(tmp_path / "b.tif")
    frame = geopandas.GeoDataFrame({"path": ["b.tif"]}, geometry=[shapely.box(0, 0, 1, 1)])
    for name in ("a.parquet", "a.gpkg"):
        (tmp_path / name).mkdir()
        frame.to_parquet(tmp_path / name / "0.parquet")
    np.testing.assert_array_equal(values(tmp_path / "a.parquet"), expected())
    with pytest.raises(ImageError, match=r"a\.gpkg is not a table of footprints"):
        RasterEncoder(tmp_path / "a.gpkg").fit()


def test_vrts_that_a_user_names(tmp_path):
    path = write(tmp_path / "tile.tif")
    with rasterio.open(path) as file:
        rasterio.shutil.copy(file, tmp_path / "mosaic.vrt", driver="VRT")
    encoder = RasterEncoder(tmp_path / "mosaic.vrt").fit()
    np.testing.assert_array_equal(encoder.transform(PLACES), expected())
    assert RasterEncoder(tmp_path).fit().n_tiles_ == 1  # a folder's VRTs are not followed
    disguised = tmp_path / "x" / "tile.tif"
    disguised.parent.mkdir()
    disguised.write_text((tmp_path / "mosaic.vrt").read_text())
    with pytest.raises(ImageError, match="cannot be read as a raster"):
        RasterEncoder(disguised).fit()
