"""Folds by nearest-neighbour distance matching: ours, and those of the method's authors.

    pip install --no-deps rdata
    git clone https://github.com/JanLinnenbrink/kNNDM_paper
    python benchmarks/knndm.py kNNDM_paper

Two sets of layouts for which the authors have published how far their folds' distances are from
those of the map (Wasserstein, W):

1. the layout in CAST's own tests (`tests/testthat/test-knndm.R`): 100 random places in a corner of
   4 by 4 of a square of 10 by 10, and 1,000 random places to predict at. R's random numbers are
   made here, so that places are the same; their W is that of k-means, for 2 to 10 folds;
2. the 5,000 samples over Europe of the second simulation of Linnenbrink et al. (2024,
   doi 10.5194/gmd-17-5897-2024), in five designs, each with 100 layouts, of which the first few are
   read, and 994 places to predict at. Their W is in `results/knndm_k`, here for 10 folds.

Our folds are made from longitude and latitude. W is measured as theirs, by distances in the plane.
Their folds hold at most a share of 1 / k + 0.1 of the rows, ours at most half (of two folds, three
quarters); the largest share of ours is printed. Beside them are random folds.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import rdata
from folds import show
from pyproj import Transformer
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance
from sklearn.model_selection import KFold

from skgeo_embed.model_selection import NearestNeighborDistanceKFold

# what CAST's test expects: W of each number of folds, and the first place's distance to a label
IN_CAST = dict(
    zip(range(2, 11), [2.184, 2.286, 2.468, 2.554, 2.57, 2.634, 2.678, 2.694, 2.688], strict=True)
)
FIRST_DISTANCE = 1.3886
KM_PER_DEGREE = 111.195
DESIGNS = ["clusterStrong", "clusterMedium", "clusterGapped", "simpleRandom", "regular"]


def r_uniform(seed, n, largest):
    """Return places as sf's st_sample draws them in a square, after set.seed of R."""
    state = np.empty(51 + 624 + 1, dtype=np.uint64)
    state[0] = seed
    for number in range(1, len(state)):  # 50 steps, one that is not used, and the state
        state[number] = (69069 * int(state[number - 1]) + 1) % 2**32
    twister = np.random.RandomState()
    twister.set_state(("MT19937", state[52:].astype(np.uint32), 624))
    drawn = twister.randint(0, 2**32, 2 * n, dtype=np.uint64) / 2**32
    return largest * drawn.reshape(2, n).T


def measure(lonlat, plane, predict_at, predict_plane, n_splits):
    """Return W of our folds and of random ones, and the share of the largest fold."""
    predicted = cKDTree(plane).query(predict_plane)[0]

    def mismatch(folds):
        found = [cKDTree(plane[train]).query(plane[test])[0] for train, test in folds]
        return wasserstein_distance(np.concatenate(found), predicted)

    splitter = NearestNeighborDistanceKFold(n_splits, predict_at=predict_at)
    folds = list(splitter.split(lonlat))
    random = mismatch(KFold(n_splits, shuffle=True, random_state=0).split(plane))
    largest = max(len(test) for _, test in folds) / len(plane)
    return {"ours": mismatch(folds), "largest fold": largest, "random": random}


def in_tests_of_cast():
    plane, predict_plane = r_uniform(1, 100, 4.0), r_uniform(1, 1000, 10.0)
    first = cKDTree(plane).query(predict_plane[0])[0]
    assert round(first, 4) == FIRST_DISTANCE, f"places are not those of R: {first}"
    at_equator = [places / KM_PER_DEGREE for places in (plane, predict_plane)]  # units as km
    return pd.DataFrame(
        {
            "folds": k,
            "CAST": theirs,
            **measure(at_equator[0], plane, at_equator[1], predict_plane, k),
        }
        for k, theirs in IN_CAST.items()
    )


def in_the_paper(folder, n_layouts):
    folder = folder / "simulation2_AGB"
    to_degrees = Transformer.from_crs(3035, 4326, always_xy=True)
    rows = []
    places = rdata.read_rda(folder / "data" / "ppoints.Rdata")["ppoints"]
    predict_plane = np.array(places.iloc[:, 0].tolist()) / 1000
    predict_at = np.column_stack(to_degrees.transform(*1000 * predict_plane.T))
    for design in DESIGNS:
        for number in range(1, n_layouts + 1):
            table = rdata.read_rda(folder / "data" / design / f"AGBdata{number:03}.Rdata")
            plane = table["AGBdata"][["xcoord", "ycoord"]].to_numpy()
            lonlat = np.column_stack(to_degrees.transform(*1000 * plane.T))
            found = folder / "results" / "knndm_k" / f"AGB_{design}{number:03}.Rdata"
            theirs = rdata.read_rda(found)["k_err"].set_index("k")["W"].loc[10] / 1000
            ours = measure(lonlat, plane, predict_at, predict_plane, 10)
            rows.append({"design": design, "CAST": theirs, **ours})
    found = pd.DataFrame(rows)
    found["ours is less"] = (found["ours"] < found["CAST"]).astype(float)
    return found.groupby("design", sort=False).mean().reset_index()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="a clone of kNNDM_paper")
    parser.add_argument("--layouts", type=int, default=2, help="of each design, at most 100")
    arguments = parser.parse_args()
    show("W in the layout of CAST's tests (side of the square: 10)", in_tests_of_cast(), 3)
    if arguments.folder is not None:
        show("W over Europe, km", in_the_paper(arguments.folder, arguments.layouts), 2)


if __name__ == "__main__":
    main()
