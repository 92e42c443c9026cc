"""
Which encoder, and which folds
==============================

You learn that an encoder is one step to be searched over: every encoder that this machine has is a
value in the grid of a `GridSearchCV`. And you see why random folds flatter: stations are dense, so
that a held-out one has a neighbour in training, and whatever memorises neighbours looks good. On
10° blocks that are held out whole the order changes. The bundled
SatCLIP encoder, its untrained twin and closed-form encodings are always there; GeoCLIP joins after
`pip install --no-deps geoclip`, published SatCLIP models after they were downloaded once, CSP and
GPS2Vec where you pass their files.

Half a minute on 2 CPU cores.
"""

# sphinx_gallery_start_ignore
import argparse

# sphinx_gallery_end_ignore
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import (
    CSPEncoder,
    GeoCLIPEncoder,
    GPS2VecEncoder,
    PositionalEncoder,
    SatCLIPEncoder,
)
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.model_selection import SpatialBlockKFold

# sphinx_gallery_start_ignore
parser = argparse.ArgumentParser()
parser.add_argument("--csp", help="a CSP checkpoint (.pth.tar)")
parser.add_argument("--gps2vec", help="a folder of GPS2Vec zone files")
parser.add_argument("--figure", default="compare_encoders.png", help="where to draw")
arguments = parser.parse_args()
# sphinx_gallery_end_ignore

# %%
# Every encoder that can be opened here without the network.

PUBLISHED = [f"satclip-{t}-l{size}" for t in ("resnet18", "resnet50", "vit16") for size in (10, 40)]


def available_encoders(csp, gps2vec):
    """Name every encoder that can be opened here without the network."""
    encoders = {
        "sine, cosine": PositionalEncoder("wrap"),
        "harmonics, L = 10": PositionalEncoder(legendre_polys=10),
        "SatCLIP bundled, hidden": SatCLIPEncoder(),
        "SatCLIP bundled, embedding": SatCLIPEncoder(layer="embedding"),
        "GeoCLIP": GeoCLIPEncoder(),
    }
    encoders |= {name: SatCLIPEncoder(name, local_files_only=True) for name in PUBLISHED}
    if csp:
        encoders["CSP"] = CSPEncoder(csp)
    if gps2vec:
        encoders["GPS2Vec"] = GPS2VecEncoder(gps2vec)
    found = {}
    for name, encoder in encoders.items():
        try:
            encoder.fit()
            found[name] = encoder
        except FileNotFoundError as error:
            print(f"left out, not on this machine: {name} ({type(error).__name__})")
    return found


# %%
# The encoder is a parameter of the pipeline, like the ridge's strength.
# Each is asked for its features once for all strengths, which `memory` keeps.

encoders = available_encoders(arguments.csp, arguments.gps2vec)
steps = [("encoder", "passthrough"), ("scaler", StandardScaler()), ("ridge", Ridge())]
kept = tempfile.TemporaryDirectory()
model = Pipeline(steps, memory=kept.name)
strengths = [1, 30, 1000]
grid = {"encoder": list(encoders.values()), "ridge__alpha": strengths}
folds = {
    "random folds": KFold(4, shuffle=True, random_state=0),
    "10° blocks": SpatialBlockKFold(4, block_size=10, shuffle=True, random_state=0),
}
X, y = load_air_temperature(return_X_y=True)
columns = {}
for name, kind in folds.items():
    search = GridSearchCV(model, grid, cv=kind, refit=False).fit(X, y)
    scores = search.cv_results_["mean_test_score"].reshape(len(encoders), len(strengths))
    columns[name] = scores.max(axis=1)  # each encoder with the strength that suits it
table = pd.DataFrame(columns, index=list(encoders)).sort_values("10° blocks", ascending=False)
print(table.round(3).to_string())

# %%
# The pale bars are what a paper would show, the dark ones what a place without stations gets.

figure, axes = plt.subplots(figsize=(7.5, 0.5 * len(table) + 1.4), layout="constrained")
position = np.arange(len(table))[::-1]
for offset, column, colour in zip((0.2, -0.2), table, ("0.7", "#00429d"), strict=True):
    bars = axes.barh(position + offset, table[column], height=0.38, color=colour, label=column)
    axes.bar_label(bars, fmt="%.3f", padding=3, fontsize=8)
axes.set_yticks(position, table.index)
axes.set(
    title="Mean annual air temperature from coordinates alone",
    xlabel="R² (4 folds)",
    xlim=(min(0, table.min().min() - 0.05), 1.1),
)
axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
figure.savefig(arguments.figure, dpi=130)
print(f"figure drawn to {arguments.figure}")
