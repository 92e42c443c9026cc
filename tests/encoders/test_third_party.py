"""Third-party encoders give their authors' numbers, from files in the authors' layouts."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save, save_file
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

import skgeo_embed
from skgeo_embed import (
    ClimplicitEncoder,
    CoordinateError,
    GeoCLIPEncoder,
    MINDEncoder,
    ModelFormatError,
    ModelNotFoundError,
    PositionalEncoder,
    RANGEEncoder,
    SatCLIPEncoder,
    SINREncoder,
    TTEEncoder,
)
from skgeo_embed.models.registry import THIRD_PARTY
from skgeo_embed.models.third_party.model import warn_of_licence
from tests import third_party_recipe
from tests.hub_server import Repository
from tests.satclip_checkpoint import checkpoint, to_bytes, without_vision
from tests.third_party_recipe import geoclip_weights, usual

PLACES = np.array([[7.8, 36.8], [-122.3, 38.5], [100.0, -33.0]])


@pytest.fixture(scope="module")
def numbers():
    return third_party_recipe.numbers()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files in the authors' layouts and full size, and MIND's small network."""
    folder = tmp_path_factory.mktemp("files")
    makers = {
        "climplicit": third_party_recipe.climplicit,
        "sinr": third_party_recipe.sinr,
        "tte": third_party_recipe.tte,
        "taxabind": third_party_recipe.taxabind,
        "mind": third_party_recipe.mind,
        "mind_year": lambda: third_party_recipe.mind(year=True),
    }
    for name, make in makers.items():
        save_file(make(), folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in makers}


def assert_same(found, expected, points, atol):
    rows = usual(points)
    np.testing.assert_allclose(found[rows], expected[rows], rtol=0, atol=atol)


@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-6), ("float32", 1e-5)])
def test_climplicit(files, numbers, dtype, atol):
    points = numbers["points"]
    table = np.column_stack([points, numbers["month"]])
    encoder = ClimplicitEncoder(files["climplicit"], month="month", dtype=dtype)
    expected = numbers["climplicit_month"]
    assert_same(encoder.fit_transform(table), expected, points, atol)
    one = ClimplicitEncoder(files["climplicit"], month=int(numbers["month"][0]), dtype=dtype)
    assert_same(one.fit_transform(points[:1]), expected[:1], points[:1], atol)
    seasons = ClimplicitEncoder(files["climplicit"], dtype=dtype)
    points = numbers["climplicit_rows"]
    assert_same(seasons.fit_transform(points), numbers["climplicit_nomonth"], points, atol)
    assert seasons.get_feature_names_out()[-1] == "climplicit1023"


@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-10), ("float32", 2e-5)])
def test_sinr(files, numbers, dtype, atol):
    points = numbers["points"]
    found = SINREncoder(files["sinr"], dtype=dtype).fit_transform(points)
    assert_same(found, numbers["sinr"], points, atol)
    assert found.min() >= 0


@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-10), ("float32", 1e-5)])
def test_tte(files, numbers, dtype, atol):
    encoder = TTEEncoder(files["tte"], dtype=dtype)
    found = encoder.fit_transform(numbers["tte_points"])
    np.testing.assert_allclose(found, numbers["tte"], rtol=0, atol=atol)
    longer = TTEEncoder(files["tte"], normalize=False).fit_transform(numbers["tte_points"])
    assert np.linalg.norm(longer, axis=1).min() > 1.1


@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-10), ("float32", 3e-4)])
def test_mind(files, numbers, dtype, atol):
    points = numbers["points"]
    head = MINDEncoder(files["mind"], dtype=dtype).fit_transform(points)
    assert_same(head, numbers["mind_small_head"], points, atol)
    trunk = MINDEncoder(files["mind"], layer="hidden", n_components=64, dtype=dtype)
    assert_same(trunk.fit_transform(points), numbers["mind_small_trunk"], points, 3e-4)
    table = np.column_stack([points, numbers["year"]])
    dated = MINDEncoder(files["mind_year"], year="year", dtype=dtype)
    assert_same(dated.fit_transform(table), numbers["mind_small_year_head"], points, atol)


