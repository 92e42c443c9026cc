"""Encoders of TorchSpatial give their authors' numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import skgeo_embed
from skgeo_embed import CSPEncoder, Recipe, TorchSpatialEncoder
from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from tests.third_party_recipe import SPACE2VEC, XYZ, reference, usual

SHARED = Path(skgeo_embed.__file__).resolve().parents[2] / "shared" / "reference"
FOLDER = SHARED / "torchspatial"
INDEX = json.loads((FOLDER / "index.json").read_text()) if FOLDER.is_dir() else {}
SHIPPED = {"space2vec_grid_yfcc": SPACE2VEC, "xyz_fmow": XYZ}
FEATURES, PRIORS = 1e-4, 2e-6  # largest deviations


def check(path, points, features, published, priors):
    """Compare with the features that the authors' program gave, and with what they published."""
    encoder = TorchSpatialEncoder(path).fit(points)
    with torch.no_grad():  # all places: the authors give a pole one feature for each longitude
        found = encoder._encoder.engine.module(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(found, features, rtol=0, atol=FEATURES)
    rows = usual(points)
    np.testing.assert_allclose(
        encoder.transform(points[rows]), features[rows], rtol=0, atol=FEATURES
    )
    classes = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    logits = encoder.transform(published) @ classes["class_emb.weight"].numpy().T
    of_all_classes = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert abs(of_all_classes - priors[:, None]).min(axis=1).max() < PRIORS
    return encoder


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_checkpoints(name):
    data = reference(f"torchspatial_{name}")
    check(
        SHIPPED[name],
        data["points_lonlat"].astype(np.float64),
        data["features_float32"],
        data["published_lonlat"],
        data["published_prior"],
    )


@pytest.mark.skipif(not INDEX, reason="needs ../shared/reference/torchspatial, which is not here")
@pytest.mark.parametrize("name", INDEX or ["none"])
def test_all_published_checkpoints(name):
    with np.load(FOLDER / f"{name}.npz") as file:
        points, features = file["points_lonlat"].astype(np.float64), file["features_float32"]
    table = np.loadtxt(FOLDER / f"{name}.csv", delimiter=",", skiprows=1)
    path = FOLDER / INDEX[name]["file"]
    path = path if path.exists() else SHARED / "weights" / path.name
    encoder = check(path, points, features, table[:, :2], table[:, 2])
    assert len(table) == 200
    info = encoder.encoder_info_
    assert info["licence"] == "MIT"
    assert "published" in info["compared_with"]
    assert "untested" not in info["compared_with"]


def checkpoint(path, *, widths, spa_enc_type="xyz", weights=None, **params):
    """Write a checkpoint with random weights, and return them."""
    rng = np.random.RandomState(0)
    state = dict(weights or {})
    for i in range(len(widths) - 1):
        prefix = f"spa_enc.ffn.layers.{i}."
        shape = widths[i + 1], widths[i]
        state[f"{prefix}linear.weight"] = torch.from_numpy(rng.standard_normal(shape))
        state[f"{prefix}linear.bias"] = torch.from_numpy(rng.standard_normal(shape[0]))
        if i < len(widths) - 2:
            state[f"{prefix}layernorm.weight"] = torch.from_numpy(rng.uniform(0.5, 2, shape[0]))
            state[f"{prefix}layernorm.bias"] = torch.from_numpy(rng.standard_normal(shape[0]))
    params = {
        "spa_enc_type": spa_enc_type, "frequency_num": 4, "min_radius": 0.01, "max_radius": 2.0,
        "freq_init": "geometric", "spa_f_act": "relu", "skip_connection": True, **params,
    }  # fmt: skip
    torch.save({"state_dict": state, "params": params}, path)
    return {key.removeprefix("spa_enc.ffn.layers."): value.numpy() for key, value in state.items()}


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("act", ["sigmoid", "tanh", "leakyrelu"])
def test_hidden_layers_as_wide_as_their_input_add_it(tmp_path, skip, act):
    """Published files have such layers; adding nothing gave other features without a word."""
    path = tmp_path / "model.pth.tar"
    w = checkpoint(path, widths=(3, 6, 6, 6), spa_f_act=act, skip_connection=skip)
    functions = {
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "tanh": np.tanh,
        "leakyrelu": lambda x: np.where(x > 0, x, 0.2 * x),
    }
    lon, lat = np.deg2rad([[7.83, 36.83], [-120.0, -45.0]]).T
    x = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    for i in range(3):
        y = functions[act](x @ w[f"{i}.linear.weight"].T + w[f"{i}.linear.bias"])
        if i < 2:
            y = y + x if skip and i == 1 else y
            y = (y - y.mean(axis=1, keepdims=True)) / np.sqrt(y.var(axis=1, keepdims=True) + 1e-5)
            y = y * w[f"{i}.layernorm.weight"] + w[f"{i}.layernorm.bias"]
        x = y
    found = TorchSpatialEncoder(path, dtype="float64").fit_transform(
        [[7.83, 36.83], [-120.0, -45.0]]
    )
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "kind", "columns", "smallest"),
    [
        ("Sphere2Vec-sphereC+", "sphere2vec-spherec+", 24, 0.01),
        ("Sphere2Vec-sphereM+", "sphere2vec-spherem+", 32, 1.0),  # the file's is not used
        ("Sphere2Vec-dfs", "sphere2vec-dfs", 80, 1.0),
        ("NeRF", "nerf", 96, None),
    ],
)
def test_encoders_that_were_compared_with_nothing_say_so(tmp_path, name, kind, columns, smallest):
    path = tmp_path / "model.pth.tar"
    checkpoint(path, widths=(columns, 8, 7), spa_enc_type=name)
    encoder = TorchSpatialEncoder(path).fit([[7.83, 36.83]])
    assert encoder.encoder_info_["positional_encoding"] == kind
    assert "not compared with published predictions" in encoder.encoder_info_["compared_with"]
    assert encoder.transform([[7.83, 36.83]]).shape == (1, 7)
    posenc = encoder._encoder.engine.module.posenc
    if smallest is not None:
        assert posenc.min_radius == smallest
    else:
        assert posenc.n_frequencies == 16


