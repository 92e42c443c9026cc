"""What folds promise, and what is true, on simulated fields.

    python benchmarks/folds.py

Gaussian fields in a square of about 1,000 km at the equator, simulated exactly (Cholesky), with
covariances that are exponential or spherical, of a known range. No data are read. Three tables:

1. the range of autocorrelation by `autocorrelation_range`, against the simulated one, and how often
   maximum likelihood on half of the rows is as near to it (eight fields of each kind);
2. how far the distances of folds are from those of a map of the whole square (Wasserstein, km),
   for labels that are clustered, random and regular. The layouts are shaped like those in the
   examples of CAST's `knndm`: 1,000 points around 50 parents, 1,000 random points, and a lattice;
3. the error that folds promise against that of the map, as per cent of the latter.
"""

import warnings
from itertools import product

import numpy as np
import pandas as pd
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import SatCLIPEncoder
from skgeo_embed._sphere import arc_km, nearest_km, unit_vectors
from skgeo_embed.model_selection import (
    NearestNeighborDistanceKFold,
    SpatialBlockKFold,
    autocorrelation_range,
)

WEST, SOUTH, EAST, NORTH = REGION = (5.0, -4.5, 14.0, 4.5)  # 1,000 km by 1,000 km
MODELS = {
    "spherical": lambda h: np.where(h < 1, 1 - 1.5 * h + 0.5 * h**3, 0.0),
    "exponential": lambda h: np.exp(np.log(0.05) * h),  # 5 % at the range
}


def covariance(places, model, range_km):
    points = unit_vectors(places)
    return MODELS[model](arc_km(cdist(points, points)) / range_km)


def simulate(places, model, range_km, rng):
    root = cholesky(covariance(places, model, range_km) + 1e-8 * np.eye(len(places)), lower=True)
    return root @ rng.normal(size=len(places))


def random_places(n, rng):
    return rng.uniform([WEST, SOUTH], [EAST, NORTH], (n, 2))


