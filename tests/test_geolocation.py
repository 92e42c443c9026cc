import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import ImageGeolocator, Recipe, SatCLIPPretrainer
from skgeo_embed._errors import ModelFormatError
from skgeo_embed._sphere import great_circle_km
from tests.peak_memory import PEAK_MIB
from tests.satclip_checkpoint import checkpoint, to_bytes


@pytest.fixture(scope="module")
def pretrainer(pairs):
    return SatCLIPPretrainer(
        Recipe(legendre_polys=4, embed_dim=16, hidden_dim=64, learning_rate=1e-3, dropout=0.0),
        max_epochs=15,
        batch_size=32,
        random_state=0,
        verbose=0,
    ).fit(*pairs)


@parametrize_with_checks([ImageGeolocator()])
def test_common_checks(estimator, check):
    check(estimator)


def test_finds_places_better_than_chance(pretrainer, pairs):
    images, coords = pairs
    geolocator = ImageGeolocator(pretrainer, n_candidates=3000).fit()
    predicted = geolocator.predict(images)
    assert predicted.shape == (120, 2)
    median = np.median(great_circle_km(predicted, coords))
    shuffled = np.median(great_circle_km(predicted, coords[::-1]))
    assert median < 0.4 * shuffled
    assert geolocator.score(images, coords) == pytest.approx(-median)
    near = ImageGeolocator(pretrainer, n_candidates=3000, radius_km=median).fit()
    assert near.score(images, coords) == pytest.approx(0.5, abs=0.02)


def test_probabilities_are_the_softmax_of_similarities(pretrainer, pairs):
    images, coords = pairs[0][:7], pairs[1]
    geolocator = ImageGeolocator(pretrainer).fit(coords)
    pictures = geolocator.image_encoder_.transform(images)
    places = geolocator.location_encoder_.transform(coords)
    logits = (pictures @ places.T) / geolocator.temperature_
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probability = geolocator.predict_proba(images)
    np.testing.assert_allclose(probability, expected, rtol=1e-4)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)
    top, share = geolocator.predict_top_k(images, k=5)
    order = np.argsort(-expected, axis=1)[:, :5]
    np.testing.assert_allclose(top, geolocator.candidates_[order])
    np.testing.assert_allclose(share, np.take_along_axis(expected, order, axis=1), rtol=1e-4)
    np.testing.assert_array_equal(geolocator.predict(images), top[:, 0])


def test_chunks_do_not_matter(pretrainer, pairs, monkeypatch):
    images = pairs[0][:9]
    whole = ImageGeolocator(pretrainer, n_candidates=500).fit().predict_top_k(images, k=4)
    monkeypatch.setattr("skgeo_embed.geolocation.CHUNK", 3)
    monkeypatch.setattr("skgeo_embed.geolocation.ENCODED_CHUNK", 7)
    monkeypatch.setattr("skgeo_embed.geolocation.KEPT_BYTES", 0)
    small = ImageGeolocator(pretrainer, n_candidates=500).fit()
    assert small._kept is None
    places, probability = small.predict_top_k(images, k=4)
    np.testing.assert_allclose(places, whole[0])
    np.testing.assert_allclose(probability, whole[1], rtol=1e-4)
    np.testing.assert_allclose(small.predict_proba(images).max(axis=1), whole[1][:, 0], rtol=1e-4)


def test_saved_and_cloned_models(pretrainer, pairs, tmp_path):
    images = pairs[0][:5]
    expected = ImageGeolocator(pretrainer, n_candidates=200).fit().predict(images)
    folder = pretrainer.save_pretrained(tmp_path / "mine")
    from_folder = ImageGeolocator(folder, n_candidates=200).fit()
    np.testing.assert_array_equal(from_folder.predict(images), expected)
    from_model = clone(ImageGeolocator(pretrainer.model_, n_candidates=200)).fit()
    np.testing.assert_array_equal(from_model.predict(images), expected)
    again = pickle.loads(pickle.dumps(from_folder))
    np.testing.assert_array_equal(again.predict(images), expected)
    with pytest.raises(NotFittedError, match="pass its model_ instead"):
        clone(ImageGeolocator(pretrainer)).fit()


def test_published_checkpoint(tmp_path):
    path = tmp_path / "own.ckpt"
    path.write_bytes(to_bytes(checkpoint("clip_resnet")))
    images = np.random.RandomState(0).rand(2, 12, 80, 80).astype(np.float32)
    geolocator = ImageGeolocator(path, n_candidates=50).fit()
    assert geolocator.temperature_ == pytest.approx(0.07, rel=1e-5)
    assert geolocator.predict(images).shape == (2, 2)
    path.write_bytes(
        to_bytes(checkpoint("clip_resnet", keep=lambda key: key != "model.logit_scale"))
    )
    with pytest.raises(ModelFormatError, match="no logit_scale"):
        ImageGeolocator(path).fit()


def test_bad_requests(pretrainer, pairs):
    geolocator = ImageGeolocator(pretrainer, n_candidates=10).fit()
    with pytest.raises(ValueError, match="between 1 and 10 candidates, got 11"):
        geolocator.predict_top_k(pairs[0], k=11)
    with pytest.raises(ValueError, match="120 images and 5 coordinates"):
        geolocator.score(pairs[0], pairs[1][:5])
    with pytest.raises(ValueError, match=r"must be an integer.*got 2\.0"):
        geolocator.predict_top_k(pairs[0], k=2.0)
    with pytest.raises(NotFittedError):
        ImageGeolocator().predict(pairs[0])
    with pytest.raises(TypeError, match="does not have two towers"):
        ImageGeolocator(geolocator.location_encoder_).fit()


@pytest.mark.slow
def test_memory_is_bounded_in_the_number_of_candidates():
    code = f"""
import numpy as np
{PEAK_MIB}
from skgeo_embed import ImageGeolocator, geolocation
geolocator = ImageGeolocator().fit([[0, 0]])
geolocator.predict(np.zeros((2, 3, 16, 16)))
before = peak()
assert ImageGeolocator(n_candidates=300_000).fit()._kept is None
geolocation.KEPT_BYTES = 0  # fewer candidates, treated as that many are
geolocator = ImageGeolocator(n_candidates=100_000).fit()
geolocator.predict_top_k(np.random.RandomState(0).rand(500, 3, 16, 16), k=5)
print(peak() - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    # does not grow with the number of candidates but by 24 bytes; all similarities have 200 MB,
    # and as many again for each step of their ranking
    assert int(result.stdout) < 350
