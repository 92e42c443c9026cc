"""Small rasters of known pixels, and places in them."""

import numpy as np
import rasterio
from affine import Affine
from pyproj import Transformer

SIZE = 96
ROWS = np.random.RandomState(1).randint(0, SIZE, 300)
COLUMNS = np.random.RandomState(2).randint(0, SIZE, 300)


def write(path, pixels, crs="EPSG:32632", corner=(500_000, 5_300_000), step=10, up=False, **more):
    """A GeoTIFF; `up` puts its first row in the south, as AlphaEarth's are."""
    bands, height, width = pixels.shape
    transform = Affine(step, 0, corner[0], 0, -step, corner[1])
    if up:
        transform = Affine(step, 0, corner[0], 0, step, corner[1] - height * step)
        pixels = pixels[:, ::-1]
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "crs": crs}
    profile |= {"dtype": pixels.dtype, "transform": transform, "tiled": True}
    # of four bands of bytes GDAL would make the last one alpha
    profile |= {"photometric": "MINISBLACK", "blockxsize": 32, "blockysize": 32}
    profile |= {"compress": "deflate", **more}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
    return path


def pixels_of(seed=0, bands=4, dtype=np.int8, size=SIZE):
    return np.random.RandomState(seed).randint(-127, 128, (bands, size, size)).astype(dtype)


def lonlat_of(row, column, crs="EPSG:32632", corner=(500_000, 5_300_000), step=10):
    """Degrees of places in rows and columns from the north, with fractions."""
    x, y = corner[0] + np.asarray(column) * step, corner[1] - np.asarray(row) * step
    return np.column_stack(Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y))


def alphaearth(raw):
    return np.sign(raw.astype(float)) * (raw / 127.5) ** 2


def tessera_tile(folder, name="grid_9.05_47.85", seed=0):
    raw = pixels_of(seed, bands=6)
    scales = np.random.RandomState(seed + 9).uniform(0.01, 0.1, (SIZE, SIZE)).astype(np.float32)
    scales[2, 3] = np.nan
    np.save(folder / f"{name}.npy", np.moveaxis(raw, 0, 2))
    np.save(folder / f"{name}_scales.npy", scales)
    write(folder / f"{name}.tiff", np.ones((1, SIZE, SIZE), np.uint8))
    return raw, scales


def years_of(folder):
    return {year: write(folder / f"{year}.tif", pixels_of(year)) for year in (2020, 2021)}


def expected_of(year):
    return pixels_of(int(year))[:, ROWS, COLUMNS].T


CENTRES = lonlat_of(ROWS + 0.5, COLUMNS + 0.5)
