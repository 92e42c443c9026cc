import copy
import inspect
import pickle
from dataclasses import replace
from functools import partial

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.fft import dct, idct
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import SatCLIPEncoder, SatCLIPImageEncoder
from skgeo_embed._errors import (
    CoordinateError,
    ImageError,
    InvalidCoordinateWarning,
    ModelFormatError,
    ModelNotFoundError,
)
from skgeo_embed.datasets import load_air_temperature, load_earth_tiles
from skgeo_embed.models.folder import write_folder
from skgeo_embed.models.opening import open_location_encoder
from skgeo_embed.nn.location import LocationEncoder
from tests.folding import Folding

POINTS = np.array([[7.83, 36.83], [-122.3, 38.5], [151.2, -33.9]])
pytestmark = pytest.mark.usefixtures("held_default")  # most fits are of it


class FoldingEncoder(Folding, SatCLIPEncoder):
    pass


_TWO_COLUMNS = "feeds tables that are not (n, 2) longitude and latitude in degrees"
EXPECTED_FAILURES = dict.fromkeys(
    [
        "check_complex_data",
        "check_dict_unchanged",
        "check_dont_overwrite_parameters",
        "check_estimators_nan_inf",
        "check_dtype_object",
        "check_estimators_dtypes",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_fit_check_is_fitted",
        "check_fit_idempotent",
        "check_fit_score_takes_y",
        "check_fit2d_1sample",
        "check_fit2d_predict1d",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_n_features_in",
        "check_n_features_in_after_fitting",
        "check_pipeline_consistency",
        "check_positive_only_tag_during_fit",
        "check_transformer_data_not_an_array",
        "check_transformer_general",
        "check_transformer_preserve_dtypes",
    ],
    _TWO_COLUMNS,
)


# what is expected to fail must fail, where scikit-learn can tell (1.8)
STRICT = (
    {"xfail_strict": True}
    if "xfail_strict" in inspect.signature(parametrize_with_checks).parameters
    else {}
)


@parametrize_with_checks(
    [SatCLIPEncoder(layer="embedding")],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
    **STRICT,
)
def test_common_checks(estimator, check):
    check(estimator)


_ROUNDING = {
    "check_methods_subset_invariance": "matrix products of another size round differently in "
    "float32, by more than the check's 1e-7"
}


@parametrize_with_checks(
    [FoldingEncoder(), FoldingEncoder(dtype="float64"), FoldingEncoder(on_invalid="nan")],
    expected_failed_checks=lambda estimator: _ROUNDING if estimator.dtype == "float32" else {},
)
def test_common_checks_on_folded_coordinates(estimator, check):
    check(estimator)


@parametrize_with_checks([SatCLIPImageEncoder(torch.nn.Flatten())])
def test_common_checks_of_the_image_encoder(estimator, check):
    check(estimator)


def test_default_is_bundled_and_describes_the_place():
    encoder = SatCLIPEncoder().fit(POINTS)
    features = encoder.transform(POINTS)
    assert features.dtype == np.float32
    assert features.shape == (3, len(encoder.get_feature_names_out()))
    info = encoder.encoder_info_
    assert info["source"] == "bundled"
    assert info["name"] == encoder.model
    assert len(info["sha256"]) == 64
    assert info["licence"]
    assert info["legendre_polys"] >= 1
    X, y = load_air_temperature(return_X_y=True)
    model = make_pipeline(SatCLIPEncoder(), Ridge())
    assert model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.94


def test_layers():
    embedding = SatCLIPEncoder(layer="embedding").fit(POINTS).transform(POINTS)
    hidden = SatCLIPEncoder(layer="hidden").fit(POINTS).transform(POINTS)
    assert embedding.shape == (3, 256)
    module = SatCLIPEncoder().fit()._encoder.engine.module
    last = module.nnet.last_layer
    np.testing.assert_allclose(
        hidden / module.hidden_scale @ last.weight.numpy().T + last.bias.numpy(),
        embedding,
        atol=1e-5,
    )


