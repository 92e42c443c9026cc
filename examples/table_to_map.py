"""
From a table to a map
=====================

You learn how to turn a table with longitude and latitude into a map file that others open in QGIS
or in a browser: predictions, the bounds between which nine in ten values lie, and a mark on places
that are unlike the table.

The table holds the mean temperature of 3,076 weather stations; it ships with the package.
"""

import matplotlib.pyplot as plt
import rasterio
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import (
    AreaOfApplicability,
    SatCLIPEncoder,
    SpatialConformalRegressor,
    predict_grid,
)
from skgeo_embed.datasets import load_air_temperature

# %%
# A table of places and a target.

stations, temperature = load_air_temperature(return_X_y=True)
here = stations["lon"].between(-20, 60) & stations["lat"].between(-40, 40)
X, y = stations[here], temperature[here]

# %%
# A model of the table: features of the place and a ridge; around it, intervals; and the area in
# which it may be believed.

model = make_pipeline(SatCLIPEncoder(n_components=256), StandardScaler(), Ridge(alpha=100))
model = SpatialConformalRegressor(model, confidence_level=0.9).fit(X, y)
area = AreaOfApplicability.from_model(model, X)

# %%
# The map: Africa in an equal-area projection, land alone, a cell every 20 km. Change the name to
# ``africa.nc`` or ``africa.zarr`` for the other formats.

predict_grid(
    model,
    "africa.tif",
    region=(-20, -36, 53, 38),
    crs="ESRI:102022",  # Africa Albers Equal Area
    resolution="20km",
    mask="land",
    applicability=area,
    name="temperature",
    units="°C",
    overwrite=True,
)

# %%
# What a colleague finds in the file.

with rasterio.open("africa.tif") as file:
    names, bands, extent = file.descriptions, file.read(masked=True), file.bounds
    print(f"{file.width} × {file.height} cells of {file.res[0] / 1000:g} km, {file.crs}")
    units = zip(names, file.units, strict=True)
    print(", ".join(f"{name} ({unit or '0 or 1'})" for name, unit in units))
    print(file.tags()["software"])

# %%
# The three things that a reader of a map needs: the value, how far off it may be, and where not to
# believe it.

value, lower, upper, index, applicable = bands
box = (extent.left, extent.right, extent.bottom, extent.top)
figure, axes = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")
shown = ((value, "RdYlBu_r", "Mean temperature (°C)"), ((upper - lower) / 2, "Purples", "± (°C)"))
for axis, (band, colours, label) in zip(axes, shown, strict=True):
    image = axis.imshow(band, extent=box, cmap=colours)
    hatched = {"levels": [0.5, 1], "colors": "none", "hatches": ["////"], "origin": "upper"}
    axis.contourf(applicable == 0, extent=box, **hatched)
    axis.set(xticks=[], yticks=[], facecolor="#e8ecef")
    figure.colorbar(image, ax=axis, label=label, shrink=0.8)
axes[0].set_title("Temperature; hatched: unlike the stations", loc="left")
axes[1].set_title("Nine in ten values lie within", loc="left")
figure.savefig("table_to_map.png", dpi=110)
