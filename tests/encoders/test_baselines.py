import atexit
import importlib.util
import json
import os
import pickle
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import CSPEncoder, GeoCLIPEncoder, GPS2VecEncoder
from skgeo_embed._errors import (
    CoordinateError,
    InvalidCoordinateWarning,
    ModelFormatError,
    ModelNotFoundError,
)
from skgeo_embed.places.reading import read_coordinates
from skgeo_embed.places.utm import distance_grid, zone_names
from tests.folding import Folding
from tests.hub_server import Repository
from tests.recipe import REFERENCE, state_dict

SPACE2VEC = REFERENCE.parent / "weights" / "space2vec_grid_yfcc.pth.tar"
GEOCLIP_INSTALLED = importlib.util.find_spec("geoclip") is not None
needs_geoclip = pytest.mark.skipif(
    not GEOCLIP_INSTALLED, reason="pip install --no-deps geoclip gives the real weights"
)


def reference(name):
    with np.load(REFERENCE / f"{name}.npz") as file:
        return dict(file)


def canonical_rows(points):
    """Rows that are read as they stand: not the poles, not +180°."""
    return (np.abs(points[:, 1]) < 90) & (points[:, 0] < 180)


# --- GeoCLIP


def geoclip_weights(seed=0):
    """Small random weights under GeoCLIP's names."""
    rng = np.random.RandomState(seed)

    def tensor(*shape):
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32) / 4)

    weights = {}
    for i in range(3):
        prefix = f"LocEnc{i}."
        weights[f"{prefix}capsule.0.b"] = tensor(6, 2)
        for layer, width_in in ((1, 12), (3, 10), (5, 10)):
            weights[f"{prefix}capsule.{layer}.weight"] = tensor(10, width_in)
            weights[f"{prefix}capsule.{layer}.bias"] = tensor(10)
        weights[f"{prefix}head.0.weight"], weights[f"{prefix}head.0.bias"] = (
            tensor(7, 10),
            tensor(7),
        )
    return weights


@pytest.fixture
def geoclip_file(tmp_path):
    path = tmp_path / "location_encoder_weights.pth"
    torch.save(geoclip_weights(), path)
    return path


@needs_geoclip
def test_geoclip_real_weights_against_the_original():
    data = reference("geoclip")
    points = data["input_latlon_float32"][:, ::-1].astype(np.float64)
    encoder = GeoCLIPEncoder().fit(points)
    assert "geoclip" not in sys.modules  # found, not imported
    module = encoder._encoder.engine.module
    with torch.no_grad():
        everywhere = module(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(everywhere, data["features_float32"], rtol=0, atol=1e-4)
    rows = canonical_rows(points)
    features = encoder.transform(points[rows])
    np.testing.assert_allclose(features, data["features_float32"][rows], rtol=0, atol=1e-4)
    info = encoder.encoder_info_
    assert info["sha256"] == "94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394"
    assert (info["source"], info["licence"]) == ("package", "MIT")
    assert encoder.get_feature_names_out()[511] == "geoclip511"


def test_geoclip_projection_against_the_original():
    from skgeo_embed.models.third_party.geoclip import equal_earth

    data = reference("geoclip")
    points = torch.from_numpy(data["input_latlon_float32"][:, ::-1].astype(np.float64))
    np.testing.assert_allclose(equal_earth(points), data["equal_earth_xy_float64"], atol=2e-7)


def test_geoclip_from_file_folder_and_hub(hub, tmp_path, geoclip_file):
    from safetensors.torch import save

    config = json.dumps({"model_type": "geoclip-location-encoder", "format_version": 1})
    weights = save(geoclip_weights())
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(weights)
    hub.repositories["someone/geoclip"] = Repository(
        {"config.json": config.encode(), "model.safetensors": weights}
    )
    points = [[7.8, 36.8], [-122.3, 38.5]]
    expected = GeoCLIPEncoder(geoclip_file).fit_transform(points)
    assert expected.shape == (2, 7)
    for model in (folder, "someone/geoclip"):
        np.testing.assert_array_equal(GeoCLIPEncoder(model).fit_transform(points), expected)
    double = GeoCLIPEncoder(geoclip_file, dtype="float64").fit_transform(points)
    np.testing.assert_allclose(double, expected, atol=1e-5)
    encoder = GeoCLIPEncoder(geoclip_file, normalize=True).fit(points)
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(points), encoder.transform(points))
    np.testing.assert_allclose(np.linalg.norm(again.transform(points), axis=1), 1, rtol=1e-6)


