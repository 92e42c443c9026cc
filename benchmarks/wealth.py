"""How well features of places tell asset wealth in African countries that were never seen.

    git clone https://github.com/sustainlab-group/africa_poverty
    python benchmarks/wealth.py africa_poverty         # about 20 minutes on one CPU core
    python benchmarks/wealth.py africa_wealth.parquet  # a part of it, see below

The protocol of Yeh et al. (2020), Nature Communications 11, 2583: 19,669 village clusters of
surveys (DHS, 2009 to 2016) in 23 countries; five folds, each of which holds whole countries out;
the target is the asset wealth index of a cluster, and the score is the squared Pearson correlation
over the predictions of all folds together. The clone holds the clusters, the index and the
published predictions (data/predictions/dhs_ooc_preds_ooc.csv) and names the countries of each fold
(batchers/dataset_constants.py); the published rows are scored from these predictions. The survey
has terms of its own, so nothing of it is part of this library.

Instead of the clone, the path of a parquet file may be given, with the columns lon, lat, country,
fold, wealth_index, and published_... for predictions of others.

The models: a ridge on standardised columns, its strength chosen among `ALPHAS` by the squared error
in countries held out of the training rows (grouped folds; the test countries play no part);
gradient boosting; the mean of ridge, boosting and extra trees; and spatial_pipeline() as it comes.
Trees read 40 principal components, of all rows, where columns are many and mix content with place.
"""

import argparse
import ast
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import GeoCLIPEncoder, SatCLIPEncoder, spatial_pipeline

ALPHAS = np.logspace(-1, 6, 15)
PREDICTIONS = "data/predictions/dhs_ooc_preds_ooc.csv"
CLUSTERS = "data/dhs_clusters.csv"
FOLDS = "batchers/dataset_constants.py"
PUBLISHED = "published: "
N_FOR_TREES = 40
COLUMNS = ("ridge", "boosting", "mean of three", "whole model")


def load_wealth(path):
    """Read a clone or a parquet file: lon, lat, country, fold, wealth, "published: ..." columns."""
    path = Path(path)
    if path.suffix == ".parquet":
        table = pd.read_parquet(path).rename(columns={"wealth_index": "wealth"})
        others = {c: c.removeprefix("published_").replace("_", " ") for c in table}
        return table.rename(columns={c: PUBLISHED + n for c, n in others.items() if c != n})
    if is_present(path / PREDICTIONS):
        table = pd.read_csv(path / PREDICTIONS)
        known = ["lat", "lon", "country", "year", "urban", "label"]
        table = table.rename(columns={c: PUBLISHED + c for c in table if c not in known})
        table = table.rename(columns={"label": "wealth"})
    elif is_present(path / CLUSTERS):
        print(f"{PREDICTIONS} is missing, so there are no published rows")
        table = pd.read_csv(path / CLUSTERS).rename(columns={"wealthpooled": "wealth"})
    else:
        raise FileNotFoundError(f"{path} has neither {PREDICTIONS} nor {CLUSTERS}")
    table["fold"] = table["country"].map(published_folds(path / FOLDS))
    return table


def is_present(path):
    """Whether a file is there, and is not only a pointer to Git's large file storage."""
    return path.is_file() and not path.read_bytes().startswith(b"version https://git-lfs")


def published_folds(path):
    """Number of the fold that holds a country out, by country."""
    if not is_present(path):
        raise FileNotFoundError(f"{path} is missing, which names the countries of the folds")
    folds = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign):
            name = getattr(node.targets[0], "id", "")
            if name in {f"_SURVEY_NAMES_2009_17{letter}" for letter in "ABCDE"}:
                countries = ast.literal_eval(node.value)["test"]
                folds |= dict.fromkeys(countries, "ABCDE".index(name[-1]))
    return folds


def ridges(train, y, test, alphas):
    """Predict with a ridge of each strength."""
    centre, mean = train.mean(axis=0), y.mean()
    train = train - centre
    values, vectors = np.linalg.eigh(train.T @ train)
    turned = vectors.T @ (train.T @ (y - mean))
    queries = (test - centre) @ vectors
    return [queries @ (turned / (values.clip(0) + alpha)) + mean for alpha in alphas]


def ridge(train, y, test, countries):
    """Predict with a ridge whose strength does best in held-out countries of the training rows."""
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    errors = np.zeros(len(ALPHAS))
    for inner, held in GroupKFold(5).split(train, groups=countries):
        found = ridges(train[inner], y[inner], train[held], ALPHAS)
        errors += [((y[held] - values) ** 2).sum() for values in found]
    return ridges(train, y, test, [ALPHAS[errors.argmin()]])[0]


def boosting(train, y, test, countries):
    """Predict with gradient boosting."""
    model = HistGradientBoostingRegressor(early_stopping=False, random_state=0)
    return model.fit(train, y).predict(test)


def extra_trees(train, y, test, countries):
    """Predict with extra trees."""
    model = ExtraTreesRegressor(100, min_samples_leaf=5, max_features=0.5, random_state=0)
    return model.fit(train, y).predict(test)


PROBES = {"ridge": ridge, "boosting": boosting, "extra trees": extra_trees}


