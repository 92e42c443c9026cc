import numpy as np
import pytest
import torch

from skgeo_embed.models.lightning_file import location_of_checkpoint, vision_of_checkpoint
from skgeo_embed.models.towers import build_tower
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.objectives.loss import contrastive_loss
from skgeo_embed.nn.two_tower import SatCLIP
from tests.recipe import checkpoints_json, state_dict

VARIANTS = [
    "resnet18_l10",
    "resnet50_l10",
    "vit16_l10",
    "readme_vit",
    "default_yaml",
    "clip_resnet",
]


def _images(shape):
    n, bands, height, width = shape
    smooth = np.random.RandomState(0).rand(*shape).astype(np.float32)
    blocks = np.random.RandomState(1).standard_normal((n, bands, 8, 8))
    blocky = np.repeat(np.repeat(blocks, height // 8, axis=2), width // 8, axis=3)
    return torch.from_numpy(smooth), torch.from_numpy(blocky.astype(np.float32))


@pytest.mark.parametrize("variant", VARIANTS)
def test_towers_logits_and_loss_against_the_original(checkpoint_reference, variant):
    spec = checkpoints_json()["variants"][variant]
    content = {
        "state_dict": state_dict(spec["state_dict"], spec["aliases"]),
        "hyper_parameters": spec["hyper_parameters"],
    }
    vision_config, vision_weights = vision_of_checkpoint(content, "file")
    tower = build_tower(vision_config)
    tower.load_state_dict(vision_weights)
    location_config, location_weights = location_of_checkpoint(content, "file")
    location = LocationEncoder(**location_config).double()
    location.load_state_dict(location_weights)
    model = SatCLIP(tower, location).eval()

    smooth, blocky = _images(spec["image_shape"])
    points = torch.from_numpy(checkpoint_reference["points_lonlat"][:2])
    with torch.no_grad():
        for name, images in (("image", smooth), ("image_blocky", blocky)):
            expected = checkpoint_reference[f"{variant}__{name}"]
            np.testing.assert_allclose(tower(images).numpy(), expected, rtol=0, atol=1e-4)
        embedded, places = model(smooth, points)
        logits = model.logit_scale.exp() * embedded @ places.T
        np.testing.assert_allclose(
            logits, checkpoint_reference[f"{variant}__logits_per_image"], rtol=0, atol=1e-4
        )
        loss = contrastive_loss(embedded, places, model.logit_scale).item()
    assert loss == pytest.approx(spec["outputs"]["loss_2x2_common_step"], abs=1e-5)
