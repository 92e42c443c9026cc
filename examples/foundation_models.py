"""
A foundation model of tables on places
======================================

You learn how to give a table with places to TabICL or TabPFN, models that were trained on many
tables and read yours in one go. `spatial_pipeline` turns the place into the encoder's columns,
hands all columns to the model, and corrects its predictions by the nearest labels.

It needs ``pip install tabicl`` (or ``tabpfn``), which downloads weights of its own when it is first
fitted, and is best run on a GPU. Without the package this page ends after the first table.
"""

import importlib.util

import matplotlib.pyplot as plt
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold, cross_val_score

from skgeo_embed import SatCLIPEncoder, spatial_pipeline
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.model_selection import SpatialBlockKFold

# %%
# The table: what falls at a weather station in a year, its place, and its mean temperature. Of the
# encoder 32 columns are enough: a model that reads the whole table at once takes a few hundred
# columns at most, and its time grows with their number.

stations = load_air_temperature().frame[::8]
rain = stations.pop("mean_precipitation_mm")
encoder = SatCLIPEncoder(n_components=32)
folds = {
    "random": KFold(3, shuffle=True, random_state=0),
    "blocks": SpatialBlockKFold(3, block_size="auto"),
}


scores = {}


def show(name, estimator):
    model = spatial_pipeline(estimator, encoder=encoder)
    for kind, cv in folds.items():
        score = cross_val_score(model, stations, rain, cv=cv).mean()
        scores[f"{name},\n{kind} folds"] = score
        print(f"{name}, {kind} folds: R² {score:.3f}")


show("boosting", HistGradientBoostingRegressor(random_state=0))

# %%
# Any regressor with scikit-learn's interface takes boosting's place.

if importlib.util.find_spec("tabicl"):
    from tabicl import TabICLRegressor

    show("TabICL", TabICLRegressor())

if importlib.util.find_spec("tabpfn"):
    from tabpfn import TabPFNRegressor

    show("TabPFN", TabPFNRegressor())

figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
axis.barh(list(scores)[::-1], list(scores.values())[::-1], color="#0072B2")
axis.set(xlim=(0, 1), xlabel="R² of the rain in a year, on stations that were left out")
axis.spines[["top", "right"]].set_visible(False)

# %%
# Intervals around it are made as around any model; each fold fits it once more:
#
# .. code-block:: python
#
#     from skgeo_embed import SpatialConformalRegressor
#
#     model = spatial_pipeline(TabICLRegressor(), encoder=encoder)
#     low, high = SpatialConformalRegressor(model).fit(stations, rain).predict_interval(stations).T
