"""
Classification: arid or humid?
==============================

You learn how to classify places from their coordinates and to read the errors on a map. The
classes are those of De Martonne's aridity index, precipitation in mm over temperature in °C plus
10, at 3,076 weather stations. The folds are blocks of 10° that are held out whole.

Works offline, about half a minute on 2 CPU cores.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, balanced_accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skgeo_embed import PositionalEncoder, SatCLIPEncoder
from skgeo_embed.datasets import load_air_temperature, load_coastlines
from skgeo_embed.model_selection import SpatialBlockKFold

# %%
# The classes, from the two columns of the table. The index divides by the temperature plus 10, so
# that it has no meaning near -10 °C and below: stations colder than -5 °C are left out.

table = load_air_temperature().frame
table = table[table["mean_temperature_c"] > -5]
index = table["mean_precipitation_mm"] / (table["mean_temperature_c"] + 10)
names = ["arid", "semi-arid", "moderate", "humid", "very humid"]
y = pd.cut(index, [-np.inf, 10, 20, 28, 40, np.inf], labels=names).astype(str)
X = table[["lon", "lat"]]
y.value_counts()

# %%
# Three descriptions of a place under the same logistic regression.

encoders = {  # with the regularisation that suits their number of columns
    "longitude, latitude": (FunctionTransformer(np.asarray), 1.0),
    "sine, cosine": (PositionalEncoder("wrap"), 1.0),
    "SatCLIPEncoder()": (SatCLIPEncoder(), 1e-3),
}
folds = SpatialBlockKFold(5, block_size=10, shuffle=True, random_state=0)
predictions = {}
for name, (encoder, C) in encoders.items():
    model = make_pipeline(encoder, StandardScaler(), LogisticRegression(C=C, max_iter=500))
    predictions[name] = cross_val_predict(model, X, y, cv=folds)
    accuracy = np.mean(predictions[name] == y)
    balanced = balanced_accuracy_score(y, predictions[name])
    print(f"{name:20} accuracy {accuracy:.3f}, balanced {balanced:.3f}")

# %%
# Where it is wrong: mostly by one class, and where a block is surrounded by another climate.

wrong = np.asarray(predictions["SatCLIPEncoder()"] != y)
figure, (left, right) = plt.subplots(
    1, 2, figsize=(13, 4.6), width_ratios=(1.9, 1), layout="constrained"
)
for line in load_coastlines():
    left.plot(*line.T, color="0.6", linewidth=0.4, zorder=0)
left.scatter(X["lon"][wrong], X["lat"][wrong], s=5, color="#E69F00", label="wrong")
left.scatter(X["lon"][~wrong], X["lat"][~wrong], s=2, color="#0072B2", label="right")
left.set(xlim=(-180, 180), ylim=(-60, 85), aspect="equal")
left.xaxis.set_major_formatter("{x:g}°")
left.yaxis.set_major_formatter("{x:g}°")
left.set_title(f"Stations in held-out blocks, {1 - wrong.mean():.0%} right", loc="left")
left.legend(frameon=False, loc="lower left", markerscale=3)
ConfusionMatrixDisplay.from_predictions(
    y,
    predictions["SatCLIPEncoder()"],
    labels=names,
    normalize="true",
    values_format=".2f",
    cmap="cividis",
    ax=right,
    colorbar=False,
    xticks_rotation=30,
)
right.set_title("Share of each true class", loc="left")
figure.savefig("climate_classes.png", dpi=130)
