import math

import numpy as np
import pytest
import torch

from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.objectives.loss import contrastive_loss, retrieval_ranks
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.nn.vision.small_cnn import ProjectedTower, SmallConvNet


def test_loss_against_the_original(checkpoint_reference):
    logits = torch.from_numpy(checkpoint_reference["loss__logits_per_image"])
    # any matrix is a product of embeddings if one side is the identity
    loss = contrastive_loss(logits, torch.eye(8, dtype=torch.float64), torch.tensor(0.0))
    assert loss.item() == pytest.approx(7.656425120824764, abs=1e-12)


def test_perfect_and_constant_embeddings():
    eye = torch.eye(6)
    assert contrastive_loss(eye, eye, torch.tensor(10.0)).item() < 1e-6
    constant = torch.ones(6, 4)
    uninformed = contrastive_loss(constant, constant, torch.tensor(0.0)).item()
    assert uninformed == pytest.approx(math.log(6), abs=1e-6)


def test_retrieval_counts_ties_as_misses():
    ranks, _ = retrieval_ranks(torch.ones(5, 3), torch.ones(5, 3))
    assert (ranks == 5).all()
    ranks, best = retrieval_ranks(torch.eye(5), torch.eye(5))
    assert (ranks == 1).all()
    assert torch.equal(best, torch.arange(5))


def test_several_keys_of_a_place():
    queries = torch.eye(3)[[0, 0, 1, 2]]
    place = torch.tensor([0, 0, 1, 2])
    ranks, _ = retrieval_ranks(queries, queries, place, place)
    assert ranks.tolist() == [1, 1, 1, 1]
    ranks, _ = retrieval_ranks(torch.eye(3)[[0, 0, 0, 2]], queries, place, place)
    assert ranks.tolist() == [1, 1, 4, 1]  # behind both of another place, and one that ties
    ranks, _ = retrieval_ranks(torch.ones(4, 3), torch.ones(4, 3), place, place)
    assert ranks.tolist() == [3, 3, 4, 4]


def test_what_is_nan_finds_nothing():
    ranks, _ = retrieval_ranks(torch.full((5, 3), torch.nan), torch.eye(5)[:, :3])
    assert (ranks == 5).all()


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_retrieval_in_chunks(chunk):
    rng = np.random.RandomState(0)
    queries, keys = torch.from_numpy(rng.randn(10, 4)), torch.from_numpy(rng.randn(10, 4))
    order = (queries @ keys.T).argsort(dim=1, descending=True)
    expected = (order == torch.arange(10)[:, None]).int().argmax(dim=1) + 1
    ranks, best = retrieval_ranks(queries, keys, chunk=chunk)
    assert torch.equal(ranks, expected)
    assert torch.equal(best, order[:, 0])


def test_a_share_of_the_rows_against_all():
    torch.manual_seed(0)
    images, places = torch.randn(2, 6, 4)
    scale = torch.tensor(1.0)
    shares = [
        contrastive_loss(images[rows], places[rows], scale, images, places, rows.start)
        for rows in (slice(0, 3), slice(3, 6))
    ]
    whole = contrastive_loss(images, places, scale)
    torch.testing.assert_close(torch.stack(shares).mean(), whole)


def test_two_towers_give_unit_rows():
    torch.manual_seed(0)
    model = SatCLIP(SmallConvNet(3, 8, widths=(4, 8)), LocationEncoder(4, 8, 16)).eval()
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-6)
    for embeddings in model(torch.rand(5, 3, 9, 7), torch.rand(5, 2)):
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(5))


def test_small_tower_takes_any_size_and_scale():
    torch.manual_seed(0)
    tower = SmallConvNet(4, 8).train()
    for size in (1, 5, 32):
        assert tower(torch.rand(6, 4, size, size)).shape == (6, 8)
    torch.testing.assert_close(
        tower(torch.arange(6 * 4 * 64.0).reshape(6, 4, 8, 8) * 1000),
        tower(torch.arange(6 * 4 * 64.0).reshape(6, 4, 8, 8) / 1000),
        atol=1e-2,
        rtol=0,
    )


def test_projected_tower():
    tower = ProjectedTower(torch.nn.Flatten(), 12, 5)
    assert tower(torch.rand(2, 3, 2, 2)).shape == (2, 5)


def test_a_temperature_may_diverge():
    model = SatCLIP(SmallConvNet(3, 8, widths=(4,)), LocationEncoder(4, 8, 16))
    model.logit_scale.data.fill_(-1e4)
    assert model.temperature == np.inf
