"""
Coordinates beside other columns
================================

You learn how to encode two columns of a wider table with `ColumnTransformer` and give the result
to gradient boosting. The task is the rain that falls at a weather station in a year; the table
has the place, the mean temperature, and a made-up network name that says nothing.

Works offline, a few seconds on 2 CPU cores.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.model_selection import SpatialBlockKFold

# %%
# A table as it comes: coordinates, a number, a category.

stations = load_air_temperature().frame
stations["network"] = np.random.RandomState(0).choice(["north", "coop", "agro"], len(stations))
y = np.log1p(stations.pop("mean_precipitation_mm"))
place, number, category = ["lon", "lat"], ["mean_temperature_c"], ["network"]

# %%
# Boosting splits one column at a time and wants few good ones: the first 40 principal components
# of the encoder's features. Blocks of 10° are held out whole; the splitter reads the coordinates
# from the table.

encoded = make_pipeline(SatCLIPEncoder(), PCA(40, random_state=0))
one_hot = OneHotEncoder(sparse_output=False)
rest = [("passthrough", number), (one_hot, category)]
transformers = {
    "without the place": make_column_transformer(*rest),
    "with lon, lat as they are": make_column_transformer(("passthrough", place), *rest),
    "with SatCLIPEncoder()": make_column_transformer((encoded, place), *rest),
}
folds = list(
    SpatialBlockKFold(5, block_size=10, shuffle=True, random_state=0).split(stations[place])
)
scores = {}
for name, transformer in transformers.items():
    model = make_pipeline(transformer, HistGradientBoostingRegressor(random_state=0))
    scores[name] = cross_val_score(model, stations, y, cv=folds)
scores = pd.DataFrame(scores)
print(scores.agg(["mean", "std"]).round(3).T.to_string())

# %%
# A dot is a fold: the blocks differ more than the models, so compare within a fold.

figure, axis = plt.subplots(figsize=(7.5, 3), layout="constrained")
for _, fold in scores.iterrows():
    axis.plot(fold, fold.index, "o-", color="0.75", linewidth=0.8)
axis.plot(scores.mean(), scores.columns, "D", color="#0072B2", label="mean")
axis.set(xlabel="R² of log precipitation, held-out 10° blocks", ylim=(-0.5, 2.5))
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False)
figure.savefig("other_columns.png", dpi=130)