def out_of_fold(features, table, probe, most_rows=None):
    """Predict the countries of each fold from those of the others.

    `features` is a matrix or a frame with a row for each row of `table`; `probe` is a name of
    `PROBES` or a scikit-learn regressor; `most_rows` of the training rows are drawn at random.
    """
    framed = isinstance(features, pd.DataFrame)
    features = features if framed else np.asarray(features, dtype=np.float64)
    wealth, countries = table["wealth"].to_numpy(), table["country"].to_numpy()
    found = np.empty(len(table))
    for fold in sorted(table["fold"].unique()):
        test = np.flatnonzero(table["fold"] == fold)
        train = np.flatnonzero(table["fold"] != fold)
        if most_rows is not None:
            train = np.random.RandomState(0).permutation(train)[:most_rows]
        parts = [features.iloc[rows] if framed else features[rows] for rows in (train, test)]
        if isinstance(probe, str):
            found[test] = PROBES[probe](parts[0], wealth[train], parts[1], countries[train])
        else:
            found[test] = clone(probe).fit(parts[0], wealth[train]).predict(parts[1])
    return found


def score(wealth, predicted):
    """Squared Pearson correlation."""
    return np.corrcoef(wealth, predicted)[0, 1] ** 2


def evaluate(features, table, probe, *, for_trees=None, most_rows=None):
    """Score features: the squared correlation over all rows.

    `probe` is "ridge", "boosting", "extra trees", "mean of three" or a regressor. In the mean,
    trees read `for_trees` where it is given.
    """
    if not isinstance(probe, str) or probe in PROBES:
        return score(table["wealth"], out_of_fold(features, table, probe, most_rows))
    trees = features if for_trees is None else for_trees
    found = [
        out_of_fold(trees if name != "ridge" else features, table, name, most_rows)
        for name in PROBES
    ]
    return score(table["wealth"], np.mean(found, axis=0))


def grid_channels(lonlat):
    """Channels of the default encoder's feature grid, its content at a place."""
    grid = SatCLIPEncoder().fit()._encoder.engine.module.posenc.grid
    return grid(torch.tensor(lonlat)).numpy()


def content_and_place(lonlat):
    """Content columns beside longitude, latitude and the cosine of latitude."""
    content = SatCLIPEncoder(layer="content").fit_transform(lonlat)
    return np.column_stack([content, lonlat, np.cos(np.deg2rad(lonlat[:, 1]))])


def encoded(encoder):
    """A function of places that gives the encoder's columns."""
    return lambda lonlat: encoder.fit_transform(lonlat)


def make_rows():
    """Name of each row, its function of places, and what trees read: "all", "components", None."""
    return {
        "longitude, latitude": (lambda lonlat: lonlat, "all"),
        "GeoCLIP": (encoded(GeoCLIPEncoder()), "components"),
        "SatCLIPEncoder(), all columns": (encoded(SatCLIPEncoder()), None),
        "its first 256": (encoded(SatCLIPEncoder(n_components=256)), None),
        "its first 40": (encoded(SatCLIPEncoder(n_components=40)), "all"),
        "channels of its feature grid": (grid_channels, "all"),
        "content": (lambda lonlat: SatCLIPEncoder(layer="content").fit_transform(lonlat), "all"),
        "content, longitude, latitude, cos": (content_and_place, "all"),
    }


def score_row(features, table, trees):
    """Scores of a row by column: ridge, and what trees add where they read it."""
    found = {"ridge": out_of_fold(features, table, "ridge")}
    if trees == "components":
        reduced = make_pipeline(StandardScaler(), PCA(N_FOR_TREES, random_state=0))
        features = reduced.fit_transform(features)
    if trees is not None:
        found["boosting"] = out_of_fold(features, table, "boosting")
        third = out_of_fold(features, table, "extra trees")
        found["mean of three"] = np.mean([*found.values(), third], axis=0)
    return {name: score(table["wealth"], predicted) for name, predicted in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a clone of africa_poverty, or a parquet file")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--rows", type=int, help="training rows of spatial_pipeline; all of them")
    parser.add_argument("--csv", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    table = load_wealth(arguments.folder)
    countries, folds = table["country"].nunique(), table["fold"].nunique()
    print(f"{len(table):,} clusters, {countries} countries, {folds} folds")
    scores = {
        name: {"whole model": score(table["wealth"], table[name])}
        for name in table
        if name.startswith(PUBLISHED) and arguments.only in name
    }
    lonlat = table[["lon", "lat"]].to_numpy()
    for name, (make, trees) in make_rows().items():
        if arguments.only in name:
            started = time.perf_counter()
            try:
                scores[name] = score_row(make(lonlat), table, trees)
            except ValueError as error:
                print(f"{name} was skipped: {str(error).splitlines()[0]}")
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    if arguments.only in "spatial_pipeline()":
        found = evaluate(table[["lon", "lat"]], table, spatial_pipeline(), most_rows=arguments.rows)
        scores["spatial_pipeline()"] = {"whole model": found}
    scores = pd.DataFrame(scores, index=COLUMNS).T
    print(scores.round(3).to_string(na_rep=""))
    if arguments.csv:
        scores.to_csv(arguments.csv, index_label="features", float_format="%.4f")


if __name__ == "__main__":
    main()
