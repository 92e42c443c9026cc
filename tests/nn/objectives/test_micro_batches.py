import pytest
import torch

from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.objectives.loss import contrastive_loss
from skgeo_embed.nn.objectives.micro_batches import embed_in_pieces
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.nn.vision.vit import VisionTransformer


def small_model(visual):
    torch.manual_seed(0)
    return SatCLIP(visual, LocationEncoder(4, 8, 16, dropout=0.0)).double().train()


def transformer():
    return VisionTransformer(3, 8, image_size=8, patch_size=4, width=12, depth=2, n_heads=2)


def gradients(model, images, points, pieces):
    model.zero_grad()
    embedded = (
        embed_in_pieces(model, images, points, pieces, model) if pieces else model(images, points)
    )
    loss = contrastive_loss(*embedded, model.logit_scale)
    loss.backward()
    return loss.item(), [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("pieces", [1, 5, 24, 100])
def test_gradients_are_those_of_one_batch(pieces):
    model = small_model(transformer())
    images, points = torch.rand(24, 3, 8, 8).double(), torch.rand(24, 2).double() * 50
    loss, expected = gradients(model, images, points, None)
    found_loss, found = gradients(model, images, points, pieces)
    assert found_loss == pytest.approx(loss, abs=1e-12)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()


def test_random_draws_are_repeated():
    model = small_model(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8)))
    draws = []

    def embed(image, point):
        draws.append(torch.rand(1).item())
        return model(image * draws[-1], point)

    images, points = torch.rand(6, 3, 2, 2).double(), torch.rand(6, 2).double()
    embedded = embed_in_pieces(embed, images, points, 2, model)
    contrastive_loss(*embedded, model.logit_scale).backward()
    assert len(set(draws)) == 3
    assert len(draws) == 6


def test_running_statistics_move_once():
    visual = torch.nn.Sequential(
        torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(12, 8)
    )
    model = small_model(visual)
    images, points = torch.rand(4, 3, 2, 2).double(), torch.rand(4, 2).double()
    gradients(model, images, points, 2)
    expected = torch.zeros(3).double()
    for piece in images.split(2):
        expected = 0.9 * expected + 0.1 * piece.mean(dim=(0, 2, 3))
    torch.testing.assert_close(visual[0].running_mean, expected)
    assert visual[0].num_batches_tracked == 2
    assert visual[0].momentum == 0.1
