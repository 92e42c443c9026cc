"""
What a model reads: content columns
===================================

You learn how to explain a model of places by columns that a person can read. The table has the
mean temperature at 3,076 weather stations. The columns are `SatCLIPEncoder(layer="content")`,
which say what a place looks like, and latitude. The example asks three questions: which groups of
columns does the model need, how does the prediction change with the most important column, and
what does its group do to each place on a map?

An explanation is of the model, not of the world: columns that go along with temperature need not
cause it. At the end the model's answer is compared with what the thermometers say.

Works offline, half a minute on one CPU core.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import CenteredNorm
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.neighbors import radius_neighbors_graph

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.datasets import land_mask, load_air_temperature, load_coastlines
from skgeo_embed.model_selection import SpatialBlockKFold

# %%
# A name says layer, statistic and scale: `elevation_mean_40km` is the mean of the elevation in a
# box of 40 km around the place. The partial dependence below wants float64 columns.

X, y = load_air_temperature(return_X_y=True)
y = y.to_numpy()
encoder = SatCLIPEncoder(layer="content", dtype="float64").set_output(transform="pandas")
columns = encoder.fit_transform(X).assign(latitude=X["lat"])
columns[["elevation_mean_40km", "lights_mean_10km", "august_greenness_mean_160km"]].head()

# %%
# The scales of one layer resemble each other, and so do the colours of one picture. Where one
# column is permuted alone, the model reads the same thing from its neighbours, and the column seems
# to be worth nothing. So columns that stand in for each other make a group, and a group is permuted
# as one: all of its columns in the same order of rows.

first_word = columns.columns.str.split("_").str[0]
groups = columns.columns.to_series().groupby(first_word).agg(list)
for group, names in groups.items():
    print(f"{group:9} {len(names):2} columns: {', '.join(names[:3])}{' ...' * (len(names) > 3)}")

# %%
# Each block of 10° is predicted by a model that has not seen it. On these rows a group is permuted,
# which makes places that do not exist (a Sahara under the lights of Paris) and shows what the model
# needs; or set to the median of the training rows. The change of a prediction that this makes is
# exact, and easy to say: what the group does to the place, compared with an ordinary one. Unlike
# Shapley values the changes of all groups do not add up to the prediction.


def at_median(rows, names, reference):
    """Give the rows with some of their columns at the median of the reference."""
    return rows.assign(**reference[names].median())


held_out = np.empty(len(y))
change = pd.DataFrame(0.0, index=X.index, columns=groups.index)  # of the prediction, in °C
rises, alone = [], []  # of the mean error, by fold
for train, test in SpatialBlockKFold(5, block_size=10, shuffle=True, random_state=0).split(X):
    model = HistGradientBoostingRegressor(random_state=0).fit(columns.iloc[train], y[train])
    rows = columns.iloc[test]
    held_out[test] = model.predict(rows)
    error = mean_absolute_error(y[test], held_out[test])
    rise = {}
    for group, names in groups.items():
        permuted = rows.copy()
        permuted[names] = rows[names].sample(frac=1, random_state=0).to_numpy()
        rise[group] = mean_absolute_error(y[test], model.predict(permuted)) - error
        usual = at_median(rows, names, columns.iloc[train])
        change.loc[rows.index, group] = held_out[test] - model.predict(usual)
    rises.append(rise)
    single = permutation_importance(
        model, rows, y[test], scoring="neg_mean_absolute_error", n_repeats=1, random_state=0
    )
    alone.append(pd.Series(single.importances_mean, index=columns.columns))
rises = pd.DataFrame(rises)
alone = pd.DataFrame(alone).mean()
error = mean_absolute_error(y, held_out)
print(f"\nheld-out 10° blocks: R² {r2_score(y, held_out):.3f}, mean error {error:.2f} °C\n")
importance = pd.DataFrame(
    {
        "group permuted": rises.mean(),
        "best column alone": groups.map(lambda names: alone[names].max()),
        "which": groups.map(lambda names: alone[names].idxmax()),
    }
).sort_values("group permuted")
print(f"rise of the mean error in °C\n{importance[::-1].round(2).to_string()}\n")

# %%
# The most important content group, and the most important content column. With the package shap,
# `shap.TreeExplainer(model).shap_values(columns)` gives Shapley values of the same columns; add
# them up over the columns of a group.

top_group = importance.drop("latitude")["group permuted"].idxmax()
top = alone.drop("latitude").idxmax()
unit = encoder.encoder_info_["units"][top.rsplit("_", 2)[0]]
print(f"most important content: the group {top_group}, the column {top} ({unit})")
model = HistGradientBoostingRegressor(random_state=0).fit(columns, y)

# %%
# Partial dependence moves that column alone, at every station. The thermometers answer by pairs of
# stations within 100 km of each other, whose latitude is nearly the same: how much colder is the
# higher one? The held-out predictions are asked the same, and so are the changes by group.

positions = np.deg2rad(X[["lat", "lon"]])
one, other = radius_neighbors_graph(positions, 100 / 6371, metric="haversine").nonzero()
apart = columns[top].to_numpy()[one] - columns[top].to_numpy()[other]


def per_1000(values):
    """Fit what 1,000 more of the column add between neighbouring stations, in °C."""
    return 1000 * np.polyfit(apart, values[one] - values[other], 1)[0]


measured, predicted = per_1000(y), per_1000(held_out)
parts = {group: per_1000(change[group].to_numpy()) for group in importance.index[::-1]}
print(f"stations within 100 km of each other, °C for 1,000 more of {top}:")
print(f"  measured {measured:.1f}, predicted with their blocks held out {predicted:.1f}")
print("  its change by group: " + ", ".join(f"{group} {part:.1f}" for group, part in parts.items()))

# %%
# The picture: what the model needs, how it answers, and where.

figure, axes = plt.subplot_mosaic(
    [["groups", "column"], ["map", "map"]],
    figsize=(10.5, 8.3),
    height_ratios=(1, 1.3),
    layout="constrained",
)
axis = axes["groups"]
bars = [f"{group} ({len(groups[group])})" for group in importance.index]
axis.barh(bars, importance["group permuted"], color="#56B4E9", label="all columns of a group")
for group, bar in zip(importance.index, bars, strict=True):
    folds = axis.plot(rises[group], [bar] * len(rises), "|", color="#0072B2", markersize=12)
folds[0].set_label("all columns, one fold")
axis.plot(importance["best column alone"], bars, "D", color="black", label="its best column alone")
axis.set(xlabel="rise of the mean error in held-out blocks, °C")
axis.set_title(f"What it needs: permuted columns\nraise the error of {error:.2f} °C", loc="left")
axis.legend(frameon=False, loc="lower right", reverse=True)
axis.spines[["top", "right"]].set_visible(False)

display = PartialDependenceDisplay.from_estimator(
    model,
    columns,
    [top],
    kind="both",
    centered=True,  # every line begins at 0
    subsample=60,
    grid_resolution=25,
    random_state=0,
    ax=axes["column"],
    ice_lines_kw={"color": "0.6", "alpha": 0.5, "linewidth": 0.6},
    pd_line_kw={"color": "#0072B2", "linestyle": "-", "linewidth": 2.5},
)
grid = display.pd_results[0]["grid_values"][0]
slope = 1000 * np.polyfit(grid, display.pd_results[0]["average"][0], 1)[0]
axis = display.axes_[0, 0]
truth = axis.plot(grid, measured * (grid - grid[0]) / 1000, "--", color="#D55E00", linewidth=2)
single, mean = display.lines_[0, 0, [0, -1]]
axis.legend(
    [mean, single, *truth],
    ["mean of the stations", "single stations", "measured, stations within 100 km"],
    frameon=False,
    loc="lower left",
    bbox_to_anchor=(0, 0.06),  # above the deciles of the stations
)
axis.set(xlabel=f"{top}, m (ticks: deciles of the stations)", ylim=(-13.5, 0.5))
axis.set_ylabel("change of the prediction, °C")
axis.set_title(
    f"How it answers: it falls {-slope:.1f} °C with each\n1,000 m; measured are {-measured:.1f} °C",
    loc="left",
)
axis.spines[["top", "right"]].set_visible(False)

lon, lat = np.arange(-179.75, 180, 0.5), np.arange(-59.75, 84, 0.5)
land = land_mask(lon, lat)
cells = encoder.transform_grid(lon, lat)[land]
cells = pd.DataFrame(cells, columns=encoder.get_feature_names_out())
cells["latitude"] = np.broadcast_to(lat[:, None], land.shape)[land]
moved = np.full(land.shape, np.nan)
moved[land] = model.predict(cells) - model.predict(at_median(cells, groups[top_group], columns))
axis = axes["map"]
shown = axis.pcolormesh(lon, lat, moved, cmap="RdBu_r", norm=CenteredNorm(0, 10), rasterized=True)
axis.add_collection(LineCollection(load_coastlines(), colors="black", linewidths=0.4))
axis.plot(X["lon"], X["lat"], ".", color="black", markersize=1, markeredgewidth=0, alpha=0.7)
axis.set(xlim=(-180, 180), ylim=(-60, 84), aspect="equal", facecolor="#e8ecef")
axis.xaxis.set_major_formatter("{x:g}°")
axis.yaxis.set_major_formatter("{x:g}°")
axis.set_title(
    f"Where: what the {top_group} columns do to the prediction, against their median of all "
    "stations\n(dots are stations; where there are none, the map shows a guess)",
    loc="left",
)
bar = figure.colorbar(shown, ax=axis, label="change, °C", shrink=0.85, extend="min")
bar.ax.set_ylim(-10, 3)
figure.savefig("explain_by_content.png", dpi=110)

# %%
# So the sentence below is about the model, and it is half of the truth, as neighbouring stations
# show: other columns tell some of what height does, and some of it the model does not know. On
# Greenland's ice the map is nearly white: the highest surroundings of a station north of 60° have
# a mean of 1,178 m, so the model never saw what more height does there. Nothing here is a cause:
# light warms no place, but people live where it is warm, and the model may use that.

high = (cells["latitude"] > 60) & (cells[top] > 2000)
print(f"\nland north of 60° above 2,000 m is moved {moved[land][high].mean():+.1f} °C on average")
print(
    f"In this model the temperature falls {-slope:.1f} °C with each 1,000 m of {top},\n"
    f"while stations near each other differ by {-measured:.1f} °C. The model predicts "
    f"{-predicted:.1f} °C of these\nwhere it has not been, {-parts[top_group]:.1f} °C by all "
    f"{top_group} columns, and the rest by others that go along with height."
)