def test_mind_of_a_wide_trunk_is_cut(tmp_path):
    weights = third_party_recipe.mind(96, 2, 64, dtype="float16")
    save_file(weights, tmp_path / "mind.safetensors")
    auto = MINDEncoder(tmp_path).fit()  # the folder's file
    trunk = MINDEncoder(tmp_path, layer="hidden").fit_transform(PLACES)
    np.testing.assert_allclose(auto.transform(PLACES), trunk[:, :64], rtol=1e-5, atol=1e-6)
    assert auto._encoder.engine.module.dtype == torch.float16  # memory is that of the file
    assert MINDEncoder(tmp_path, n_components=32).fit_transform(PLACES).shape == (3, 32)
    headless = {key: value for key, value in weights.items() if not key.startswith("head")}
    save_file(headless, tmp_path / "trunk.safetensors")
    whole = MINDEncoder(tmp_path / "trunk.safetensors").fit_transform(PLACES)
    np.testing.assert_allclose(whole, trunk, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "atol"), [("float64", 2e-4), ("float32", 2e-3)])
def test_taxabind(files, numbers, dtype, atol):
    points = numbers["taxabind_points"]
    found = GeoCLIPEncoder(files["taxabind"], dtype=dtype).fit_transform(points)
    assert_same(found, numbers["taxabind"], points, atol)


def test_range(numbers, tmp_path):
    database = third_party_recipe.range_database(tmp_path / "database.npz")
    path = tmp_path / "satclip.ckpt"
    path.write_bytes(to_bytes(checkpoint("vit16_l40", keep=without_vision)))
    location = SatCLIPEncoder(path, layer="embedding", dtype="float64", harmonics="exact")
    points, rows = numbers["range_points"], usual(numbers["range_points"])
    plain = RANGEEncoder(database, location_encoder=location, dtype="float64").fit(points)
    found = plain.transform(points)
    assert found.shape == (len(points), 1280)
    exact = numbers["range_location_exact"]
    np.testing.assert_allclose(found[rows, 1024:], exact[rows], rtol=0, atol=1e-10)
    low = rows & (np.abs(points[:, 1]) < 60)  # above, the authors' harmonics are off
    image = numbers["range_image"]
    np.testing.assert_allclose(found[low, :256], image[low], rtol=0, atol=2e-4)
    plus = RANGEEncoder(database, location_encoder=location, beta=0.2).fit_transform(points)
    np.testing.assert_allclose(plus[low, :256], numbers["range_plus"][low], rtol=0, atol=2e-4)
    assert plus.dtype == np.float32
    assert plain.encoder_info_["n_entries"] == 200


def test_range_of_ones_own_images():
    rng = np.random.RandomState(0)
    location = SatCLIPEncoder(layer="embedding").fit()
    coords = rng.uniform(-80, 80, (300, 2))
    images = location.transform(coords)  # as if the towers agreed perfectly
    richer = rng.randn(300, 7)
    encoder = RANGEEncoder.from_images(location, richer, coords, keys=images, beta=1.0)
    found = clone(encoder).fit_transform(coords)
    assert found.shape == (300, 7 + 256)
    similarity = images @ images.T / np.outer(*[np.linalg.norm(images, axis=1)] * 2)
    weight = np.exp(12 * similarity)
    expected = weight @ richer / weight.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found[:, :7], expected, atol=1e-4)
    again = pickle.loads(pickle.dumps(encoder.fit()))
    np.testing.assert_allclose(again.transform(coords), found, atol=1e-6)
    with pytest.raises(ValueError, match="compared with 7 columns, but the location encoder makes"):
        RANGEEncoder.from_images(location, richer, coords).fit()
    with pytest.raises(ModelFormatError, match="all need the same number of rows"):
        RANGEEncoder.from_images(location, images[:5], coords)
    images[3, 2] = np.nan
    with pytest.raises(ModelFormatError, match="image_features is NaN or infinite, first in row 3"):
        RANGEEncoder.from_images(location, images, coords)


