"""Predict the air temperature of weather stations from longitude and latitude.

You learn how to put `SatCLIPEncoder` in a pipeline, what its features are worth against raw
coordinates, sines and cosines, and interpolation, and why the folds matter: with random folds
every test station has a training station next to it, with 10° blocks it has not.

Works offline, under a minute on 2 CPU cores. Draws air_temperature.png.
"""

import argparse

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.neighbors import BallTree, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.nn.location import LocationEncoder

EARTH_RADIUS_KM = 6371.0088


def sine_cosine(lonlat):
    radians = np.deg2rad(lonlat)
    return np.hstack([np.sin(radians), np.cos(radians)])


def lat_lon_radians(lonlat):
    return np.deg2rad(np.asarray(lonlat)[:, ::-1])


def linear_model(*features):
    return make_pipeline(*features, StandardScaler(), RidgeCV(alphas=np.logspace(-2, 3, 11)))


def untrained_encoder():
    torch.manual_seed(0)
    return SatCLIPEncoder(LocationEncoder(legendre_polys=10), layer="hidden")


def compare(X, y):
    models = {
        "longitude, latitude + ridge": linear_model(),
        "their sine, cosine + ridge": linear_model(FunctionTransformer(sine_cosine)),
        "5 nearest stations (haversine)": make_pipeline(
            FunctionTransformer(lat_lon_radians),
            KNeighborsRegressor(5, weights="distance", metric="haversine"),
        ),
        "the same network, untrained + ridge": linear_model(untrained_encoder()),
        "SatCLIPEncoder() + ridge": linear_model(SatCLIPEncoder()),
    }
    blocks = np.floor((X["lon"] + 180) / 10) * 18 + np.floor((X["lat"] + 90) / 10)
    random, blocked = (kind(5, shuffle=True, random_state=0) for kind in (KFold, GroupKFold))
    folds = {
        "R², random folds": list(random.split(X)),
        "R², 10° blocks": list(blocked.split(X, groups=blocks)),
    }
    table = pd.DataFrame(
        {
            column: {
                name: cross_val_score(model, X, y, cv=rows).mean() for name, model in models.items()
            }
            for column, rows in folds.items()
        }
    )
    return table.round(3)


def draw(X, y, path):
    encoder, scaler, ridge = linear_model(SatCLIPEncoder()).fit(X, y).named_steps.values()
    lon, lat = np.arange(-179.5, 180), np.arange(-89.5, 90)
    features = encoder.transform_grid(lon, lat)
    predicted = ridge.predict(scaler.transform(features.reshape(-1, features.shape[-1])))
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
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", default="air_temperature.png", help="where the map is drawn")
    arguments = parser.parse_args()
    X, y = load_air_temperature(return_X_y=True)
    print(f"{len(X)} stations\n\n{compare(X, y).to_string()}\n")
    draw(X, y, arguments.figure)
    print(f"map drawn to {arguments.figure}")


if __name__ == "__main__":
    main()