def test_geoclip_errors(tmp_path, geoclip_file, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelNotFoundError, match="pip install --no-deps geoclip"):
        GeoCLIPEncoder().fit()
    with pytest.raises(ModelNotFoundError, match=r"no GeoCLIP model '\./nowhere'"):
        GeoCLIPEncoder("./nowhere").fit()
    with pytest.raises(ModelNotFoundError, match=r"holds no model\.safetensors"):
        GeoCLIPEncoder(tmp_path).fit()
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelFormatError, match="cannot be opened as GeoCLIP"):
        GeoCLIPEncoder(tmp_path).fit()
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelFormatError, match="'bert', not 'geoclip-location-encoder'"):
        GeoCLIPEncoder(tmp_path).fit()
    geoclip_file.write_bytes(b"not torch")
    with pytest.raises(ModelFormatError, match="was not opened"):
        GeoCLIPEncoder(geoclip_file).fit()
    torch.save({"LocEnc0.capsule.0.b": torch.zeros(2, 2)}, geoclip_file)
    with pytest.raises(ModelFormatError, match="which GeoCLIP's location encoder needs"):
        GeoCLIPEncoder(geoclip_file).fit()


# --- CSP


def csp_checkpoint(path, dataset, **changes):
    spec = json.loads((REFERENCE / "csp.json").read_text())["models"][dataset]
    state = state_dict(spec["state_dict"], spec["aliases"])
    params = {**spec["params"], **changes}
    torch.save({"epoch": 1, "state_dict": state, "optimizer": {}, "params": params}, path)
    return path


@pytest.mark.parametrize("dataset", ["fmow", "inat_2018"])
@pytest.mark.parametrize(("scaling", "name"), [("degrees", "rawdeg"), ("unit", "normalised")])
def test_csp_against_the_original(tmp_path, dataset, scaling, name):
    data = reference("csp")
    points = data["input_rawdeg_float32"].astype(np.float64)
    path = csp_checkpoint(tmp_path / "model.pth.tar", dataset)
    encoder = CSPEncoder(path, scaling=scaling).fit(points)
    module = encoder._encoder.engine.module
    expected = data[f"{dataset}__features_{name}"]
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(points)), expected, rtol=0, atol=2e-5)
    rows = canonical_rows(points)
    np.testing.assert_allclose(encoder.transform(points[rows]), expected[rows], rtol=0, atol=2e-5)
    assert CSPEncoder(path, layer="hidden").fit_transform(points).shape == (96, 512)


def test_space2vec_real_checkpoint_against_the_original():
    data = reference("space2vec_grid_yfcc")
    points = data["input_float32"].astype(np.float64)
    encoder = CSPEncoder(SPACE2VEC).fit(points)
    np.testing.assert_allclose(
        encoder.transform(points), data["features_float32"], rtol=0, atol=1e-4
    )
    assert encoder.get_feature_names_out()[0] == "csp000"
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(points), encoder.transform(points))


def test_csp_errors(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"github\.com/gengchenmai/csp.*no licence"):
        CSPEncoder().fit()
    with pytest.raises(ModelNotFoundError, match="there is no file"):
        CSPEncoder(tmp_path / "nothing").fit()
    path = tmp_path / "model.pth.tar"
    with pytest.raises(ModelFormatError, match="'rbf' encoder"):
        CSPEncoder(csp_checkpoint(path, "fmow", spa_enc_type="rbf")).fit()
    with pytest.raises(ModelFormatError, match="freq_init='random'"):
        CSPEncoder(csp_checkpoint(path, "fmow", freq_init="random")).fit()
    with pytest.raises(ModelFormatError, match="frequency_num=16, the first layer takes 128"):
        CSPEncoder(csp_checkpoint(path, "fmow", frequency_num=16)).fit()
    with pytest.raises(ModelFormatError, match="cannot be opened as a CSP encoder"):
        CSPEncoder(csp_checkpoint(path, "fmow", spa_f_act="unknown")).fit()
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ModelFormatError, match="no 'params' and 'state_dict'"):
        CSPEncoder(path).fit()
    torch.save({"params": {"spa_enc_type": "gridcell"}, "state_dict": {}}, path)
    with pytest.raises(ModelFormatError, match=r"no spa_enc\.ffn layers"):
        CSPEncoder(path).fit()
    torch.save([1], path)
    with pytest.raises(ModelFormatError, match="holds a list"):
        CSPEncoder(path).fit()