def clustered_places(n, rng, n_parents=50, radius=0.45):
    """Places within 50 km of their parents, which are random."""
    parent = random_places(n_parents, rng)[rng.integers(0, n_parents, n)]
    angle, distance = 2 * np.pi * rng.uniform(size=n), radius * np.sqrt(rng.uniform(size=n))
    return parent + distance[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


def regular_places(n, rng):
    side = round(np.sqrt(n))
    step = (np.arange(side) + rng.uniform()) / side
    lon, lat = np.meshgrid(WEST + step * (EAST - WEST), SOUTH + step * (NORTH - SOUTH))
    return np.column_stack([lon.ravel(), lat.ravel()])


def likeliest_range(places, y, n_rows=400):
    """Return the range of greatest likelihood over models, shares of noise, means and variances."""
    places, y = places[:n_rows], y[:n_rows]
    points = unit_vectors(places)
    distance = arc_km(cdist(points, points))
    columns = np.column_stack([y, np.ones(n_rows)])
    best, least = 0.0, np.inf
    for model, range_km, noise in product(
        MODELS, np.geomspace(20, 1000, 24), (0.01, 0.1, 0.3, 0.6)
    ):
        alike = (1 - noise) * MODELS[model](distance / range_km) + noise * np.eye(n_rows)
        root = cholesky(alike, lower=True, check_finite=False)
        white, one = solve_triangular(root, columns, lower=True, check_finite=False).T
        white = white - white @ one / (one @ one) * one
        minus_twice = n_rows * np.log(white @ white) + 2 * np.log(np.diag(root)).sum()
        if minus_twice < least:
            best, least = range_km, minus_twice
    return best


def ranges(n_seeds=20, n_places=800):
    rows = []
    for model in MODELS:
        for true in (50, 100, 200, 300):
            found, best = [], []
            for seed in range(n_seeds):
                rng = np.random.default_rng(seed)
                places = random_places(n_places, rng)
                y = simulate(places, model, true, rng)
                found.append(autocorrelation_range(places, y) / true)
                if seed < 8:
                    best.append(likeliest_range(places, y) / true)
            row = {"model": model, "range, km": true, "median found / true": np.median(found)}
            row["within 20 %"] = np.mean(np.abs(np.array(found) - 1) <= 0.2)
            row["likelihood within 20 %"] = np.mean(np.abs(np.array(best) - 1) <= 0.2)
            rows.append(row)
    return pd.DataFrame(rows)


def splitters():
    return {
        "random": KFold(5, shuffle=True, random_state=0),
        "blocks of a tenth": SpatialBlockKFold(5, block_size="auto"),
        "blocks by autocorrelation": SpatialBlockKFold(5, block_size="autocorrelation"),
        "kNNDM": NearestNeighborDistanceKFold(5, predict_at=REGION),
    }


LAYOUTS = {"clustered": clustered_places, "random": random_places, "regular": regular_places}


def mismatch(folds, places, predicted):
    found = [nearest_km(places[test], places[train]) for train, test in folds]
    return wasserstein_distance(np.concatenate(found), predicted)


def distances(n_seeds=10, n_places=1000):
    rows = []
    for layout, lay in LAYOUTS.items():
        found = {name: [] for name in splitters()}
        for seed in range(n_seeds):
            rng = np.random.default_rng(seed)
            places = lay(n_places, rng)
            y = simulate(places, "exponential", 200, rng)
            predicted = nearest_km(random_places(5000, rng), places)
            for name, splitter in splitters().items():
                found[name].append(mismatch(splitter.split(places, y), places, predicted))
        rows.append({"labels": layout, **{name: np.mean(all_) for name, all_ in found.items()}})
    return pd.DataFrame(rows)


def promises(n_seeds=8, n_labels=400, n_map=1200):
    estimators = {
        "nearest 5": (KNeighborsRegressor(5, weights="distance"), "places"),
        "boosting, lon and lat": (
            HistGradientBoostingRegressor(max_iter=60, early_stopping=False),
            "places",
        ),
        "ridge, SatCLIPEncoder()": (make_pipeline(StandardScaler(), Ridge(10.0)), "features"),
    }
    encoder = SatCLIPEncoder().fit()
    rows = []
    for layout, lay in LAYOUTS.items():
        more = {"n_parents": 20} if layout == "clustered" else {}
        for seed in range(n_seeds):
            rng = np.random.default_rng(seed)
            labels = lay(n_labels, rng, **more)
            everywhere = np.vstack([labels, random_places(n_map, rng)])
            seen = slice(0, len(labels))
            inputs = {"places": everywhere, "features": encoder.transform(everywhere)}
            for range_km in (100, 300):
                y = simulate(everywhere, "exponential", range_km, rng)
                folds = {k: list(s.split(labels, y[seen])) for k, s in splitters().items()}
                for name, (model, which) in estimators.items():
                    X = inputs[which]
                    map_error = model.fit(X[seen], y[seen]).predict(X[len(labels) :])
                    true = np.sqrt(np.mean((map_error - y[len(labels) :]) ** 2))
                    for split, pairs in folds.items():
                        held = cross_val_predict(model, X[seen], y[seen], cv=pairs)
                        promised = np.sqrt(np.mean((held - y[seen]) ** 2))
                        rows.append((layout, name, split, 100 * (promised / true - 1)))
    frame = pd.DataFrame(rows, columns=["labels", "estimator", "folds", "off"])
    return frame.pivot_table(
        index=["labels", "estimator"], columns="folds", values="off", sort=False
    ).reset_index()


def show(title, frame, digits):
    print(f"\n{title}\n")
    print("| " + " | ".join(frame.columns) + " |")
    print("| " + " | ".join("---" for _ in frame.columns) + " |")
    for row in frame.itertuples(index=False):
        cells = [f"{v:.{digits}f}" if isinstance(v, float) else str(v) for v in row]
        print("| " + " | ".join(cells) + " |", flush=True)


def main():
    warnings.filterwarnings("ignore", "values")  # ranges beyond what the square shows
    show("Range of autocorrelation, found and simulated", ranges(), 2)
    show("Distance of folds from the map (Wasserstein, km)", distances(), 1)
    show("Promised error less true error, % of the true one", promises(), 0)


if __name__ == "__main__":
    main()
