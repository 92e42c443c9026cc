"""
Encoders in torchgeo-bench
==========================

You learn how to hand any encoder of this package to torchgeo-bench, whose CoordBench scores
location encoders: it calls ``_encode(lon, lat, posix_timestamp)`` of a small class (the last is
None for targets without a time) and expects a row of float32 features for each place. The
benchmark's own data set is not needed here: a stand-in calls the class as it does, on the
stations' temperatures.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from skgeo_embed import PositionalEncoder, SatCLIPEncoder
from skgeo_embed.datasets import load_air_temperature

# %%
# The whole of the adapter. With torchgeo-bench installed it derives from its `LocationEncoder`
# (``torchgeo_bench.coordbench.models``) and calls ``super().__init__()``. An encoder that was made
# with ``month="month"``, such as `ClimplicitEncoder`, is given the month of each timestamp.


class BenchEncoder:
    """Encodes two arrays of degrees with any fitted encoder, or a union of them."""

    def __init__(self, name, encoder):
        self.name = name
        self.encoder = encoder

    def _encode(self, lon, lat, posix_timestamp=None):
        columns = [lon, lat]
        if getattr(self.encoder, "month", None) == "month":
            seconds = np.asarray(posix_timestamp).astype("datetime64[s]")
            columns.append(seconds.astype("datetime64[M]").astype(int) % 12 + 1)
        return self.encoder.transform(np.column_stack(columns))


# %%
# Everything goes through it alike. Others are a name away: `ClimplicitEncoder()`, `SINREncoder()`,
# `TTEEncoder()`, `MINDEncoder()`, `GeoCLIPEncoder()`, `RANGEEncoder()`, or a published SatCLIP.

encoders = {
    "earth-l20": SatCLIPEncoder(),
    "earth-l20, 64 columns": SatCLIPEncoder(n_components=64),
    "bluemarble-l20": SatCLIPEncoder("bluemarble-l20"),
    "harmonics, L = 10": PositionalEncoder(legendre_polys=10, dtype="float32"),
    "earth-l20 beside bluemarble-l20": make_union(
        SatCLIPEncoder(n_components=512), SatCLIPEncoder("bluemarble-l20", n_components=512)
    ),
}


def stand_in_for_the_bench(model, lon, lat, target):
    """Score as a bench does: features once, a ridge on half of the places, R² on the others."""
    features = model._encode(lon, lat, None)
    assert features.dtype == np.float32
    assert len(features) == len(lon)
    train = np.arange(len(lon)) % 2 == 0
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 6)))
    return ridge.fit(features[train], target[train]).score(features[~train], target[~train])


X, y = load_air_temperature(return_X_y=True)
scores = {}
for name, encoder in encoders.items():
    model = BenchEncoder(name, encoder.fit(X.to_numpy()))
    scores[name] = stand_in_for_the_bench(model, *X.to_numpy().T, y.to_numpy())
    print(f"{name}: R² {scores[name]:.3f}")

figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
axis.barh(list(scores)[::-1], list(scores.values())[::-1], color="#0072B2")
axis.set(xlim=(0.9, 1), xlabel="R² on half of the stations, in the bench's way")
axis.spines[["top", "right"]].set_visible(False)