def test_a_named_database_comes_from_the_hub_at_its_own_revision(hub, tmp_path):
    path = third_party_recipe.range_database(tmp_path / "database.npz", n=20, k=256, d=6)
    hub.repositories["MVRL/RANGE-database"] = Repository({"range_db_med.npz": path.read_bytes()})
    warn_of_licence.cache_clear()
    location = SatCLIPEncoder(layer="embedding")
    with pytest.warns(UserWarning, match="state no licence"):
        encoder = RANGEEncoder(
            "range-medium", location_encoder=location, revision="main", cache_dir=tmp_path / "cache"
        ).fit()
    pickled = pickle.dumps(encoder.database_)
    assert len(pickled) < 2000
    np.testing.assert_array_equal(pickle.loads(pickled).values, encoder.database_.values)
    default = RANGEEncoder(path, revision="of-the-database", local_files_only=True)
    with pytest.raises(ModelNotFoundError) as error:
        default.fit()
    assert "of-the-database" not in str(error.value)  # SatCLIP's is its own


def test_databases_that_are_none(tmp_path):
    location = PositionalEncoder("grid")
    path = tmp_path / "database.npz"
    with pytest.raises(ModelNotFoundError, match="'range-large' or 'range-medium'"):
        RANGEEncoder(path, location_encoder=location).fit()
    np.savez(path, locs=np.zeros((3, 2)))
    with pytest.raises(ModelFormatError, match="holds no satclip_embeddings, image_embeddings"):
        RANGEEncoder(path, location_encoder=location).fit()
    objects = np.array([[{}], [{}]], dtype=object)
    np.savez(path, locs=np.zeros((2, 2)), satclip_embeddings=objects, image_embeddings=objects)
    with pytest.raises(ModelFormatError, match="a table of real numbers"):  # nothing is unpickled
        RANGEEncoder(path, location_encoder=location).fit()
    path.write_bytes(b"no zip")
    with pytest.raises(ModelFormatError, match="cannot be opened as a RANGE database"):
        RANGEEncoder(path, location_encoder=location).fit()


def small(name):
    """(class, weights) of a small network in each layout."""
    return getattr(skgeo_embed, THIRD_PARTY[name].encoder), third_party_recipe.SMALL[name]


every = pytest.mark.parametrize(  # GeoCLIP's default is in a package
    "name", [name for name in third_party_recipe.SMALL if THIRD_PARTY[name].repository]
)


@every
def test_files_that_torch_wrote_and_lightning_wrote(name, tmp_path):
    encoder, make = small(name)
    save_file(make(), tmp_path / "model.safetensors")
    expected = encoder(tmp_path).fit_transform(PLACES)
    torch.save(make(), tmp_path / "plain.pt")
    params = {"num_classes": 30, "class_to_taxa": [1, 2], "device": "cpu", "lr": 1e-3}
    torch.save({"state_dict": make(), "params": params}, tmp_path / "with_state.pt")
    for file in ("plain.pt", "with_state.pt"):
        found = encoder(tmp_path / file).fit_transform(PLACES)
        np.testing.assert_array_equal(found, expected)
    if name in ("sinr", "tte"):
        state = {f"model.{key}": value for key, value in make().items()}
        state["model.logit_scale"] = torch.zeros(())
        torch.save({"state_dict": state}, tmp_path / "run.ckpt")
        found = encoder(tmp_path / "run.ckpt").fit_transform(PLACES)
        np.testing.assert_array_equal(found, expected)


@every
def test_the_hub_by_short_name_and_by_repository(hub, name, tmp_path):
    encoder, make = small(name)
    known = THIRD_PARTY[name]
    hub.repositories[known.repository] = Repository({known.file: save(make())})
    warn_of_licence.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = encoder(cache_dir=tmp_path).fit()
        encoder(known.repository, cache_dir=tmp_path).fit()
    said = [str(w.message) for w in caught if "licence" in str(w.message)]
    assert len(said) == (known.licence is None)  # once, where nobody says
    assert loaded.encoder_info_["licence"] == known.licence
    assert loaded.encoder_info_["source"] == "hub"
    pickled = pickle.dumps(loaded)
    assert len(pickled) < 4000  # the name, not the weights
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.transform(PLACES), loaded.transform(PLACES))


