"""Retrieval and distances, also where several images show one place."""

import numpy as np
import pytest
import torch

from skgeo_embed.pretraining.run.metrics import distinct_places, validation_metrics
from tests.pretraining.common import small_pretrainer

RATES = ["val_top1", "val_top5", "val_place_top1", "val_place_top5"]


class Scaled(torch.nn.Module):
    logit_scale = torch.tensor(0.0)


@pytest.mark.parametrize("seasons", [1, 4, 7])
def test_each_image_of_a_place_finds_it(seasons):
    points = torch.rand(10, 2, dtype=torch.float64).mul(60).repeat(seasons, 1)
    places = torch.eye(10).repeat(seasons, 1)
    found = validation_metrics(places, places, points, Scaled(), 5)
    assert [found[name] for name in RATES] == [1.0] * 4
    assert found["val_median_km"] == 0
    wrong = places.roll(3, dims=1)  # each image looks like one other place
    found = validation_metrics(wrong, places, points, Scaled(), 5)
    assert [found[name] for name in RATES] == [0.0] * 4
    alike = torch.ones(10 * seasons, 10)
    found = validation_metrics(alike, alike, points, Scaled(), 5)
    assert [found[name] for name in RATES] == [0.0] * 4


def test_the_first_five_are_places_not_rows():
    """Four images of a wrong place that is nearer are one place."""
    embedding = torch.linspace(0, 1, 6)
    places = torch.stack([embedding.cos(), embedding.sin()], dim=1).repeat(4, 1)
    points = torch.stack([embedding, embedding], dim=1).double().repeat(4, 1)
    images = places.roll(1, dims=0)  # one neighbour is nearer than the own place
    found = validation_metrics(images, places, points, Scaled(), 5)
    assert found["val_top1"] == 0
    assert found["val_top5"] > 0.8


def test_a_place_is_one_whatever_the_notation():
    points = [[180, 10], [-180, 10], [0, 90], [77, 90], [5, 5], [5 + 1e-9, 5], [5.001, 5], [0, -90]]
    first, place = distinct_places(torch.tensor(points, dtype=torch.float64))
    assert place.tolist() == [0, 0, 1, 1, 2, 2, 3, 4]
    assert first.tolist() == [0, 2, 4, 6, 7]


def test_score_and_history_with_several_images_of_a_place(pairs):
    images, coords = pairs[0][:40], pairs[1][:40]
    noise = 0.02 * np.random.RandomState(0).standard_normal((3, *images.shape))
    seasons = (images + noise).astype(np.float32).reshape(120, *images.shape[1:])
    several = small_pretrainer(max_epochs=15, val_fraction=0.3, recipe__dropout=0.0)
    several.fit(seasons, np.tile(coords, (3, 1)))
    one = several.score(images, coords)
    assert one > 0.3
    assert several.score(seasons, np.tile(coords, (3, 1))) == pytest.approx(one, abs=0.15)
    assert several.score(seasons[::-1], np.tile(coords, (3, 1))[::-1]) == pytest.approx(
        one, abs=0.15
    )
    assert several.history_["val_top1"].max() > 0.1