# --- GPS2Vec


def recipe_array(name, shape, is_bias):
    rng = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    scale = 0.1 if is_bias else 1 / np.sqrt(shape[0])
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def write_zone(path, kind, nested=False):
    layout = json.loads((REFERENCE / "gps2vec.json").read_text())["layout"][kind]
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if nested else file
        root.attrs["layer_names"] = [name.encode() for name in layout["layer_names"]]
        for name, _, weights, *_ in layout["layers"]:
            group = root.create_group(name)
            group.attrs["weight_names"] = [w[0].encode() for w in weights]
            for weight, shape, _ in weights:
                array = recipe_array(f"{kind}/{weight}", tuple(shape), weight.endswith("bias:0"))
                group.create_dataset(weight, data=array)


@pytest.fixture(scope="module", params=["visual", "tag"])
def zone_folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"models_{request.param}")
    write_zone(folder / "first.h5", request.param)
    for zone in set(reference("gps2vec")["zone"]) - {"18 T"}:
        (folder / f"model_{zone}.h5").symlink_to(folder / "first.h5")
    write_zone(folder / "model_18 T.h5", request.param, nested=True)
    return request.param, folder


def test_zones_and_distances_against_the_original():
    data = reference("gps2vec")
    points = read_coordinates(data["points_lonlat"]).lonlat
    np.testing.assert_array_equal(zone_names(points), data["zone"])
    for point, zone, expected in zip(points, data["zone"], data["loc2mat"], strict=True):
        np.testing.assert_allclose(distance_grid(point[None], zone)[0], expected, atol=1e-12)


def test_zones_everywhere_against_utm():
    import utm

    rng = np.random.RandomState(0)
    points = np.column_stack([rng.uniform(-180, 180, 3000), rng.uniform(-80, 84, 3000)])
    points[:1000] = np.column_stack([rng.uniform(-2, 44, 1000), rng.uniform(54, 84, 1000)])
    expected = [
        f"{utm.latlon_to_zone_number(lat, lon)} {utm.latitude_to_zone_letter(lat)}"
        for lon, lat in points
    ]
    np.testing.assert_array_equal(zone_names(points), expected)


def test_gps2vec_against_the_original(zone_folder):
    kind, folder = zone_folder
    data = reference("gps2vec")
    points = data["points_lonlat"]
    encoder = GPS2VecEncoder(folder, kind=kind).fit(points)
    features = encoder.transform(points)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, data[kind], rtol=0, atol=1e-6)
    double = GPS2VecEncoder(folder, kind=kind, dtype="float64", batch_size=1)
    found = double.fit_transform(points[::5])
    np.testing.assert_allclose(found, data[kind][::5], rtol=0, atol=1e-6)
    names = encoder.get_feature_names_out()
    assert names[0] == f"gps2vec_{kind}000"
    assert len(names) == {"visual": 1365, "tag": 2000}[kind]
    assert "48 N" in encoder.encoder_info_["zones"]
    data = pickle.dumps(encoder)
    assert len(data) < 20_000
    np.testing.assert_array_equal(pickle.loads(data).transform(points), features)


def test_gps2vec_missing_zones(zone_folder):
    kind, folder = zone_folder
    points = [[103.76, 1.32], [0.0, 86.0], [100.0, 60.0], [0.0, -85.0]]
    encoder = GPS2VecEncoder(folder, kind=kind).fit()
    with pytest.raises(CoordinateError) as error:
        encoder.transform(points)
    message = str(error.value)
    assert "2 of 4 points lie outside 80°S to 84°N" in message
    assert "lon=0, lat=86" in message
    assert "1 of 4 points (first: row 2) lie in 1 zone(s) without a file" in message
    assert "'47 V'" in message
    lenient = GPS2VecEncoder(folder, kind=kind, on_invalid="nan").fit()
    with pytest.warns(InvalidCoordinateWarning, match="Their features are NaN"):
        features = lenient.transform(points)
    np.testing.assert_array_equal(np.isnan(features).all(axis=1), [False, True, True, True])


def test_gps2vec_keeps_few_zones(zone_folder, monkeypatch):
    kind, folder = zone_folder
    monkeypatch.setattr("skgeo_embed.models.third_party.gps2vec.ZONE_CACHE", 2)
    data = reference("gps2vec")
    encoder = GPS2VecEncoder(folder, kind=kind).fit()
    features = encoder.transform(data["points_lonlat"])
    np.testing.assert_allclose(features, data[kind], rtol=0, atol=1e-6)
    assert len(encoder._zones._layers) == 2


