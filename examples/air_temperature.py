"""
Air temperature from coordinates
================================

You learn how to put `SatCLIPEncoder` in a pipeline, what its features are worth against raw
coordinates, sines and cosines, and interpolation, and why the folds matter: with random folds
every test station has a training station next to it, with 10° blocks it has not. The strength of
each ridge is chosen on folds of the same kind.

Works offline, about a minute on 2 CPU cores.
"""

import argparse

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import BallTree, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.model_selection import SpatialBlockKFold
from skgeo_embed.nn.location import LocationEncoder

EARTH_RADIUS_KM = 6371.0088


parser = argparse.ArgumentParser()
parser.add_argument("--figure", default="air_temperature.png", help="where the map is drawn")
arguments = parser.parse_args()

# %%
# 3,076 stations with their mean annual temperature.

X, y = load_air_temperature(return_X_y=True)
X.assign(temperature=y).describe().round(1)

# %%
# Features and a model on top of them. A network on harmonics alone, untrained, shows
# what smoothness in position is worth; nearest stations show what plain interpolation does.


def sine_cosine(lonlat):
    radians = np.deg2rad(lonlat)
    return np.hstack([np.sin(radians), np.cos(radians)])


def lat_lon_radians(lonlat):
    return np.deg2rad(np.asarray(lonlat)[:, ::-1])


def untrained_encoder():
    trained = SatCLIPEncoder().fit()
    torch.manual_seed(0)
    network = LocationEncoder(
        legendre_polys=trained.encoder_info_["legendre_polys"],
        hidden_dim=len(trained.get_feature_names_out()),
        spectral_decay=1.0,
    )
    return SatCLIPEncoder(network, layer="hidden")


def make_models():
    """Features and the model on top of them, whose one parameter is chosen by inner folds."""
    ridge = make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1, 10, 100, 1000]}
    nearest = KNeighborsRegressor(weights="distance", metric="haversine"), {"n_neighbors": [3, 5]}
    return {
        "longitude, latitude + ridge": (FunctionTransformer(np.asarray), *ridge),
        "their sine, cosine + ridge": (FunctionTransformer(sine_cosine), *ridge),
        "nearest stations (haversine)": (FunctionTransformer(lat_lon_radians), *nearest),
        "smooth network of position + ridge": (untrained_encoder(), *ridge),
        "SatCLIPEncoder() + ridge": (SatCLIPEncoder(), *ridge),
    }


# %%
# The same five numbers of folds, drawn in two ways.


def score(encoder, model, grid, folds, X, y):
    """Mean R² over the folds; the parameter is chosen on folds of the same kind inside."""
    features, y = encoder.fit_transform(X), np.asarray(y)
    scores = []
    for train, test in folds.split(X):
        inner = list(folds.split(X.iloc[train]))[:3]
        search = GridSearchCV(model, grid, cv=inner).fit(features[train], y[train])
        scores.append(search.score(features[test], y[test]))
    return np.mean(scores)


folds = {
    "R², random folds": KFold(5, shuffle=True, random_state=0),
    "R², 10° blocks": SpatialBlockKFold(5, block_size=10, shuffle=True, random_state=0),
}
table = pd.DataFrame(
    {
        column: {name: score(*parts, kind, X, y) for name, parts in make_models().items()}
        for column, kind in folds.items()
    }
)
print(f"{len(X)} stations\n\n{table.round(3).to_string()}\n")

# %%
# A map of the fitted pipeline: `transform_grid` encodes all of the Earth, and what lies farther
# than 1,000 km from any station is left out.

encoder, ridge = make_pipeline(SatCLIPEncoder(), Ridge()).fit(X, y).named_steps.values()
lon, lat = np.arange(-179.5, 180), np.arange(-89.5, 90)
features = encoder.transform_grid(lon, lat)
predicted = ridge.predict(features.reshape(-1, features.shape[-1]))
places = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
distance, _ = BallTree(lat_lon_radians(X), metric="haversine").query(lat_lon_radians(places))
far = distance[:, 0] * EARTH_RADIUS_KM > 1000
predicted = np.where(far, np.nan, predicted).reshape(len(lat), len(lon))

figure, axes = plt.subplots(figsize=(9, 4.6), layout="constrained")
limits = {"vmin": y.min(), "vmax": y.max(), "cmap": "cividis"}
mesh = axes.pcolormesh(lon, lat, predicted, rasterized=True, **limits)
axes.scatter(X["lon"], X["lat"], c=y, s=5, edgecolors="white", linewidths=0.2, **limits)
axes.set(
    title="Mean annual air temperature: stations (dots) and SatCLIPEncoder() + ridge",
    xlabel="Longitude (°)",
    ylabel="Latitude (°)",
    xlim=(-180, 180),
    ylim=(-90, 90),
    aspect="equal",
)
axes.set_facecolor("0.93")
axes.annotate("grey: no station within 1,000 km", (-176, -86), fontsize=8, color="0.35")
figure.colorbar(mesh, label="Temperature (°C)", shrink=0.85)
figure.savefig(arguments.figure, dpi=130)
print(f"map drawn to {arguments.figure}")
