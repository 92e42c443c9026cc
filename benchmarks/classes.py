"""How well classes are told at places: one call of spatial_pipeline against four lines.

    pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/classes.py FOLDER               # hours on one CPU core: many classes are slow
    python benchmarks/classes.py FOLDER --tables climate --only four

FOLDER holds parquet files with lon, lat and classes: climate zones of US ZIP areas (PyPI eeweather,
Apache-2.0), cropland in China (cropharvest, CC BY-SA 4.0), drainage of soils in the canton of Berne
(R geoGAM, GPL) and families of languages (WALS, CC BY 4.0); a file that is not there is left out.
From the packages of labels.py come the Köppen class, the land cover and the country of points on
land (countries with at least 20 of the points). Folds are three: random, blocks of 2.5°, and
SpatialBlockKFold(block_size="auto"). Of the Köppen class and the land cover each continent is held
out too, which is not drawn. Scores are the accuracy over the test rows of all folds together, and
means over several draws of folds: blocks are few, and of climate zones the same two models differ
by -.030 in one draw of them and by .016 in another. So the difference from the four lines is
printed too, with its standard error over draws. Boosting has l2_regularization=1, without which it
diverges where a class is rare: of climate zones in random folds it then tells .54 by
longitude and latitude, and not .93.
"""

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from downstream import tree_features
from labels import continent, load_tasks
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, PredefinedSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skgeo_embed import SatCLIPEncoder, spatial_pipeline
from skgeo_embed.model_selection import SpatialBlockKFold

MOST_ROWS = 2500
LAND_POINTS = 2650  # some 2,500 of them have a class and a country
FOUR_LINES = "four lines"


def load_tables(folder):
    """Name, lonlat and classes of each table."""
    yield from climate_zones(folder)
    for file, target in {
        "china_cropland": "cropland",
        "berne_soils": "drainage_class",
        "languages": "family",
    }.items():
        if (folder / f"{file}.parquet").exists():
            frame = pd.read_parquet(folder / f"{file}.parquet").dropna(subset=target)
            yield f"{file}: {target}", *draw(frame, target, MOST_ROWS)
    ((_, lonlat, labels),) = load_tasks(LAND_POINTS, seed=2027)[:1]
    for name in ("Köppen class", "land cover", "country"):
        _, number, counts = np.unique(labels[name], return_inverse=True, return_counts=True)
        common = counts[number] >= (20 if name == "country" else 1)
        yield f"land: {name}", lonlat[common], labels[name][common]


def climate_zones(folder):
    """ZIP areas of the lower 48 states, and more of them with Alaska, Hawaii and the islands."""
    path = folder / "us_zcta_climate_zones.parquet"
    if path.exists():
        frame, target = pd.read_parquet(path), "iecc_climate_zone"
        lower = frame[frame["lon"].between(-125, -66) & frame["lat"].between(24, 50)]
        yield "climate zones, lower 48", *draw(lower, target, 2500)
        yield "climate zones, all", *draw(frame, target, 4000)


def draw(frame, target, rows):
    """Places and classes of so many rows, drawn at random."""
    frame = frame.sample(min(rows, len(frame)), random_state=0)
    return frame[["lon", "lat"]].to_numpy(), frame[target].to_numpy(dtype=str)


def make_models():
    """Name and classifier of places of each row."""
    trees = HistGradientBoostingClassifier(
        l2_regularization=1.0, early_stopping=False, random_state=0
    )
    encoder = SatCLIPEncoder().fit([[0.0, 0.0]])
    given = FunctionTransformer(lambda lonlat: tree_features(encoder, lonlat))
    radians = FunctionTransformer(lambda lonlat: np.deg2rad(lonlat[:, ::-1]))
    nearest = KNeighborsClassifier(5, weights="distance", metric="haversine")
    return {
        FOUR_LINES: make_pipeline(
            SatCLIPEncoder(n_components=64), StandardScaler(), LogisticRegression(max_iter=1000)
        ),
        "boosting, longitude and latitude": trees,
        "boosting, what spatial_pipeline gives its trees": make_pipeline(given, trees),
        "5 nearest labels": make_pipeline(radians, nearest),
        "spatial_pipeline": spatial_pipeline("classifier"),
    }


def make_splits(table, lonlat, draw):
    """Name and splitter of each kind of folds."""
    drawn = {"shuffle": True, "random_state": draw}
    splits = {
        "random": KFold(3, **drawn),
        "2.5° blocks": SpatialBlockKFold(3, block_size=2.5, **drawn),
        "auto blocks": SpatialBlockKFold(3, block_size="auto", **drawn),
    }
    if table in ("land: Köppen class", "land: land cover") and draw == 0:
        _, number = np.unique(continent(lonlat), return_inverse=True)
        splits["continents"] = PredefinedSplit(number)
    return splits


def accuracy(model, lonlat, y, folds):
    """Accuracy over the test rows of all folds together; NaN where places lie in too few blocks."""
    try:
        parts = list(folds.split(lonlat))
    except ValueError:
        return np.nan
    found = np.empty_like(y)
    for train, test in parts:
        found[test] = clone(model).fit(lonlat[train], y[train]).predict(lonlat[test])
    return np.mean(found == y)


def beside_four_lines(scores):
    """Mean difference from the four lines in the same draws, and its standard error."""
    keys = ["table", "split", "draw"]
    base = scores[scores.model == FOUR_LINES].set_index(keys).accuracy
    others = scores[scores.model != FOUR_LINES].set_index([*keys, "model"]).accuracy
    difference = (others - base).groupby(["table", "model", "split"], sort=False)
    return difference.agg(["mean", "sem"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", default="", help="tables whose name contains this")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--draws", type=int, default=4, help="draws of folds of each kind")
    parser.add_argument("--csv", type=Path, help="write all scores to this file")
    arguments = parser.parse_args()
    models = {name: model for name, model in make_models().items() if arguments.only in name}
    scores = []
    for table, lonlat, y in load_tables(arguments.folder):
        if arguments.tables not in table:
            continue
        started = time.perf_counter()
        for draw, (name, model) in product(range(arguments.draws), models.items()):
            for split, folds in make_splits(table, lonlat, draw).items():
                scores.append((table, name, split, draw, accuracy(model, lonlat, y, folds)))
        print(f"{table}, {len(y):,} rows: {time.perf_counter() - started:.0f} s", flush=True)
    scores = pd.DataFrame(scores, columns=["table", "model", "split", "draw", "accuracy"])
    wide = scores.pivot_table(
        index=["table", "model"], columns="split", values="accuracy", sort=False
    )
    print(wide.round(3).to_string())
    print(wide.groupby("model", sort=False).mean().round(3).to_string())
    if FOUR_LINES in models:
        print(beside_four_lines(scores).round(3).to_string())
    if arguments.csv:
        scores.to_csv(arguments.csv, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
