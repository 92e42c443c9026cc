"""`skgeo-embed predict`: maps and tables of a model in a file."""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline

from skgeo_embed import AreaOfApplicability, PositionalEncoder, spatial_pipeline
from skgeo_embed.cli import main

rng = np.random.default_rng(0)
TABLE = pd.DataFrame({"lon": rng.uniform(-10, 30, 50), "lat": rng.uniform(35, 60, 50)})
TARGET = TABLE["lat"].to_numpy()


@pytest.fixture
def model(tmp_path):
    model = make_pipeline(PositionalEncoder(legendre_polys=3), Ridge()).fit(TABLE, TARGET)
    joblib.dump(model, tmp_path / "model.joblib")
    joblib.dump(AreaOfApplicability.from_model(model, TABLE), tmp_path / "area.joblib")
    return model


def predict(tmp_path, *arguments):
    files = (".joblib", ".tif", ".nc", ".csv")
    paths = [str(tmp_path / a) if str(a).endswith(files) else str(a) for a in arguments]
    return main(["predict", *paths])


REGION = ["--region", -10, 35, 30, 60, "--resolution", 5]


def test_a_map(tmp_path, model, capsys):
    import rasterio

    arguments = ["model.joblib", "map.tif", *REGION, "--mask", "land", "--units", "K"]
    area = ["--applicability", "area.joblib"]
    assert predict(tmp_path, *arguments, "--trust", *area) == 0
    assert "wrote" in capsys.readouterr().out
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.descriptions == ("prediction", "dissimilarity", "applicable")
        assert file.units[0] == "K"
        value = file.read(1)[2, 3]  # lon 7.5, lat 47.5
    expected = model.predict(pd.DataFrame({"lon": [7.5], "lat": [47.5]}))
    assert value == pytest.approx(expected[0], rel=1e-5)
    assert predict(tmp_path, *arguments, "--trust") == 1
    assert "exists; pass overwrite=True (--overwrite)" in capsys.readouterr().err
    assert predict(tmp_path, *arguments, "--trust", "--overwrite") == 0


def test_a_pickle_is_opened_only_if_it_is_trusted(tmp_path, capsys):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    joblib.dump(Harm(), tmp_path / "model.joblib")
    assert predict(tmp_path, "model.joblib", "map.tif", *REGION) == 2
    said = capsys.readouterr().err
    assert "model.joblib was not opened. Loading a pickle executes code" in said
    assert "repeat the command with --trust" in said
    assert not (tmp_path / "harm").exists()


def test_a_projected_map_with_covariates(tmp_path):
    import xarray

    table = TABLE.assign(rooms=np.arange(50) % 5, floor=1.0)
    fitted = LinearRegression().fit(table[["lon", "lat", "rooms"]], TARGET + table["rooms"])
    joblib.dump(fitted, tmp_path / "model.joblib")
    projected = ["--crs", "EPSG:3035", "--resolution", "200km", "--region", 0, 40, 20, 50]
    arguments = ["model.joblib", "map.nc", "--trust", *projected, "--jobs", 1]
    assert predict(tmp_path, *arguments, "--covariate", "rooms=3") == 0
    found = xarray.open_dataset(tmp_path / "map.nc", engine="h5netcdf")
    assert found["prediction"].dims == ("y", "x")
    assert 41 < float(found["prediction"].min()) < float(found["prediction"].max()) < 55


def test_a_table(tmp_path, model, capsys):
    TABLE.to_csv(tmp_path / "in.csv", index=False)
    arguments = ["model.joblib", "out.csv", "--input", "in.csv", "--trust"]
    assert predict(tmp_path, *arguments) == 0
    assert "wrote 50 rows with prediction" in capsys.readouterr().out
    found = pd.read_csv(tmp_path / "out.csv")["prediction"]
    np.testing.assert_allclose(found, model.predict(TABLE), rtol=1e-5)
    TABLE.assign(lon=np.where(TABLE.index == 4, np.nan, TABLE["lon"])).to_csv(
        tmp_path / "in.csv", index=False
    )
    assert predict(tmp_path, *arguments, "--overwrite") == 1
    assert "--on-invalid nan" in capsys.readouterr().err
    assert predict(tmp_path, *arguments, "--overwrite", "--on-invalid", "nan") == 0
    assert "1 have no usable coordinates" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "text"),
    [(["01", "02"], "02"), (["2024-02-01", "2024-02-09"], "2024-02-09"), ([False, True], "true")],
)
def test_a_constant_is_what_the_model_was_fitted_with(tmp_path, values, text):
    import xarray

    column = pd.Series(values * 25)
    column = pd.to_datetime(column) if text.startswith("2024") else column
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder(legendre_polys=2))
    model.fit(TABLE.assign(k=column), TARGET + 10 * (np.arange(50) % 2))
    joblib.dump(model, tmp_path / "model.joblib")
    arguments = ["model.joblib", "map.nc", *REGION, "--trust", "--covariate"]
    assert predict(tmp_path, *arguments, f"k={text}") == 0
    place = pd.DataFrame({"lon": [7.5], "lat": [47.5], "k": column[1:2].tolist()})
    with xarray.open_dataset(tmp_path / "map.nc", engine="h5netcdf") as found:
        value = found["prediction"].sel(lon=7.5, lat=47.5).item()
    assert value == pytest.approx(model.predict(place)[0], rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["model.joblib", "out.csv"], 2, "out.csv is a table; name the input table with"),
        (["model.joblib", "out.csv", "--input", "in.csv", "--mask", "land"], 2, "--mask does noth"),
        (["model.joblib", "map.tif", "--on-invalid", "nan"], 2, "--on-invalid does nothing for m"),
        (["other.joblib", "map.tif"], 1, "there is no file"),
        (["model.joblib", "map.tif", "--covariate", "rooms"], 2, "must be NAME=VALUE"),
        (["model.joblib", "map.tif", "--covariate", "rooms=3"], 2, "covariates has 'rooms'"),
        (["model.joblib", "map.tif", "--resolution", "fine"], 2, "resolution must be"),
        (["model.joblib", "map.tif", "--probabilities"], 2, "probabilities=True"),
        (["in.csv", "map.tif"], 1, "in.csv cannot be opened as a model"),
    ],
)
def test_arguments_that_cannot_be(tmp_path, model, capsys, arguments, code, message):
    TABLE.to_csv(tmp_path / "in.csv", index=False)
    assert predict(tmp_path, *arguments, "--trust") == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "map.tif").exists()
