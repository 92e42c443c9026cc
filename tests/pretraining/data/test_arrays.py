"""Pairs in arrays and memory maps."""

import numpy as np

from skgeo_embed.pretraining.data.arrays import ArrayPairs


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