def test_random_waves_are_those_of_the_file(tmp_path):
    path = tmp_path / "model.pth.tar"
    waves = {
        "spa_enc.position_encoder.dirvec": torch.ones(2, 4),
        "spa_enc.position_encoder.shift": torch.zeros(4),
    }
    checkpoint(path, widths=(4, 8, 7), spa_enc_type="rff", weights=waves)
    posenc = TorchSpatialEncoder(path).fit()._encoder.engine.module.posenc
    place = torch.tensor([[90.0, 45.0]], dtype=torch.float64)
    expected = np.full((1, 4), np.cos(1.0) * np.sqrt(0.5))
    np.testing.assert_allclose(posenc(place).numpy(), expected, rtol=1e-12)


def test_what_is_not_supported_says_why(tmp_path):
    path = tmp_path / "model.pth.tar"
    for name, why in (("tile_ffn", "which rectangle"), ("spherical_harmonics", "lacks the module")):
        checkpoint(path, widths=(4, 8, 7), spa_enc_type=name)
        with pytest.raises(ModelFormatError, match=f"'{name}' encoder.*{why}"):
            TorchSpatialEncoder(path).fit()
    checkpoint(path, widths=(3, 8, 7))
    with pytest.raises(ModelFormatError, match=r"scaling='unit' is for gridcell"):
        TorchSpatialEncoder(path, scaling="unit").fit()
    checkpoint(path, widths=(5, 8, 7))
    with pytest.raises(ModelFormatError, match="the first layer takes 5 columns"):
        TorchSpatialEncoder(path).fit()
    with pytest.raises(ModelNotFoundError, match=r"github\.com/seai-lab/TorchSpatial"):
        TorchSpatialEncoder().fit()


def test_the_earlier_name_gives_the_same_features_in_its_own_columns():
    places = [[7.83, 36.83], [2.35, 48.85]]
    new, old = TorchSpatialEncoder(XYZ).fit(places), CSPEncoder(XYZ).fit(places)
    np.testing.assert_array_equal(new.transform(places), old.transform(places))
    assert new.get_feature_names_out()[0] == "torchspatial000"
    assert old.get_feature_names_out()[0] == "csp000"


@pytest.mark.parametrize("kind", ["sphere2vec-spherem", "rff", "nerf"])
def test_they_are_trained_on_as_well(tmp_path, kind):
    """A network that reads one of them is saved and opened again with the same features."""
    from skgeo_embed import SatCLIPEncoder

    sizes = {"n_frequencies": 4, "embed_dim": 8, "hidden_dim": 16}
    recipe = Recipe(positional_encoding=kind, **sizes)
    recipe.check()
    torch.manual_seed(0)
    encoder = SatCLIPEncoder(recipe.build_location()).fit()
    encoder.save_pretrained(tmp_path / "saved", licence="MIT")
    places = [[7.83, 36.83], [2.35, 48.85]]
    again = SatCLIPEncoder(tmp_path / "saved").fit_transform(places)
    np.testing.assert_array_equal(again, encoder.transform(places))
    if kind != "sphere2vec-spherem":
        with pytest.raises(ValueError, match=r"min_radius=2\.0 would be ignored"):
            Recipe(positional_encoding=kind, min_radius=2.0).check()
