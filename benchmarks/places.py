"""What places that are areas cost, and rasters at places, beside what cannot be saved.

    python benchmarks/places.py
    python benchmarks/places.py --tables FOLDER   # with elect80_us_counties.parquet (spData, CC0)
    python benchmarks/places.py --points 20000 --tiles 20

Prints seconds, and CPU seconds of all threads, which other work on the machine changes less:
- RasterEncoder: a million points over a thousand tiled GeoTIFFs of four UTM zones (256 x 256
  pixels, 16 bands of int8, blocks of 128, deflate), which are made in a temporary folder; beside
  opening those files and reading each of those blocks once with rasterio, in as many threads; and
  reading the headers of the tiles, which `fit` does;
- SatCLIPEncoder(): the cells around the centres of 3,107 US counties (or as many random places of
  their bounds), 64 points each; beside encoding those points alone.
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.windows import Window

from skgeo_embed import RasterEncoder, SatCLIPEncoder
from skgeo_embed.places.areas import area_sampling, points_in_areas
from skgeo_embed.rasters.sampling import WORKERS

SIZE, BLOCK, BANDS, STEP = 256, 128, 16, 10
ZONES = ["EPSG:32616", "EPSG:32632", "EPSG:32733", "EPSG:32755"]
COUNTIES, AREA_POINTS = 3107, 64
US = (-124.7, 24.5, -67.0, 49.4)
REPEATS = 5


def timed(function):
    """Seconds and CPU seconds."""
    started, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - started, time.process_time() - cpu


def compared(ours, floor, repeats):
    """Medians of seconds of both, and of their ratios, each pair measured in turn."""
    ours(), floor()
    pairs = np.array([[timed(ours), timed(floor)] for _ in range(repeats)])
    seconds = np.median(pairs, axis=0)
    ratios = np.median(pairs[:, 0] / pairs[:, 1], axis=0)
    return seconds, ratios


def show(name, floor_name, seconds, ratios):
    for row, (wall, cpu) in zip((name, floor_name), seconds, strict=True):
        print(f"  {row:<44} {wall:7.2f} s {cpu:7.2f} CPU s")
    print(f"  {'ratio':<44} {ratios[0]:7.2f}   {ratios[1]:7.2f}", flush=True)


def write_tile(folder, number, rng):
    """A smooth field with noise: about as hard to pack as embeddings of 10 m are."""
    coarse = rng.normal(size=(BANDS, 9, 9)).repeat(32, axis=1).repeat(32, axis=2)
    smooth = coarse[:, :SIZE, :SIZE] * 30 + rng.normal(size=(BANDS, SIZE, SIZE)) * 8
    pixels = np.clip(smooth, -127, 127).astype(np.int8)
    corner = corner_of(number)
    path = folder / f"{number:05d}.tif"
    profile = {"driver": "GTiff", "count": BANDS, "height": SIZE, "width": SIZE, "dtype": "int8"}
    profile |= {"crs": ZONES[number % len(ZONES)], "transform": Affine(STEP, 0, corner[0], 0, -STEP,
                                                                       corner[1])}  # fmt: skip
    profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate"}
    with rasterio.open(path, "w", nodata=-128, **profile) as file:
        file.write(pixels)
    return path


def corner_of(number):
    """Tiles lie side by side, ten in a row, in the middle of their zone."""
    row, column = divmod(number // len(ZONES), 10)
    return 400_000 + column * SIZE * STEP, 5_000_000 - row * SIZE * STEP


def points_over(n_tiles, n_points, rng):
    tile = rng.integers(0, n_tiles, n_points)
    lonlat = np.empty((n_points, 2))
    inside = rng.uniform(0, SIZE * STEP, (2, n_points))
    for zone, crs in enumerate(ZONES):
        of_zone = np.flatnonzero(tile % len(ZONES) == zone)
        west, north = corner_of(tile[of_zone])
        to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        x, y = west + inside[0, of_zone], north - inside[1, of_zone]
        lonlat[of_zone] = np.column_stack(to_degrees.transform(x, y))
    return lonlat


def read_blocks(path):
    """Each block of a tile once."""
    with rasterio.open(path, driver="GTiff") as file:
        for row in range(0, SIZE, BLOCK):
            for column in range(0, SIZE, BLOCK):
                file.read(window=Window(column, row, BLOCK, BLOCK))


def rasters(n_points, n_tiles, repeats):
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [write_tile(Path(folder), number, rng) for number in range(n_tiles)]
        stored = sum(path.stat().st_size for path in paths) / (n_tiles * SIZE * SIZE * BANDS)
        lonlat = points_over(n_tiles, n_points, rng)
        encoder = RasterEncoder(folder)
        opening = timed(encoder.fit)

        def floor():
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(read_blocks, paths))

        result = compared(lambda: encoder.transform(lonlat), floor, repeats)
    print(f"{n_points:,} points over {n_tiles:,} tiles (packed to {stored:.0%}), {WORKERS} threads")
    show("RasterEncoder.transform", "rasterio, each block once", *result)
    print(f"  {'fit: headers of the tiles':<44} {opening[0]:7.2f} s {opening[1]:7.2f} CPU s")


def cells(folder, count):
    """The part of the United States that is nearest to each county's centre."""
    if folder is None:
        lonlat = np.random.default_rng(0).uniform(US[:2], US[2:], (count, 2))
    else:
        table = pd.read_parquet(Path(folder) / "elect80_us_counties.parquet")
        lonlat = table[["lon", "lat"]].to_numpy()
    centres = shapely.MultiPoint(lonlat)
    around = shapely.get_parts(shapely.voronoi_polygons(centres))
    whole = shapely.buffer(shapely.convex_hull(centres), 0.5)
    return geopandas.GeoSeries(shapely.intersection(around, whole), crs=4326)


def counties(folder, count, repeats):
    areas = cells(folder, count)
    encoder = SatCLIPEncoder(area_points=AREA_POINTS).fit()
    values = np.asarray(areas, dtype=object)
    pieces = points_in_areas(values, area_sampling(AREA_POINTS, "mean"))
    lonlat = np.concatenate([points for _, points, _ in pieces])
    result = compared(lambda: encoder.transform(areas), lambda: encoder.transform(lonlat), repeats)
    print(f"{len(areas):,} cells with {AREA_POINTS} points each ({len(lonlat):,} points)")
    show("SatCLIPEncoder.transform of areas", "of their points", *result)
    once = statistics.median(
        timed(lambda: list(points_in_areas(values, area_sampling(AREA_POINTS, "mean"))))[1]
        for _ in range(repeats)
    )
    print(f"  {'spreading the points':<44} {'':9} {once:7.2f} CPU s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--tiles", type=int, default=1000)
    parser.add_argument("--tables", help="a folder with elect80_us_counties.parquet")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    rasters(options.points, options.tiles, options.repeats)
    counties(options.tables, min(COUNTIES, options.points // 10), options.repeats)


if __name__ == "__main__":
    main()