def test_a_folder_without_weights_does_not_hide_a_name(hub, tmp_path, monkeypatch):
    """A clone of the authors' repository often lies in the working directory."""
    encoder, make = small("sinr")
    known = THIRD_PARTY["sinr"]
    hub.repositories[known.repository] = Repository({known.file: save(make())})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sinr").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert encoder(cache_dir=tmp_path / "cache").fit().encoder_info_["source"] == "hub"
    save_file(make(), tmp_path / "sinr" / "model.safetensors")
    assert encoder().fit().encoder_info_["source"] == "folder"
    (tmp_path / "geoclip").mkdir()
    save_file(geoclip_weights(), tmp_path / "geoclip" / "model.safetensors")
    (tmp_path / "geoclip" / "config.json").write_text('{"sigma": 1, "encoded_size": 6}')
    assert GeoCLIPEncoder(Path("geoclip")).fit().encoder_info_["source"] == "folder"


def test_what_the_tower_does_not_need_is_not_read(tmp_path, monkeypatch):
    import safetensors

    read = []
    real = safetensors.safe_open

    class Watched:
        def __init__(self, *args, **kwargs):
            self.file = real(*args, **kwargs)

        def __enter__(self):
            self.opened = self.file.__enter__()
            return self

        def __exit__(self, *args):
            return self.file.__exit__(*args)

        def keys(self):
            return self.opened.keys()

        def metadata(self):
            return self.opened.metadata()

        def get_tensor(self, key):
            read.append(key)
            return self.opened.get_tensor(key)

    monkeypatch.setattr(safetensors, "safe_open", Watched)
    save_file(third_party_recipe.sinr(8), tmp_path / "model.safetensors")
    SINREncoder(tmp_path).fit()
    assert read
    assert not any(key.startswith("class_emb") for key in read)


