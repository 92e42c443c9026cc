"""GeoCLIP gives its authors' numbers."""

import atexit
import importlib.util
import json
import os
import pickle
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import GeoCLIPEncoder
from skgeo_embed._errors import (
    ModelFormatError,
    ModelNotFoundError,
)
from skgeo_embed.models.third_party.geoclip import GEOCLIP, equal_earth
from tests.folding import Folding
from tests.hub_server import Repository
from tests.third_party_recipe import geoclip_weights, reference, usual

GEOCLIP_INSTALLED = importlib.util.find_spec("geoclip") is not None
needs_geoclip = pytest.mark.skipif(
    not GEOCLIP_INSTALLED, reason="pip install --no-deps geoclip gives the real weights"
)


@pytest.fixture
def geoclip_file(tmp_path):
    path = tmp_path / "location_encoder_weights.pth"
    torch.save(geoclip_weights(), path)
    return path


@needs_geoclip
def test_geoclip_real_weights_against_the_authors_numbers():
    data = reference("geoclip")
    points = data["input_latlon_float32"][:, ::-1].astype(np.float64)
    encoder = GeoCLIPEncoder().fit(points)
    assert "geoclip" not in sys.modules  # found, not imported
    module = encoder._encoder.engine.module
    with torch.no_grad():
        everywhere = module(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(everywhere, data["features_float32"], rtol=0, atol=1e-4)
    rows = usual(points)
    features = encoder.transform(points[rows])
    np.testing.assert_allclose(features, data["features_float32"][rows], rtol=0, atol=1e-4)
    info = encoder.encoder_info_
    assert info["sha256"] == "94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394"
    assert (info["source"], info["licence"]) == ("package", "MIT")
    assert encoder.get_feature_names_out()[511] == "geoclip511"


def test_geoclip_projection_against_the_authors_numbers():
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
    with pytest.raises(ModelNotFoundError, match=r"there is no '\./nowhere'"):
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
    with pytest.raises(ModelFormatError, match="it has no 'LocEnc0"):
        GeoCLIPEncoder(geoclip_file).fit()


class FoldingGeoCLIP(Folding, GeoCLIPEncoder):
    """Runs small weights, which are written when first needed."""

    def _open(self):
        folder = Path(tempfile.gettempdir()) / f"skgeo-embed-test-geoclip-{os.getpid()}"
        if not folder.exists():
            folder.mkdir()
            atexit.register(shutil.rmtree, folder)
            torch.save(geoclip_weights(), folder / "small.pth")
        return GEOCLIP.open(folder / "small.pth")


@parametrize_with_checks([FoldingGeoCLIP(dtype="float64")])
def test_common_checks(estimator, check):
    check(estimator)