def test_precision_and_unit_rows():
    double = SatCLIPEncoder(dtype="float64").fit(POINTS).transform(POINTS)
    assert double.dtype == np.float64
    single = SatCLIPEncoder(normalize=True).fit(POINTS)
    unit = single.transform(POINTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(
        unit, double / np.linalg.norm(double, axis=1, keepdims=True), atol=1e-5
    )
    grid = single.transform_grid(POINTS[:, 0], POINTS[:, 1])
    np.testing.assert_allclose(grid[[0, 1, 2], [0, 1, 2]], unit, atol=1e-5)


def test_grid_shape_and_notation():
    encoder = SatCLIPEncoder(dtype="float64").fit()
    grid = encoder.transform_grid([-170, 190, 5], [10, 90])
    assert grid.shape[:2] == (2, 3)
    np.testing.assert_allclose(grid[0, 0], grid[0, 1], atol=1e-12)
    np.testing.assert_allclose(grid[1, 0], grid[1, 2], atol=1e-12)
    np.testing.assert_allclose(grid[0, 2], encoder.transform([[5, 10]])[0], atol=1e-10)
    with pytest.raises(CoordinateError, match="lat"):
        encoder.transform_grid([0], [91])


def test_invalid_rows():
    rows = np.array([[1.0, 2.0], [np.nan, 2.0], [1.0, np.inf], [1.0, 3.0]])
    with pytest.raises(CoordinateError, match="row 1, row 2"):
        SatCLIPEncoder().fit(rows)
    encoder = SatCLIPEncoder(on_invalid="nan").fit(rows)
    features = encoder.transform(rows)
    assert np.isnan(features[1:3]).all()
    np.testing.assert_array_equal(features[[0, 3]], encoder.transform(rows[[0, 3]]))
    assert np.isnan(encoder.transform(rows[1:2])).all()


def test_out_of_range_rows_are_nan_and_said():
    encoder = SatCLIPEncoder(on_invalid="nan").fit()
    with pytest.warns(InvalidCoordinateWarning, match="row 1: lon=0, lat=95") as caught:
        features = encoder.transform([[0, 1], [0, 95]])
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(np.isnan(features).any(axis=1), [False, True])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_frames_in_and_out(frame, container):
    table = frame({"lon": POINTS[:, 0], "lat": POINTS[:, 1]})
    encoder = SatCLIPEncoder().set_output(transform=container)
    out = encoder.fit_transform(table)
    assert type(out).__module__.partition(".")[0] == container
    assert list(out.columns)[:2] == ["satclip000", "satclip001"]
    np.testing.assert_array_equal(out.to_numpy(), SatCLIPEncoder().fit_transform(POINTS))
    assert list(encoder.feature_names_in_) == ["lon", "lat"]


def test_index_survives():
    table = pd.DataFrame(POINTS, columns=["lon", "lat"], index=["a", "b", "c"])
    out = SatCLIPEncoder().set_output(transform="pandas").fit_transform(table)
    assert list(out.index) == ["a", "b", "c"]


def test_column_order_may_differ_between_fit_and_transform():
    table = pd.DataFrame(POINTS, columns=["lon", "lat"])
    encoder = SatCLIPEncoder().fit(table)
    np.testing.assert_array_equal(
        encoder.transform(table[["lat", "lon"]]), encoder.transform(table)
    )
    with pytest.raises(ValueError, match="feature names"):
        encoder.transform(table.rename(columns={"lon": "lng"}))


def test_geometries():
    import geopandas as gpd

    places = gpd.GeoDataFrame(
        {"n": [1, 2, 3]}, geometry=gpd.GeoSeries.from_xy(*POINTS.T, crs=4326).to_crs(3857)
    )
    np.testing.assert_allclose(
        SatCLIPEncoder().fit_transform(places), SatCLIPEncoder().fit_transform(POINTS), atol=1e-4
    )


@pytest.mark.slow
def test_in_pipelines_and_searches():
    X, y = load_air_temperature(return_X_y=True)
    X, y = X[::15].assign(elevation=1.0), y[::15]
    union = FeatureUnion([("emb", SatCLIPEncoder()), ("raw", FunctionTransformer())])
    columns = ColumnTransformer(
        [("emb", union, ["lon", "lat"])], remainder="passthrough", verbose_feature_names_out=False
    )
    search = GridSearchCV(
        Pipeline([("columns", columns), ("reg", Ridge())]),
        {"columns__emb__emb__layer": ["embedding", "hidden"], "reg__alpha": [0.1, 1.0]},
        cv=2,
        n_jobs=2,
        error_score="raise",
    ).fit(X, y)
    assert search.cv_results_["mean_test_score"].max() > 0.5
    wide = make_column_transformer((SatCLIPEncoder(), ["lon", "lat"])).set_output(
        transform="pandas"
    )
    assert wide.fit_transform(X).columns[0] == "satclipencoder__satclip000"


def test_weights_are_shared_in_a_process(tmp_path):
    first, second = SatCLIPEncoder().fit(), clone(SatCLIPEncoder(normalize=True)).fit()
    assert first._encoder.engine is second._encoder.engine
    assert copy.deepcopy(first)._encoder is first._encoder
    module = first._encoder.engine.module
    as_modules = [SatCLIPEncoder(copy.deepcopy(module)).fit() for _ in range(2)]
    assert as_modules[0]._encoder.engine is as_modules[1]._encoder.engine


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_bundled_encoder_travels_by_name(tmp_path, protocol):
    encoder = SatCLIPEncoder().fit(POINTS)
    data = pickle.dumps(encoder, protocol=protocol)
    assert len(data) < 5000
    np.testing.assert_array_equal(pickle.loads(data).transform(POINTS), encoder.transform(POINTS))
    joblib.dump(encoder, tmp_path / "encoder.joblib")
    again = joblib.load(tmp_path / "encoder.joblib")
    np.testing.assert_array_equal(again.transform(POINTS), encoder.transform(POINTS))


def test_pickle_of_other_weights_is_refused():
    encoder = SatCLIPEncoder().fit()
    loaded = encoder._encoder
    changed = replace(loaded, info={**loaded.info, "sha256": "0" * 64})
    with pytest.raises(ModelFormatError, match="other weights"):
        pickle.loads(pickle.dumps(changed))
    unknown = replace(loaded, reopen=partial(open_location_encoder, "gone"))
    with pytest.raises(ModelNotFoundError, match="no encoder is named 'gone'"):
        pickle.loads(pickle.dumps(unknown))


def test_self_trained_encoder_travels_by_value(small_location, tmp_path):
    encoder = SatCLIPEncoder(small_location).fit(POINTS)
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(POINTS), encoder.transform(POINTS))
    assert again.encoder_info_ == encoder.encoder_info_


