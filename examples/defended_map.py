"""
From a table to a map you can defend
====================================

You learn how to go from a table with places to a map with an honest error, intervals that hold
what they promise, and a mark on what should not be believed; for temperatures of Europe and
Africa, and for the incomes of the counties of the United States in 1980.

The counties are ``elect80`` of the R package spData (CC0), in ``examples/data``.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.neighbors import BallTree
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import (
    AreaOfApplicability,
    ResidualInterpolator,
    SatCLIPEncoder,
    SpatialConformalRegressor,
)
from skgeo_embed.datasets import land_mask, load_air_temperature, load_coastlines
from skgeo_embed.inspection import SpatialErrorDisplay
from skgeo_embed.model_selection import SpatialBlockKFold

# %%
# Two tables: longitude, latitude and a target. The map is drawn of what lies around, too.

stations, temperature = load_air_temperature(return_X_y=True)
near = stations["lon"].between(-20, 55) & stations["lat"].between(-36, 72)
folder = Path(__file__).parent if "__file__" in globals() else Path()
counties = pd.read_csv(folder / "data" / "us_counties_1980.csv").sample(1000, random_state=0)
tables = {
    "temperature, °C": (stations[near], temperature[near], (-25, -38, 75, 75), 0.75),
    "log income, 1980": (counties[["lon", "lat"]], counties["income"], (-130, 15, -60, 55), 0.5),
}

# %%
# Folds of two kinds: between the places that there are, and in blocks that were left out whole.

blocks = SpatialBlockKFold(3, block_size="auto")
folds = {"random rows": KFold(3, shuffle=True, random_state=0), "held-out blocks": blocks}

# %%
# The strength of the ridge is chosen on blocks. Neighbours correct it. Its intervals are made to
# hold nine in ten labels, and are asked whether they do, by the distance to the nearest label.

models, hits = {}, []
for name, (X, y, *_) in tables.items():
    print(f"fitting {name}, {len(X)} rows", flush=True)
    ridge = make_pipeline(SatCLIPEncoder(n_components=64), StandardScaler(), Ridge())
    strengths = {"ridge__alpha": [3, 30, 300, 3000]}
    ridge = GridSearchCV(ridge, strengths, cv=blocks).fit(X, y).best_estimator_
    model = ResidualInterpolator(ridge)
    intervals = SpatialConformalRegressor(model, confidence_level=0.9)
    for kind, cv in folds.items():
        plain, corrected = (cross_val_score(each, X, y, cv=cv).mean() for each in (ridge, model))
        for train, test in cv.split(X):
            low, high = intervals.fit(X.iloc[train], y.iloc[train]).predict_interval(X.iloc[test]).T
            known = BallTree(np.deg2rad(X.iloc[train][["lat", "lon"]]), metric="haversine")
            km = known.query(np.deg2rad(X.iloc[test][["lat", "lon"]]))[0][:, 0] * 6371
            within = y.iloc[test].between(low, high).to_numpy()
            hits.append(pd.DataFrame({"table": name, "kind": kind, "km": km, "within": within}))
        held = pd.concat(hits).query("table == @name and kind == @kind")["within"].mean()
        print(
            f"{name}, {kind}: R² {plain:.3f}, with neighbours {corrected:.3f}; "
            f"{held:.1%} within intervals of 90 %"
        )
    models[name] = intervals.fit(X, y)

# %%
# Half of the table, predicted by the other half: where are the errors, and do they hang together?

X, y, *_ = tables["temperature, °C"]
half = np.arange(len(X)) % 2 == 0
model = models["temperature, °C"].estimator_
model = ResidualInterpolator(model.estimator).fit(X[half], y[half])
SpatialErrorDisplay.from_estimator(model, X[~half], y[~half], train_coords=X[half], unit="°C")

# %%
# The maps, hatched where the features are unlike those of the table (Meyer and Pebesma 2021), and
# what the intervals promise against what they hold.

figure, axes = plt.subplots(2, 3, figsize=(13, 8), layout="constrained", width_ratios=(3, 3, 2))
for (name, (X, _, region, step)), (on_map, on_width, by_distance) in zip(
    tables.items(), axes, strict=True
):
    west, south, east, north = region
    lon, lat = np.arange(west, east, step) + step / 2, np.arange(south, north, step) + step / 2
    grid = pd.DataFrame(np.stack(np.meshgrid(lon, lat), -1).reshape(-1, 2), columns=["lon", "lat"])
    land = land_mask(lon, lat).ravel()
    values = np.full((3, len(grid)), np.nan)
    values[0, land] = models[name].predict(grid[land])
    values[1, land] = np.diff(models[name].predict_interval(grid[land]))[:, 0] / 2
    encoder = SatCLIPEncoder(n_components=64).fit(X)
    area = AreaOfApplicability(cv=blocks).fit(encoder.transform(X), coords=X)
    values[2, land] = area.predict(encoder.transform(grid[land])) < 0
    value, width, unlike = values.reshape(3, len(lat), len(lon))
    print(f"{name}: {np.nanmean(unlike):.0%} of the land is unlike the table")
    for axis, shown, label in ((on_map, value, name), (on_width, width, f"± {name}, 90 %")):
        image = axis.pcolormesh(lon, lat, shown, cmap="cividis" if axis is on_map else "Purples")
        hatched = np.where(np.isnan(unlike), 0, unlike)
        axis.contourf(lon, lat, hatched, levels=[0.5, 1], colors="none", hatches=["////"])
        axis.add_collection(LineCollection(load_coastlines(), colors="black", linewidths=0.5))
        axis.set(xlim=(west, east), ylim=(south, north), aspect=1.2, facecolor="#e8ecef")
        axis.xaxis.set_major_formatter("{x:g}°")
        axis.yaxis.set_major_formatter("{x:g}°")
        figure.colorbar(image, ax=axis, label=label, shrink=0.7)
    on_map.plot(X["lon"], X["lat"], ".", color="white", markersize=1)
    held = pd.concat(hits).query("table == @name")
    for (kind, part), color in zip(held.groupby("kind"), ("#D55E00", "#0072B2"), strict=True):
        band = pd.qcut(part["km"], 5, duplicates="drop")
        share = part.groupby(band, observed=True).agg({"km": "median", "within": "mean"})
        by_distance.plot(share["km"], share["within"], "o-", color=color, label=kind)
    by_distance.axhline(0.9, color="0.4", linestyle="--", label="promised")
    by_distance.set(ylim=(0.5, 1), xlim=(0, None), xlabel="km to the nearest label")
    by_distance.set_ylabel("share of labels within")
    by_distance.legend(frameon=False, loc="lower left")
figure.savefig("defended_map.png", dpi=110)
