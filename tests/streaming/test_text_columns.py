"""Text of CSV files becomes what a model was fitted with, alike in all batches."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skgeo_embed import PositionalEncoder, predict_table, spatial_pipeline
from skgeo_embed.streaming import predict_table as module
from skgeo_embed.streaming import text_columns

rng = np.random.default_rng(0)
ROWS = 60
CODE = rng.integers(0, 3, ROWS)
CODE[:20] %= 2
PLACES = pd.DataFrame({"lon": rng.uniform(0, 9, ROWS), "lat": rng.uniform(40, 50, ROWS)})
DAYS = pd.to_datetime("2020-02-01") + pd.to_timedelta(CODE * 9, unit="D")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 20)
    monkeypatch.setattr(text_columns, "BATCH_ROWS", 20)


def model_of(values):
    table = PLACES.assign(k=values)
    pipeline = spatial_pipeline(Ridge(), encoder=PositionalEncoder(legendre_polys=2))
    return pipeline.fit(table, CODE * 10.0 + PLACES["lon"]), table


def predicted(model, written, folder):
    PLACES.assign(k=written).to_csv(folder / "in.csv", index=False)
    predict_table(model, folder / "in.csv", folder / "out.csv", verbose=False)
    return pd.read_csv(folder / "out.csv")["prediction"]


@pytest.mark.parametrize(
    "values",
    [
        np.array(["01", "02", "A"])[CODE],  # no letter in the first batch
        np.array(["01", "02", "03"])[CODE],
        np.array(["1.0", "2.0", "3.0"])[CODE],
        CODE > 0,
        pd.array(np.array([True, False, None])[CODE], dtype="boolean"),
        np.array([1, np.nan, 3])[CODE],
        pd.Categorical(CODE),
        DAYS,
        DAYS.tz_localize("Asia/Kolkata"),
        pd.to_timedelta(CODE * 36, unit="h"),
    ],
    ids=lambda values: str(getattr(values, "dtype", "")),
)
def test_a_csv_file_holds_what_was_fitted(tmp_path, values):
    model, table = model_of(values)
    np.testing.assert_allclose(predicted(model, values, tmp_path), model.predict(table))


@pytest.mark.parametrize(
    ("values", "wrong", "message"),
    [
        (CODE, "many", "held numbers in fit, and holds 'many' in row 33 .*; correct it, or leave"),
        (DAYS, "31/12/2020", "held dates in fit, and holds '31/12/2020' in row 33 .*2024-12-31"),
    ],
)
def test_text_that_is_something_else_is_named(tmp_path, values, wrong, message):
    written = pd.Series(values).astype(str)
    written[33] = wrong
    with pytest.raises(ValueError, match=rf"column 'k' of .*in\.csv {message}"):
        predicted(model_of(values)[0], written, tmp_path)


@pytest.mark.parametrize("letters", ["12A", "123"])
def test_a_model_that_does_not_say_what_it_was_fitted_with(tmp_path, letters):
    """Pandas reads a column as numbers if the whole file has nothing else in it; so do we."""
    values = pd.Series(np.array(list(letters))[CODE])
    values = values.astype(int) if letters.isdigit() else values
    words = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["k"]), remainder="passthrough"
    )
    table = PLACES.assign(k=values)
    model = make_pipeline(words, Ridge()).fit(table, CODE * 10.0)
    np.testing.assert_allclose(predicted(model, values, tmp_path), model.predict(table))
