"""Files of skops: the same predictions, from names that a user can read, and no code or secret."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import save
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

import skgeo_embed
from skgeo_embed import (
    PositionalEncoder,
    ResidualInterpolator,
    SatCLIPEncoder,
    SpatialConformalClassifier,
    SpatialConformalRegressor,
    spatial_pipeline,
)
from skgeo_embed.export import SKOPS_TYPES
from skgeo_embed.models.registry import THIRD_PARTY
from skgeo_embed.nn.encodings import KINDS
from tests.hub_server import Repository
from tests.third_party_recipe import SMALL

skops = pytest.importorskip("skops.io")
HUB_ROWS = {  # one for each class
    row.encoder: row for row in THIRD_PARTY.values() if row.repository and row.repo_type is None
}


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"lon": random.uniform(0, 9, 60), "lat": random.uniform(40, 49, 60)})
    table["rooms"] = random.integers(1, 6, 60).astype(float)
    table["kind"] = random.choice(["flat", "house"], 60)
    table["sold"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 999, 60), "D")
    return table, table["rooms"].to_numpy() + random.normal(0, 0.1, 60)


def _opened_again(model):
    data = skops.dumps(model)
    assert set(skops.get_untrusted_types(data=data)) <= set(SKOPS_TYPES)
    return skops.loads(data, trusted=SKOPS_TYPES)


@pytest.mark.parametrize(
    "encoder",
    [
        SatCLIPEncoder("bluemarble-l10", dtype="float64"),
        pytest.param(SatCLIPEncoder(layer="content", device="cpu"), marks=pytest.mark.slow),
        SatCLIPEncoder("bluemarble-l10", untrained=True, harmonics="exact"),
        PositionalEncoder(legendre_polys=4),
    ],
    ids=["named", "content", "untrained", "positional"],
)
def test_encoders_give_the_same_features(encoder, table):
    places = table[0][["lon", "lat"]]
    model = make_pipeline(encoder, Ridge()).fit(places, table[1])
    np.testing.assert_array_equal(_opened_again(model).predict(places), model.predict(places))


@pytest.mark.parametrize("kind", KINDS)
def test_every_positional_encoding(kind):
    """Only harmonics could be opened: the others' types were not trusted, "rff" holds tensors."""
    encoder = PositionalEncoder(kind, n_frequencies=3, legendre_polys=4).fit()
    expected = encoder.transform([[7.8, 46.9]])
    again = _opened_again(encoder.set_params(n_frequencies=5, kind="direct"))  # the next fit's
    np.testing.assert_array_equal(again.transform([[7.8, 46.9]]), expected)


@pytest.mark.parametrize("row", HUB_ROWS.values(), ids=lambda row: row.name)
@pytest.mark.filterwarnings("ignore:the weights of")
def test_third_party_encoders_of_the_hub(hub, table, row):
    """Every class of the registry, with no list of what skops may open and trust to forget."""
    encoder = getattr(skgeo_embed, row.encoder)(row.name)
    weights = SMALL[row.encoder.removesuffix("Encoder").lower()]()
    hub.repositories[row.repository] = Repository({row.file: save(weights)})
    places = table[0][["lon", "lat"]]
    model = make_pipeline(encoder, Ridge()).fit(places, table[1])
    np.testing.assert_array_equal(_opened_again(model).predict(places), model.predict(places))


def test_the_documentation_names_the_third_party_encoders():
    page = (Path(__file__).parents[2] / "docs" / "saving.md").read_text()
    said = page.partition("`SKOPS_TYPES` lists")[2].partition(":\n\n")[0]
    assert said
    assert [name for name in HUB_ROWS if f"`{name}`" not in said] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_spatial_pipelines_give_the_same_predictions(kind, table):
    X, y = table
    model = spatial_pipeline(kind).fit(X, y if kind == "regressor" else X["kind"])
    np.testing.assert_array_equal(_opened_again(model).predict(X), model.predict(X))


@pytest.mark.parametrize("method", ["remoteness", "local"])
@pytest.mark.parametrize("interpolator", [None, LinearRegression()])
def test_meta_estimators_give_the_same_intervals(method, interpolator, table):
    X, y = table[0][["lon", "lat"]], table[1]
    X, y = pd.concat([X, X + 0.01]), np.tile(y, 2)
    model = ResidualInterpolator(LinearRegression(), interpolator=interpolator)
    model = SpatialConformalRegressor(model, method=method).fit(X, y)
    again = _opened_again(model)
    np.testing.assert_array_equal(again.predict_interval(X), model.predict_interval(X))


def test_sets_are_the_same(table):
    X, kind = table[0][["lon", "lat"]], table[0]["kind"]
    model = SpatialConformalClassifier(LogisticRegression()).fit(X, kind)
    np.testing.assert_array_equal(_opened_again(model).predict_set(X), model.predict_set(X))


def test_every_type_to_be_trusted_exists():
    from importlib import import_module

    for name in SKOPS_TYPES:
        module, _, attribute = name.removesuffix(".correct").rpartition(".")
        assert hasattr(import_module(module), attribute), name


def test_weights_that_have_changed_are_refused(table):
    encoder = SatCLIPEncoder("bluemarble-l10").fit()
    info = {**encoder._encoder.info, "sha256": "0" * 64}
    encoder._encoder = replace(encoder._encoder, info=info)
    with pytest.raises(Exception, match="now has other weights"):
        skops.loads(skops.dumps(encoder), trusted=SKOPS_TYPES)


def test_an_encoder_of_a_folder_says_what_to_do(tmp_path):
    SatCLIPEncoder("bluemarble-l10").fit().save_pretrained(tmp_path / "mine")
    with pytest.raises(TypeError, match="it has no name that opens it"):
        skops.dumps(SatCLIPEncoder(tmp_path / "mine").fit())


def test_no_file_opens_a_checkpoint_that_runs_code():
    encoder = SatCLIPEncoder("bluemarble-l10", allow_pickle=True).fit()
    with pytest.raises(TypeError, match="needs allow_pickle=True"):
        skops.dumps(encoder)


def test_a_file_holds_no_token():
    data = skops.dumps(SatCLIPEncoder("bluemarble-l10", token="hf_secret").fit())
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert not any(b"hf_secret" in file.read(name) for name in file.namelist())