def test_module_is_copied(small_location):
    encoder = SatCLIPEncoder(small_location).fit()
    before = encoder.transform(POINTS)
    with torch.no_grad():
        small_location.nnet.last_layer.weight.add_(1.0)
    assert small_location.training
    assert all(p.requires_grad for p in small_location.parameters())
    np.testing.assert_array_equal(encoder.transform(POINTS), before)
    assert not np.allclose(SatCLIPEncoder(small_location).fit().transform(POINTS), before)


def _write(folder, module, **config):
    weights = {f"location.{k}": v for k, v in module.state_dict().items()}
    write_folder(folder, {"location": module.config, "licence": "MIT", **config}, weights, "card")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_folder(tmp_path, small_location, dtype):
    _write(tmp_path / "mine", small_location.to(dtype), default_layer="hidden")
    encoder = SatCLIPEncoder(tmp_path / "mine").fit(POINTS)
    expected = SatCLIPEncoder(small_location.float()).fit(POINTS).transform(POINTS)
    explicit = SatCLIPEncoder(str(tmp_path / "mine"), layer="embedding").fit(POINTS)
    np.testing.assert_allclose(explicit.transform(POINTS), expected, atol=1e-6)
    assert encoder.encoder_info_["layer"] == "hidden"
    assert encoder.encoder_info_["name"] == "mine"
    assert encoder.transform(POINTS).shape == (3, 16)
    again = pickle.loads(pickle.dumps(encoder))
    assert again.encoder_info_["layer"] == "hidden"


