"""Checkpoints open as the pretrainer and the encoders that wrote them."""

import numpy as np
import pandas as pd
import pytest
import torch

from skgeo_embed import (
    SatCLIPEncoder,
    SatCLIPImageEncoder,
    SatCLIPPretrainer,
)
from skgeo_embed._errors import (
    ModelFormatError,
    ModelNotFoundError,
)
from tests.pretraining.common import CountingTower, small_pretrainer, weights_of


@pytest.mark.parametrize("tower", ["small_cnn", CountingTower()])
def test_checkpoints_open_as_what_the_pretrainer_has(pairs, tmp_path, tower):
    words = {"vision_tower": tower, "recipe__hidden_scale": 0.1, "checkpoint_dir": tmp_path}
    trained = small_pretrainer(**words).fit(*pairs)
    own = None if tower == "small_cnn" else tower
    for layer in ("embedding", "hidden"):
        found = SatCLIPEncoder(tmp_path / "last.ckpt", layer=layer).fit_transform(pairs[1])
        expected = SatCLIPEncoder(trained.model_.location, layer=layer).fit_transform(pairs[1])
        np.testing.assert_allclose(found, expected, atol=1e-6)
    images = SatCLIPImageEncoder(tmp_path / "last.ckpt", vision_tower=own).fit()
    np.testing.assert_allclose(
        images.transform(pairs[0]), trained.image_encoder_.transform(pairs[0]), atol=1e-5
    )
    again = SatCLIPPretrainer.from_checkpoint(tmp_path / "last.ckpt", vision_tower=own)
    assert torch.allclose(weights_of(again), weights_of(trained))
    pd.testing.assert_frame_equal(again.history_, trained.history_)
    assert again.score(*pairs) == trained.score(*pairs)
    assert again.recipe.hidden_scale == 0.1
    assert again.batch_size == 16
    longer = again.set_params(max_epochs=5, resume=tmp_path / "last.ckpt", verbose=0)
    if own is not None:
        longer.set_params(vision_tower=own)
    assert len(longer.fit(*pairs).history_) == 5


def test_what_is_no_checkpoint_of_ours(tmp_path):
    with pytest.raises(ModelNotFoundError, match="there is no checkpoint"):
        SatCLIPPretrainer.from_checkpoint(tmp_path / "gone.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ModelFormatError, match="does not describe its run"):
        SatCLIPPretrainer.from_checkpoint(tmp_path / "other.ckpt")
