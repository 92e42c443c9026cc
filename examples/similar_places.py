"""
Places like Napa
================

You learn how to search for similar places: the cosine similarity of embeddings as a map, and the
nearest neighbours among thousands of named candidates with scikit-learn. Nothing is fitted to a
label; the encoder has only ever seen images and coordinates.

Works offline, a few seconds on 2 CPU cores.
"""

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.inspection import SimilarityMapDisplay

places = pd.DataFrame(
    {
        "Napa": (-122.3, 38.5),
        "the Congo basin": (22.0, 0.5),
        "the Kazakh steppe": (70.0, 49.0),
        "central Australia": (133.9, -23.7),
    },
    index=["lon", "lat"],
).T

# %%
# The candidates are weather stations, at least 2,000 km away so that the answer is not next door.

encoder = SatCLIPEncoder(normalize=True).fit(places)
stations = load_air_temperature().frame
features = encoder.transform(stations[["lon", "lat"]])
center = features.mean(axis=0)  # what all places have in common
search = NearestNeighbors(n_neighbors=len(stations), metric="cosine").fit(features - center)
_, order = search.kneighbors(encoder.transform(places) - center)


def distance_km(first, second):
    """Great-circle distance between rows of degrees."""
    (lon1, lat1), (lon2, lat2) = np.deg2rad(first).T, np.deg2rad(second).T
    cosine = np.sin(lat1) * np.sin(lat2) + np.cos(lat1) * np.cos(lat2) * np.cos(lon1 - lon2)
    return 6371 * np.arccos(np.clip(cosine, -1, 1))


for (name, place), ranked in zip(places.iterrows(), order, strict=True):
    found = stations.iloc[ranked]
    away = distance_km(found[["lon", "lat"]].to_numpy(), place.to_numpy()[None])
    best = found[away > 2000].head(3)
    answers = ", ".join(f"({x:.0f}°, {y:.0f}°)" for x, y in best[["lon", "lat"]].to_numpy())
    print(f"{name}: {answers}")

# %%
# Everywhere at once. Yellow is alike; the star is the place itself.

display = SimilarityMapDisplay.from_estimator(encoder, places, names=list(places.index))
display.figure_.savefig("similar_places.png", dpi=120)