def test_gps2vec_errors(tmp_path, zone_folder, monkeypatch):
    with pytest.raises(ModelNotFoundError, match=r"github\.com/yifangyin/GPS2Vec.*no licence"):
        GPS2VecEncoder().fit()
    with pytest.raises(ModelNotFoundError, match="there is nothing at"):
        GPS2VecEncoder(tmp_path / "nowhere").fit()
    with pytest.raises(ModelNotFoundError, match=r"no model_\*\.h5 file"):
        GPS2VecEncoder(tmp_path).fit()
    (tmp_path / "model_48 N.h5").write_bytes(b"not hdf5")
    with pytest.raises(ModelFormatError, match="no GPS2Vec zone file"):
        GPS2VecEncoder(tmp_path).fit().transform([[103.76, 1.32]])
    kind, folder = zone_folder
    encoder = GPS2VecEncoder(folder, kind=kind).fit()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"skgeo-embed\[baselines\]"):
        encoder.transform([[103.76, 1.32]])
    monkeypatch.setitem(sys.modules, "utm", None)
    with pytest.raises(ImportError, match=r"needs utm"):
        distance_grid(np.array([[103.76, 1.32]]), "48 N")


# --- one contract


class FoldingCSP(Folding, CSPEncoder):
    pass


class FoldingGeoCLIP(Folding, GeoCLIPEncoder):
    def _prepare(self):
        from skgeo_embed.models.geoclip_file import open_geoclip

        from skgeo_embed.models.hub import HubOptions

        folder = Path(tempfile.gettempdir()) / f"skgeo-embed-test-geoclip-{os.getpid()}"
        if not folder.exists():
            folder.mkdir()
            atexit.register(shutil.rmtree, folder)
            torch.save(geoclip_weights(), folder / "small.pth")
        self._keep(open_geoclip(folder / "small.pth", HubOptions()), "embedding")


class FoldingGPS2Vec(Folding, GPS2VecEncoder):
    """Folds into zone 48 N, whose networks are written when first needed."""

    def _read(self, X, *, reset):
        lon, lat = super()._read(X, reset=reset).lonlat.T
        return read_coordinates(np.column_stack([105 + lon / 180 * 2.9, 4 + lat / 90 * 3.9]))

    def _prepare(self):
        folder = Path(tempfile.gettempdir()) / f"skgeo-embed-test-zones-{os.getpid()}"
        if not folder.exists():
            folder.mkdir()
            atexit.register(shutil.rmtree, folder)
            write_zone(folder / "model_48 N.h5", "visual")
        given, self.model = self.model, folder
        super()._prepare()
        self.model = given


@parametrize_with_checks(
    [
        FoldingCSP(str(SPACE2VEC), dtype="float64"),
        FoldingGeoCLIP(dtype="float64"),
        FoldingGPS2Vec(dtype="float64"),
    ]
)
def test_common_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", ["csp", "geoclip", "gps2vec"])
def test_same_reading_and_same_frames(name, geoclip_file, tmp_path):
    import pandas as pd

    if name == "gps2vec":
        write_zone(tmp_path / "model_48 N.h5", "visual")
    encoder = {
        "csp": lambda: CSPEncoder(SPACE2VEC),
        "geoclip": lambda: GeoCLIPEncoder(geoclip_file),
        "gps2vec": lambda: GPS2VecEncoder(tmp_path),
    }[name]()
    table = pd.DataFrame({"lat": [1.32, 1.5], "lon": [103.76, 104.0]}, index=["a", "b"])
    out = encoder.set_output(transform="pandas").fit_transform(table)
    assert list(out.index) == ["a", "b"]
    plain = encoder.set_output(transform="default").transform(table)
    east = encoder.fit([[103.76, 1.32]]).transform([[103.76, 1.32]])
    np.testing.assert_allclose(plain[:1], east, rtol=1e-4, atol=1e-6)
    with pytest.raises(CoordinateError, match="columns look swapped"):
        encoder.fit([[1.32, 103.76]])
    lenient = encoder.set_params(on_invalid="nan").fit()
    gap = lenient.transform([[np.nan, 1.0], [103.76, 1.32]])
    np.testing.assert_array_equal(np.isnan(gap).all(axis=1), [True, False])