@every
def test_damaged_foreign_and_missing_files(name, tmp_path):
    encoder, make = small(name)
    weights = make()
    with pytest.raises(ModelNotFoundError, match=r"pass .* another hub repository or a folder"):
        encoder("no-such-name").fit()
    with pytest.raises(ModelNotFoundError, match=r"holds no .*model\.safetensors"):
        encoder(tmp_path).fit()
    save_file({"other.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelFormatError, match=r"other\.weight|it has no"):
        encoder(tmp_path).fit()
    bytes_ = save(weights)
    (tmp_path / "model.safetensors").write_bytes(bytes_[: len(bytes_) // 2])
    with pytest.raises(ModelFormatError, match="is not a complete safetensors file"):
        encoder(tmp_path).fit()
    last = next(key for key in reversed(weights) if not key.startswith(("chelsa", "class")))
    damaged = {**weights, last: torch.full_like(weights[last], np.nan)}
    save_file(damaged, tmp_path / "nan.safetensors")
    with pytest.raises(ModelFormatError, match="NaN or infinite"):
        encoder(tmp_path / "nan.safetensors").fit()


def test_names_of_third_parties_say_which_class_opens_them():
    with pytest.raises(ModelNotFoundError, match="'tte' is opened by TTEEncoder"):
        SINREncoder("tte").fit()


def test_months_of_each_row(files):
    encoder = ClimplicitEncoder(files["climplicit"], month="when")
    frame = pd.DataFrame({"when": [1, 7, 7], "lat": PLACES[:, 1], "lon": PLACES[:, 0]})
    found = encoder.fit(frame).transform(frame)
    assert encoder.n_features_in_ == 3
    for row, month in enumerate(frame["when"]):
        alone = ClimplicitEncoder(files["climplicit"], month=month).fit_transform(PLACES[[row]])
        np.testing.assert_allclose(found[[row]], alone, atol=1e-6)
    many = frame.loc[np.repeat([0, 1, 2], 5000)]  # distinct places and months, encoded once
    np.testing.assert_allclose(encoder.transform(many), np.repeat(found, 5000, axis=0), atol=1e-6)
    for bad in (0, 13, np.nan):
        wrong = frame.assign(when=[1, bad, 7])
        with pytest.raises(CoordinateError, match=r"when must be a number from 1 to 12, .*row 1"):
            encoder.transform(wrong)
        lenient = ClimplicitEncoder(files["climplicit"], month="when", on_invalid="nan")
        assert np.isnan(lenient.fit_transform(wrong)).all(axis=1).tolist() == [False, True, False]
    with pytest.raises(CoordinateError, match="there is no column 'when'"):
        encoder.fit(frame.drop(columns="when"))
    with pytest.raises(CoordinateError, match=r"must be \(n, 3\): longitude, latitude and when"):
        encoder.fit(PLACES)
    with pytest.raises(ValueError, match="month must be from 1 to 12"):
        ClimplicitEncoder(files["climplicit"], month=13).fit()


def test_months_of_a_grid(files):
    encoder = ClimplicitEncoder(files["climplicit"], month=5).fit()
    lon, lat = [-10.0, 0.0, 30.0], [50.0, -20.0]
    points = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
    grid = encoder.transform_grid(lon, lat).reshape(6, -1)
    np.testing.assert_allclose(grid, encoder.transform(points), atol=1e-6)
    by_row = ClimplicitEncoder(files["climplicit"], month="when").fit()
    with pytest.raises(ValueError, match="a grid has no column 'when'; fit with a number"):
        by_row.transform_grid(lon, lat)


def test_years_where_they_belong(files):
    with pytest.raises(ValueError, match="this network takes a year: pass year="):
        MINDEncoder(files["mind_year"]).fit()
    with pytest.raises(ValueError, match="takes no year, got year=2020"):
        MINDEncoder(files["mind"], year=2020).fit()
    early = MINDEncoder(files["mind_year"], year=2017).fit_transform(PLACES)
    late = MINDEncoder(files["mind_year"], year=2024).fit_transform(PLACES)
    assert np.abs(early - late).max() > 0.1


def test_taxabind_by_name_from_the_hub(hub, tmp_path):
    hub.repositories["MVRL/ecogeo"] = Repository({"model.safetensors": save(geoclip_weights())})
    warn_of_licence.cache_clear()
    with pytest.warns(UserWarning, match=r"the weights of 'taxabind' .* state no licence"):
        encoder = GeoCLIPEncoder("taxabind", cache_dir=tmp_path).fit()
    assert encoder.encoder_info_["trained_on"].startswith("GeoCLIP, tuned on")
    config = {"dim": 7, "encoded_size": 6, "input_size": 2, "sigma": [1, 16, 256]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(geoclip_weights(), tmp_path / "model.safetensors")
    folder = GeoCLIPEncoder(tmp_path).fit_transform(PLACES)
    np.testing.assert_array_equal(folder, encoder.transform(PLACES))
    assert GeoCLIPEncoder(tmp_path).fit().encoder_info_["licence"] is None  # not GeoCLIP's own


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_unions_have_names_that_do_not_collide(files, output):
    union = make_union(SINREncoder(files["sinr"]), TTEEncoder(files["tte"]), SatCLIPEncoder())
    union.set_output(transform=output)
    frame = pd.DataFrame(PLACES, columns=["lon", "lat"])
    found = union.fit_transform(frame)
    assert found.shape == (3, 256 + 512 + 768)
    names = union.get_feature_names_out().tolist()
    assert len(set(names)) == len(names)
    assert names[0].endswith("sinr000")


def test_choosing_an_encoder_is_a_list_in_a_search(files):
    rng = np.random.RandomState(0)
    X = rng.uniform(-60, 60, (60, 2))
    model = make_pipeline(SINREncoder(files["sinr"]), StandardScaler(), Ridge(10.0))
    choices = [SINREncoder(files["sinr"]), TTEEncoder(files["tte"])]
    search = GridSearchCV(model, {"sinrencoder": choices}, cv=2, error_score="raise")
    assert search.fit(X, X[:, 1]).best_params_["sinrencoder"] in choices