def test_broken_folders(tmp_path, small_location):
    folder = tmp_path / "mine"
    _write(folder, small_location)
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, text = weights.read_bytes(), config.read_text()

    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFormatError, match="not a complete safetensors file"):
        SatCLIPEncoder(folder).fit()
    weights.write_bytes(whole)
    config.write_text(text.replace('"hidden_dim": 16', '"hidden_dim": 17'))
    with pytest.raises(ModelFormatError, match="not those of one network"):
        SatCLIPEncoder(folder).fit()
    config.write_text("{")
    with pytest.raises(ModelFormatError, match="cannot be opened as JSON"):
        SatCLIPEncoder(folder).fit()
    config.write_text('{"architectures": []}')
    with pytest.raises(ModelFormatError, match="not written by skgeo_embed"):
        SatCLIPEncoder(folder).fit()
    config.write_text('{"library": "skgeo_embed", "format_version": 99}')
    with pytest.raises(ModelFormatError, match="format version 99"):
        SatCLIPEncoder(folder).fit()
    weights.unlink()
    with pytest.raises(ModelNotFoundError, match=r"holds no encoder \(found: README.md, config"):
        SatCLIPEncoder(folder).fit()


def test_unknown_models_are_explained():
    with pytest.raises(ModelNotFoundError, match=r"no encoder is named 'nonsense'.*bluemarble"):
        SatCLIPEncoder("nonsense").fit()
    with pytest.raises(FileNotFoundError):
        SatCLIPEncoder("nonsense").fit()
    with pytest.raises(TypeError, match="Linear"):
        SatCLIPEncoder(torch.nn.Linear(2, 2)).fit()
    with pytest.raises(TypeError, match="got int"):
        SatCLIPEncoder(5).fit()


def test_nothing_is_loaded_before_fit():
    encoder = SatCLIPEncoder("nonsense", batch_size=-1)
    assert encoder.get_params()["model"] == "nonsense"
    assert repr(encoder) == "SatCLIPEncoder(batch_size=-1, model='nonsense')"
    with pytest.raises(NotFittedError):
        encoder.transform(POINTS)
    with pytest.raises(ValueError, match="batch_size"):
        encoder.fit(POINTS)


def test_loading_is_shared_between_equal_folders(tmp_path, small_location):
    for name in ("a", "b"):
        _write(tmp_path / name, small_location)
    first, second = (open_location_encoder(tmp_path / name) for name in ("a", "b"))
    assert first.engine is second.engine
    assert (first.info["name"], second.info["name"]) == ("a", "b")


def test_image_encoder_of_a_module():
    torch.manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))
    images = np.random.RandomState(0).rand(7, 3, 2, 2)
    encoder = SatCLIPImageEncoder(tower, batch_size=3, normalize=True)
    with pytest.raises(ValueError, match="not known yet"):
        encoder.fit().get_feature_names_out()
    unit = encoder.fit(images).transform(images)
    assert encoder.get_feature_names_out()[-1] == "satclip_image004"
    with torch.no_grad():
        expected = torch.nn.functional.normalize(tower(torch.from_numpy(images).float()), dim=1)
    np.testing.assert_allclose(unit, expected, atol=1e-6)
    plain = encoder.set_params(normalize=False).fit(images).transform(torch.from_numpy(images))
    with torch.no_grad():
        np.testing.assert_allclose(plain, tower(torch.from_numpy(images).float()), atol=1e-6)
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(images), plain)
    assert encoder.set_output(transform="pandas").transform(images).shape == (7, 5)


def test_image_encoder_models_are_explained(tmp_path, small_location):
    with pytest.raises(ModelNotFoundError, match="no encoder is named 'nonsense'"):
        SatCLIPImageEncoder("nonsense").fit()
    with pytest.raises(TypeError, match="got int"):
        SatCLIPImageEncoder(5).fit()
    _write(tmp_path, small_location)
    with pytest.raises(ModelFormatError, match="location tower only"):
        SatCLIPImageEncoder(tmp_path).fit()
    with pytest.raises(ImageError, match="of shape"):
        SatCLIPImageEncoder(torch.nn.Flatten()).fit(np.zeros((3, 3)))


def test_location_encoder_is_a_torch_module():
    torch.manual_seed(0)
    module = LocationEncoder(4, 8, 16)
    points = torch.tensor([[10.0, 20.0]], requires_grad=True)
    out = module(points)
    assert out.dtype == torch.float32
    out.sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    assert module.double()(points).dtype == torch.float64


def test_networks_without_a_hidden_layer():
    module = LocationEncoder(4, 8, 16, network="linear")
    with pytest.raises(ValueError, match="no hidden layer; use layer="):
        SatCLIPEncoder(module, layer="hidden").fit()


