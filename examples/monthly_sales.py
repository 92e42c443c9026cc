"""
Monthly sales at shops
======================

You learn how a table with dates goes into `spatial_pipeline` as it is, and how to score what you
want to know: next year at shops that you have, or next year at shops that you do not have yet
(`SpatioTemporalKFold`). The sales are simulated, so that everybody can run this and the truth is
known: shops differ by place and at random, sales grow, there is a season that is stronger in the
south, and a jump every December.

Works offline, less than a minute on 2 CPU cores.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.dates import YearLocator
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from skgeo_embed import spatial_pipeline
from skgeo_embed.model_selection import SpatioTemporalKFold

# %%
# Four years of sales by month at 30 shops in Germany: a row a month, with its date.


def simulate(n_shops=30, n_years=4, seed=0):
    rng = np.random.default_rng(seed)
    shops = pd.DataFrame(
        {
            "lon": rng.uniform(7, 14, n_shops),
            "lat": rng.uniform(48, 54, n_shops),
            "size": rng.uniform(100, 400, n_shops).round(),
        }
    )
    shops["level"] = 0.1 * shops["size"] + 8 * np.sin(shops["lon"]) + rng.normal(0, 2, n_shops)
    months = pd.DataFrame({"month": pd.date_range("2021-01-01", periods=12 * n_years, freq="MS")})
    table = shops.merge(months, how="cross")
    number = (table["month"].dt.year - 2021) * 12 + table["month"].dt.month
    summer = np.cos(2 * np.pi * (table["month"].dt.month - 7) / 12) * (54 - table["lat"])
    december = table["month"].dt.month == 12
    sales = table.pop("level") + 0.7 * number + 2 * summer + 8 * december
    return table, sales + rng.normal(0, 2, len(table))


table, sales = simulate()
table.assign(sales=sales.round(1)).head()

# %%
# The last year is held out. Beside `spatial_pipeline` stands boosting with the columns that one
# would make by hand. It knows the season, and it predicts for the future what it has seen last.

past = table["month"] < "2024-01-01"


def columns_by_hand(table):
    angle = 2 * np.pi * table["month"].dt.month / 12
    days = (table["month"] - pd.Timestamp("2021-01-01")).dt.days
    return table.assign(
        month=table["month"].dt.month, days=days, sine=np.sin(angle), cosine=np.cos(angle)
    )


boosting = HistGradientBoostingRegressor(random_state=0)
boosting.fit(columns_by_hand(table[past]), sales[past])
model = spatial_pipeline().fit(table[past], sales[past])
next_year = {
    "boosting, columns by hand": boosting.predict(columns_by_hand(table[~past])),
    "spatial_pipeline()": model.predict(table[~past]),
}
for name, predicted in next_year.items():
    print(f"R² of next year, {name}: {r2_score(sales[~past], predicted):.3f}")

# %%
# What it made of the column "month": days for a trend, the month, and two cycles of the year.

names = model[:-1].get_feature_names_out()
print([name for name in names if "__month" in name])

# %%
# Three questions have three answers. Random folds ask for months that are missing within the years
# that are known. A cut in time asks for next year at the same shops. `SpatioTemporalKFold` asks for
# next year at other places: each fold tests the last year of some blocks, and trains on the years
# before at the others.

folds = {
    "missing months": KFold(3, shuffle=True, random_state=0).split(table),
    "next year, other places": SpatioTemporalKFold(3, future="2024-01-01").split(table),
}
print(f"R² of next year, same shops: {r2_score(sales[~past], next_year['spatial_pipeline()']):.3f}")
for question, pairs in folds.items():
    truth, predicted = [], []
    for train, test in pairs:
        fitted = spatial_pipeline().fit(table.iloc[train], sales.iloc[train])
        truth.append(sales.iloc[test])
        predicted.append(fitted.predict(table.iloc[test]))
    score = r2_score(np.concatenate(truth), np.concatenate(predicted))
    print(f"R² of {question}: {score:.3f}")

# %%
# One shop, and all of them in the mean.

fig, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
one = (table[["lon", "lat"]] == table[["lon", "lat"]].iloc[0]).all(axis=1)
for ax, rows, title in zip(axes, (one, one | True), ("One shop", "Mean of all shops"), strict=True):
    series = sales[rows].groupby(table["month"]).mean()
    ax.plot(series, color="black", linewidth=1, label="sales")
    for (name, predicted), colour in zip(next_year.items(), ("#D55E00", "#0072B2"), strict=True):
        shown = pd.Series(predicted, index=table.index[~past])[rows[~past]]
        ax.plot(shown.groupby(table["month"]).mean(), color=colour, linewidth=2, label=name)
    ax.axvline(pd.Timestamp("2024-01-01"), color="0.7", linestyle=":")
    ax.xaxis.set_major_locator(YearLocator())
    ax.set_title(title, loc="left")
axes[0].set_ylabel("sales by month")
axes[0].legend(frameon=False)
plt.show()
