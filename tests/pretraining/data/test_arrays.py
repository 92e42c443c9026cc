"""Pairs in arrays and memory maps."""

import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

from skgeo_embed.pretraining.data.arrays import ArrayPairs
from skgeo_embed.pretraining.data.features import FeaturePairs
from skgeo_embed.pretraining.data.sampling import NumberedPairs


def test_edits_of_a_private_map_survive(tmp_path, pairs):
    images, coords = pairs
    np.save(tmp_path / "images.npy", images)
    private = np.load(tmp_path / "images.npy", mmap_mode="c")
    private[:] = 7.0
    ArrayPairs(private, coords).__getitems__([0, 5])
    assert (private == 7.0).all()


def test_edits_of_a_private_map_have_features_of_their_own(pairs, tmp_path):
    np.save(tmp_path / "images.npy", pairs[0])
    private = np.load(tmp_path / "images.npy", mmap_mode="c")
    before = ArrayPairs(private, pairs[1]).fingerprint()
    private[:] = 7.0
    assert ArrayPairs(private, pairs[1]).fingerprint() != before


PARTS = {
    "whole": lambda images: images,
    "rows": lambda images: images[100:200],
    "backwards": lambda images: images[::-3, :, ::-1],
    "bands last": lambda images: images.transpose(0, 3, 1, 2),
    "no subclass": np.asarray,
    "a view of a view": lambda images: images[5:].view(np.ndarray)[:, :2],
}


@pytest.fixture
def mapped(tmp_path):
    """A function that maps 2.4 MB of images."""
    images = np.random.RandomState(0).randint(0, 255, (300, 3, 52, 52), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(images))
    raw = tmp_path / "images.raw"
    raw.write_bytes(bytes(70_001) + images.tobytes())

    def open_map(how):
        if how == "raw":
            return np.memmap(raw, np.uint8, "r", offset=70_001, shape=images.shape)
        name = "fortran" if how == "fortran" else "images"
        return np.load(tmp_path / f"{name}.npy", mmap_mode="r" if how == "fortran" else how)

    return open_map


@pytest.mark.parametrize("how", ["r", "r+", "raw", "fortran"])
@pytest.mark.parametrize("part", PARTS)
def test_a_spawned_process_maps_the_file_again(mapped, how, part):
    images = PARTS[part](mapped(how))
    lonlat = np.zeros((len(images), 2))
    content = bytes(ForkingPickler.dumps(NumberedPairs(ArrayPairs(images, lonlat))))
    assert len(content) < 10_000
    again = pickle.loads(content).dataset
    np.testing.assert_array_equal(again.images, images)
    assert again.images.strides == images.strides
    rows = [len(images) - 1, 0, 7]
    found, expected = again.__getitems__(rows), ArrayPairs(images, lonlat).__getitems__(rows)
    np.testing.assert_array_equal(found["image"], expected["image"])
    twice = pickle.loads(pickle.dumps(again))
    np.testing.assert_array_equal(twice.images, images)


def test_cached_features_are_mapped_again(tmp_path):
    np.save(tmp_path / "features.npy", np.random.RandomState(0).rand(500, 2, 64))
    features = np.load(tmp_path / "features.npy", mmap_mode="r")
    content = pickle.dumps(FeaturePairs(features, np.zeros((500, 2))))
    assert len(content) < 10_000
    np.testing.assert_array_equal(pickle.loads(content).features, features)


def test_edits_and_files_that_are_gone_travel_as_values(mapped, tmp_path):
    private = mapped("c")
    private[:] = 7
    lonlat = np.zeros((300, 2))
    again = pickle.loads(pickle.dumps(ArrayPairs(private, lonlat)))
    assert (np.asarray(again.images) == 7).all()
    images = mapped("r")
    expected = np.array(images)
    (tmp_path / "images.npy").unlink()
    again = pickle.loads(pickle.dumps(ArrayPairs(images, lonlat)))
    np.testing.assert_array_equal(again.images, expected)
    computed = mapped("raw") + 1  # a memmap by type, but not of a file
    again = pickle.loads(pickle.dumps(ArrayPairs(computed, lonlat)))
    np.testing.assert_array_equal(again.images, computed)


def test_a_file_that_was_cut_is_named(mapped, tmp_path):
    content = pickle.dumps(ArrayPairs(mapped("r"), np.zeros((300, 2))))
    with (tmp_path / "images.npy").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(OSError, match=r"images\.npy has become shorter"):
        pickle.loads(content)