@pytest.mark.parametrize(
    ("model", "layer"), [("bluemarble-l10", "hidden"), ("earth-l20", "embedding")]
)
def test_fewer_columns_are_the_first(model, layer, sphere_points):
    whole = SatCLIPEncoder(model, layer=layer).fit()
    some = SatCLIPEncoder(model, layer=layer, n_components=7).fit()
    expected = whole.transform(sphere_points)[:, :7]
    np.testing.assert_allclose(some.transform(sphere_points), expected, atol=2e-6)
    np.testing.assert_allclose(
        some.transform_grid([3.0, 8.0], [40.0, 50.0, 90.0]),
        whole.transform_grid([3.0, 8.0], [40.0, 50.0, 90.0])[:, :, :7],
        atol=2e-6,
    )
    assert list(some.get_feature_names_out()) == [f"satclip00{i}" for i in range(7)]
    again = pickle.loads(pickle.dumps(some))
    np.testing.assert_array_equal(again.transform([[3, 4]]), some.transform([[3, 4]]))
    unit = SatCLIPEncoder(model, layer=layer, n_components=7, normalize=True)
    assert np.linalg.norm(unit.fit_transform([[3, 4]])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("count", [1, 64, 767, 768])
def test_fewer_columns_of_components_have_the_first_components(count, sphere_points):
    whole = SatCLIPEncoder(dtype="float64").fit_transform(sphere_points)
    components = dct(whole, norm="ortho", axis=1)
    expected = idct(components[:, :count], norm="ortho", axis=1)
    some = SatCLIPEncoder(n_components=count, dtype="float64").fit()
    np.testing.assert_allclose(some.transform(sphere_points), expected, atol=1e-9)
    grid = some.transform_grid([3.0, 8.0], [40.0, 50.0])
    np.testing.assert_allclose(grid[1, 0], some.transform([[3, 50]])[0], atol=1e-9)
    again = pickle.loads(pickle.dumps(some))
    np.testing.assert_array_equal(again.transform([[3, 4]]), some.transform([[3, 4]]))


def test_fewer_columns_of_a_module_with_hooks(sphere_points):
    torch.manual_seed(0)
    module = LocationEncoder(6, 4, 12, sine_dim=20).eval()
    plain = SatCLIPEncoder(module, layer="hidden", n_components=5).fit_transform(sphere_points)
    module.nnet.register_forward_hook(lambda *_: None)
    hooked = SatCLIPEncoder(module, layer="hidden", n_components=5).fit_transform(sphere_points)
    np.testing.assert_allclose(hooked, plain, atol=1e-5)


def test_components_of_the_default_encoder_fall_in_size():
    places = load_earth_tiles(3000, tile_size=1, random_state=0).coords
    deviations = dct(SatCLIPEncoder().fit_transform(places), norm="ortho", axis=1).std(axis=0)
    assert deviations[:64].min() > deviations[128:].max()
    columns = SatCLIPEncoder().fit_transform(places).std(axis=0)
    assert columns.max() < 2 * columns.min()  # each has a like share of all


def test_components_need_sines_before_them():
    with pytest.raises(ValueError, match="pass num_hidden_layers=2 or more"):
        LocationEncoder(4, 8, 16, num_hidden_layers=1, sine_dim=8)
    for network in ("mlp", "fcnet", "linear"):  # which would have ignored it
        with pytest.raises(ValueError, match="sine_dim=8 is for a siren network, not for"):
            LocationEncoder(4, 8, 16, network=network, sine_dim=8)


def test_components_of_a_network_of_any_kind():
    torch.manual_seed(0)
    for words in ({"network": "fcnet"}, {"num_hidden_layers": 1}):
        module = LocationEncoder(4, 8, 16, **words)
        for layer in ("hidden", "embedding"):
            some = SatCLIPEncoder(module, layer=layer, n_components=3).fit_transform([[3, 4]])
            whole = SatCLIPEncoder(module, layer=layer).fit_transform([[3, 4]])
            np.testing.assert_allclose(some, whole[:, :3], atol=1e-6)


def test_more_components_than_there_are():
    with pytest.raises(ValueError, match=r"n_components=257, but the embedding layer.*256 columns"):
        SatCLIPEncoder(layer="embedding", n_components=257).fit()
