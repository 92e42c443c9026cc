"""
A map you can defend
====================

You learn how to let the nearest stations correct a model of features, and how to say where on the
map it should not be believed.

Temperatures of Europe and Africa train the model. Everywhere, `ResidualInterpolator` adds what
neighbouring stations know, as far as cross-validation says that they know anything.
`AreaOfApplicability` (Meyer and Pebesma 2021) compares the places of the map with the stations, in
the encoder's features, and hatches those that are too unlike them.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline

from skgeo_embed import AreaOfApplicability, ResidualInterpolator, SatCLIPEncoder
from skgeo_embed.datasets import land_mask, load_air_temperature
from skgeo_embed.model_selection import SpatialBlockKFold

parser = argparse.ArgumentParser(description="A map you can defend")
parser.add_argument("--figure", default="defended_map.png")
arguments = parser.parse_args()

# %%
# The stations, and what neighbours are worth in both kinds of folds.

X, y = load_air_temperature(return_X_y=True)
known = X["lon"].between(-20, 55) & X["lat"].between(-36, 72)
places, temperature = X[known], y[known]
plain = make_pipeline(SatCLIPEncoder(n_components=256), Ridge(3.0))
corrected = ResidualInterpolator(plain)
blocks = SpatialBlockKFold(5, block_size=10)
for name, cv in (("random", KFold(5, shuffle=True, random_state=0)), ("10° blocks", blocks)):
    scores = [
        cross_val_score(model, places, temperature, cv=cv).mean() for model in (plain, corrected)
    ]
    print(f"{name}: R² {scores[0]:.3f} of features alone, {scores[1]:.3f} with neighbours")

# %%
# A grid of the world, predicted from the stations of two continents, and where to believe it.

lon, lat = np.arange(-179.5, 180, 1.0), np.arange(-59.5, 80, 1.0)
grid = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
land = land_mask(lon, lat).ravel()
model = corrected.fit(places.to_numpy(), temperature)
predicted = np.full(len(grid), np.nan)
predicted[land] = model.predict(grid[land])
encoder = SatCLIPEncoder(n_components=64).fit()
area = AreaOfApplicability(cv=blocks).fit(encoder.transform(places), coords=places)
unlike = np.zeros(len(grid), dtype=bool)
unlike[land] = area.predict(encoder.transform(grid[land])) < 0
print(f"{unlike[land].mean():.0%} of the land is unlike the stations")

# %%
# Is that where errors are large? The other continents have stations too, which were not used.

error = np.abs(model.predict(X[~known].to_numpy()) - y[~known])
inside = area.predict(encoder.transform(X[~known])) > 0
print(
    f"stations elsewhere: {inside.sum()} inside of the area, mean error "
    f"{error[inside].mean():.1f} °C; {(~inside).sum()} outside, {error[~inside].mean():.1f} °C"
)

figure, axis = plt.subplots(figsize=(10, 4.6), layout="constrained")
shape = len(lat), len(lon)
shown = axis.pcolormesh(lon, lat, predicted.reshape(shape), cmap="cividis", vmin=-15, vmax=30)
axis.contourf(lon, lat, unlike.reshape(shape), levels=[0.5, 1], colors="none", hatches=["////"])
axis.plot(places["lon"], places["lat"], ".", color="white", markersize=1.5)
axis.set(aspect="equal", xlabel="longitude, degrees", ylabel="latitude, degrees", facecolor="0.9")
figure.colorbar(shown, label="mean temperature, °C", shrink=0.8)
figure.savefig(arguments.figure, dpi=110)
