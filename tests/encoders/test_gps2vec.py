"""GPS2Vec gives its authors' numbers, zone by zone."""

import atexit
import os
import pickle
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import GPS2VecEncoder
from skgeo_embed._errors import (
    CoordinateError,
    InvalidCoordinateWarning,
    ModelFormatError,
    ModelNotFoundError,
)
from skgeo_embed.places.reading import read_coordinates
from skgeo_embed.places.utm import distance_grid, zone_names
from tests.folding import Folding
from tests.third_party_recipe import reference, write_zone


@pytest.fixture(scope="module", params=["visual", "tag"])
def zone_folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"models_{request.param}")
    write_zone(folder / "first.h5", request.param)
    for zone in set(reference("gps2vec")["zone"]) - {"18 T"}:
        (folder / f"model_{zone}.h5").symlink_to(folder / "first.h5")
    write_zone(folder / "model_18 T.h5", request.param, nested=True)
    return request.param, folder


def test_zones_and_distances_against_the_authors_numbers():
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


def test_gps2vec_against_the_authors_numbers(zone_folder):
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
    with pytest.raises(ModelFormatError, match="cannot be opened as a GPS2Vec zone file"):
        GPS2VecEncoder(tmp_path).fit().transform([[103.76, 1.32]])
    kind, folder = zone_folder
    encoder = GPS2VecEncoder(folder, kind=kind).fit()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"skgeo-embed\[third-party\]"):
        encoder.transform([[103.76, 1.32]])
    monkeypatch.setitem(sys.modules, "utm", None)
    with pytest.raises(ImportError, match=r"needs utm"):
        distance_grid(np.array([[103.76, 1.32]]), "48 N")


class FoldingGPS2Vec(Folding, GPS2VecEncoder):
    """Folds into zone 48 N, whose networks are written when first needed."""

    def _read(self, X, *, reset):
        lon, lat = super()._read(X, reset=reset).lonlat.T
        return read_coordinates(np.column_stack([105 + lon / 180 * 2.9, 4 + lat / 90 * 3.9]))

    def prepare(self):
        folder = Path(tempfile.gettempdir()) / f"skgeo-embed-test-zones-{os.getpid()}"
        if not folder.exists():
            folder.mkdir()
            atexit.register(shutil.rmtree, folder)
            write_zone(folder / "model_48 N.h5", "visual")
        given, self.model = self.model, folder
        super().prepare()
        self.model = given


@parametrize_with_checks([FoldingGPS2Vec(dtype="float64")])
def test_common_checks(estimator, check):
    check(estimator)
