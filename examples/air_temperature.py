"""
Air temperature from coordinates
================================

You learn how to put `SatCLIPEncoder` in a pipeline, what its features are worth against raw
coordinates, sines and cosines, and interpolation, and why the folds matter: with random folds
every test station has a training station next to it, with 10° blocks it has not. The strength of
each ridge is chosen on folds of the same kind.

Works offline, about a minute on 2 CPU cores.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.collections import LineCollection
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.datasets import land_mask, load_air_temperature, load_coastlines
from skgeo_embed.inspection import SpatialErrorDisplay
from skgeo_embed.model_selection import SpatialBlockKFold
from skgeo_embed.nn.location import LocationEncoder

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
    ridge = make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [10, 100]}
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


def score(name, encoder, model, grid, folds, X, y):
    """Mean R² over the folds; the parameter is chosen on folds of the same kind inside."""
    print(f"scoring {name} on {type(folds).__name__}", flush=True)
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
        column: {name: score(name, *parts, kind, X, y) for name, parts in make_models().items()}
        for column, kind in folds.items()
    }
)
print(f"\n{len(X)} stations\n\n{table.round(3).to_string()}\n")

# %%
# A map of the fitted pipeline, for which `transform_grid` encodes all of the Earth, and one of its
# errors in blocks that were left out: where would the model be wrong if nobody had measured there?

print("drawing the map", flush=True)
model = make_pipeline(SatCLIPEncoder(), Ridge())
held_out = cross_val_predict(model, X, y, cv=SpatialBlockKFold(5, block_size=10))
encoder, ridge = model.fit(X, y).named_steps.values()
lon, lat = np.arange(-179.75, 180, 0.5), np.arange(-59.75, 84, 0.5)
features = encoder.transform_grid(lon, lat)
predicted = ridge.predict(features.reshape(-1, features.shape[-1])).reshape(len(lat), len(lon))
predicted[~land_mask(lon, lat)] = np.nan

# one region, one set of ticks for both maps
figure, (on_map, of_errors) = plt.subplots(
    2, figsize=(9, 7.6), sharex=True, sharey=True, layout="constrained"
)
shown = on_map.pcolormesh(lon, lat, predicted, rasterized=True, vmin=-20, vmax=30)
on_map.add_collection(LineCollection(load_coastlines(), colors="black", linewidths=0.5))
on_map.set(facecolor=(0.88, 0.91, 0.94), aspect="equal", ylabel="latitude")
on_map.set_title("Mean annual temperature as the model predicts it", loc="left")
figure.colorbar(shown, ax=on_map, shrink=0.8, label="temperature, °C", extend="both")
SpatialErrorDisplay.from_predictions(y, held_out, coords=X, kind="map", unit="°C", axes=of_errors)
of_errors.set_title("Its errors at 3,076 stations, each with its 10° block left out", loc="left")
of_errors.set(xlim=(-180, 180), ylim=(-60, 84))
figure.savefig("air_temperature.png", dpi=110)
print("map drawn to air_temperature.png")
