"""What each option of the pretraining recipe is worth: the bundled recipe, less one option a row.

    pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/recipes.py               # about 8 minutes on 2 CPU cores

Every row trains on 10,000 tiles for 6 epochs from one seed, and is scored on its hidden layer by
the ridge of downstream.py, on other points than that uses. Writes recipes.md to docs/benchmarks.
"""

import time

import numpy as np
import pandas as pd
from downstream import OUTPUT, cell, evaluate, fill_in, summarize
from labels import load_tasks

from skgeo_embed import Recipe, SatCLIPEncoder, SatCLIPPretrainer
from skgeo_embed.datasets import load_blue_marble
from skgeo_embed.pretraining.recipe import RECIPES

SCALES = (5, 20, 80, 320)
CHANGES = {
    "the bundled recipe": {},
    "no auxiliary regressions": {"auxiliary_weight": 0.0},
    "no auxiliary, temperature learned from 0.07": {
        "auxiliary_weight": 0.0,
        "temperature": 0.07,
        "learn_temperature": True,
    },
    "no spectral decay": {"spectral_decay": 0.0},
    "dropout 0.1": {"dropout": 0.1},
    "one scale (20 km a pixel)": {"km_per_pixel": 20},
    "L = 10, no spectral decay": {"legendre_polys": 10, "spectral_decay": 0.0},
}
SPLITS = (
    ("ridge", "random"),
    ("ridge by blocks", "10° blocks"),
    ("ridge", "n = 50"),
    ("ridge", "n = 200"),
    ("ridge", "n = 1,000"),
)


def train(change):
    words = {**RECIPES["episodes"], **change}
    tiles = load_blue_marble(
        10_000,
        tile_size=12,
        km_per_pixel=words.pop("km_per_pixel", SCALES),
        night_lights=True,
        random_state=0,
    )
    return SatCLIPPretrainer(
        Recipe(**words), batch_size=1024, max_epochs=6, val_fraction=0.05, random_state=0, verbose=0
    ).fit(tiles.images, tiles.coords)


def draw(summary, path):
    """The frontier: held-out blocks against random splits, a point a recipe."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    markers = "osD^vP*Xhp"
    for axis, (x, y) in zip(axes, ((SPLITS[0], SPLITS[1]), (SPLITS[0], SPLITS[2])), strict=True):
        for number, name in enumerate(CHANGES):
            place = [summary.loc[(name, *split, False), "mean"] for split in (x, y)]
            axis.scatter(*place, marker=markers[number], s=60, label=name, alpha=0.9)
        axis.set_xlabel(f"mean R², {x[1]} splits")
        axis.set_ylabel(f"mean R², {y[1]}" + (", tuned by blocks" if y == SPLITS[1] else " labels"))
        axis.xaxis.set_major_locator(plt.MaxNLocator(4))
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=90)


def main():
    groups = load_tasks(4000, seed=99)[:1]  # the labels of land points
    found = []
    for name, change in CHANGES.items():
        started = time.perf_counter()
        pretrainer = train(change)
        encoder = SatCLIPEncoder(pretrainer.model_.location, layer="hidden")
        columns = ["probe", "split", "label", "classes", "score"]
        scores = pd.DataFrame(evaluate(encoder, groups, quick=True, boosted=()), columns=columns)
        last = pretrainer.history_.iloc[-1]
        found.append(scores.assign(row=name, top1=last["val_top1"]))
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    scores = pd.concat(found)
    summary = summarize(scores)
    heads = [split if probe == "ridge" else f"{split}, tuned by blocks" for probe, split in SPLITS]
    lines = [
        "Mean R² of population and turbidity / mean accuracy of the hidden layer after 6 epochs on",
        "10,000 tiles, and how often a validation tile finds its place among 500.\n",
        "| recipe | " + " | ".join(heads) + " | top-1 |",
        "| --- |" + " --- |" * (len(heads) + 1),
    ]
    top1 = scores.groupby("row", sort=False)["top1"].first()
    for name in CHANGES:
        cells = [cell(summary, name, *split) for split in SPLITS]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {np.round(top1[name], 3)} |")
    text = "\n".join(lines) + "\n"
    print(text)
    draw(summary, OUTPUT / "recipes.png")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "recipes.md").write_text(text)
    fill_in(OUTPUT.parent / "which_encoder.md", "recipes", text)


if __name__ == "__main__":
    main()
