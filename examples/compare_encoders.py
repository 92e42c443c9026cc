"""
Which encoder, and which folds
==============================

You learn what each encoder is worth on a table of yours: `compare_encoders` scores encoders and
baselines in the same folds, and one call is enough. And you see why random folds flatter: stations
are dense, so that a held-out one has a neighbour in training, and whatever memorises neighbours
looks good. On blocks that are held out whole the order changes. The bundled SatCLIP encoder, its
untrained twin and closed-form encodings are always there; GeoCLIP joins after
`pip install --no-deps geoclip`, published SatCLIP models after they were downloaded once, CSP and
GPS2Vec where you pass their files.

Half a minute on 2 CPU cores.
"""

# sphinx_gallery_start_ignore
import argparse

# sphinx_gallery_end_ignore
import matplotlib.pyplot as plt
import numpy as np

from skgeo_embed import (
    CSPEncoder,
    GeoCLIPEncoder,
    GPS2VecEncoder,
    PositionalEncoder,
    SatCLIPEncoder,
    compare_encoders,
)
from skgeo_embed.datasets import load_air_temperature

# sphinx_gallery_start_ignore
parser = argparse.ArgumentParser()
parser.add_argument("--csp", help="a CSP checkpoint (.pth.tar)")
parser.add_argument("--gps2vec", help="a folder of GPS2Vec zone files")
parser.add_argument("--figure", default="compare_encoders.png", help="where to draw")
arguments = parser.parse_args()
# sphinx_gallery_end_ignore

# %%
# Every encoder that can be opened here without the network, beside those that are always compared.

PUBLISHED = [f"satclip-{t}-l{size}" for t in ("resnet18", "resnet50", "vit16") for size in (10, 40)]


def available_encoders(csp, gps2vec):
    """Name every encoder that can be opened here without the network."""
    encoders = {
        "sine, cosine": PositionalEncoder("wrap"),
        "harmonics, L = 10": PositionalEncoder(legendre_polys=10),
        'SatCLIPEncoder(layer="embedding")': SatCLIPEncoder(layer="embedding"),
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
# One call: a ridge on each encoder's features, in five random folds and in five folds of whole
# blocks. Every third station will do, and `spatial_pipeline`, which takes a minute, is left out.

encoders = available_encoders(arguments.csp, arguments.gps2vec)
X, y = load_air_temperature(return_X_y=True)
table = compare_encoders(X[::3], y[::3], encoders={**encoders, "spatial_pipeline()": None})
table = table.sort_values("blocks", ascending=False)
print(table.round(3).to_string())

# %%
# The pale bars are what a paper would show, the dark ones what a place without stations gets.

scores = table[["random", "blocks"]].set_axis(["random folds", "whole blocks"], axis=1)
figure, axes = plt.subplots(figsize=(8.5, 0.5 * len(scores) + 1.4), layout="constrained")
position = np.arange(len(scores))[::-1]
for offset, column, colour in zip((0.2, -0.2), scores, ("0.7", "#00429d"), strict=True):
    bars = axes.barh(position + offset, scores[column], height=0.38, color=colour, label=column)
    axes.bar_label(bars, fmt="%.3f", padding=3, fontsize=8)
axes.set_yticks(position, scores.index)
axes.set(
    title="Mean annual air temperature from coordinates alone",
    xlabel="R² (5 folds)",
    xlim=(min(0, scores.min().min() - 0.05), 1.1),
)
axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
figure.savefig(arguments.figure, dpi=130)
print(f"figure drawn to {arguments.figure}")
