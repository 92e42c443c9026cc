"""Fine waves: exact far from the origin, of the wavelengths they are told, run at every speed."""

import numpy as np
import pytest
import torch

from skgeo_embed import Recipe, SatCLIPEncoder, SatCLIPPretrainer
from skgeo_embed._errors import ModelFormatError
from skgeo_embed._sphere import EARTH_RADIUS_KM
from skgeo_embed.models.folder import write_folder
from skgeo_embed.nn.encodings.fine_waves import FineWaves
from skgeo_embed.nn.location import LocationEncoder
from tests.engine import assert_every_way_agrees

WAVES = {"count": 9, "longest_km": 80.0, "shortest_km": 2.0}


@pytest.fixture
def module():
    torch.manual_seed(0)
    return LocationEncoder(
        12, 8, 16, fine_waves=WAVES, feature_grid={"height": 5, "width": 8, "channels": 3}
    )


def test_waves_are_those_of_the_formula(sphere_points):
    torch.manual_seed(0)
    waves = FineWaves(**WAVES)
    lon, lat = np.deg2rad(sphere_points).T
    place = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    angles = place @ waves.frequencies.double().numpy().T + waves.phases.double().numpy()
    found = waves(torch.from_numpy(sphere_points), dtype=torch.float32)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), np.sqrt(2) * np.cos(angles), atol=2e-6)


def test_wavelengths_run_from_the_longest_to_the_shortest():
    torch.manual_seed(0)
    waves = FineWaves(6000, 80.0, 2.0)
    deviation = waves.frequencies.norm(dim=1) / 3**0.5
    for part, km in ((deviation[:150], 80.0), (deviation[-150:], 2.0)):
        assert part.square().mean().sqrt() == pytest.approx(
            2 * np.pi * EARTH_RADIUS_KM / km, rel=0.1
        )
    points = torch.rand(2000, 2, dtype=torch.float64) * 80
    assert waves(points).square().mean() == pytest.approx(1.0, abs=0.01)


def test_every_way_through_gives_what_the_module_gives(module, sphere_points, monkeypatch):
    assert_every_way_agrees(module, sphere_points, monkeypatch)


def test_folders_keep_them(module, tmp_path):
    encoder = SatCLIPEncoder(module).fit()
    again = SatCLIPEncoder(encoder.save_pretrained(tmp_path / "waves")).fit()
    points = [[1.0, 2.0], [-179.9, 89.5], [3.0, -90.0]]
    np.testing.assert_array_equal(again.transform(points), encoder.transform(points))
    assert again.encoder_info_["fine_waves"] == WAVES


@pytest.mark.parametrize("description", [None, {**WAVES, "count": 8}, {**WAVES, "count": 10**9}])
def test_descriptions_are_compared_with_the_tensors(module, tmp_path, description):
    weights = {f"location.{k}": v for k, v in module.state_dict().items()}
    write_folder(tmp_path, {"location": {**module.config, "fine_waves": description}}, weights, "")
    with pytest.raises(ModelFormatError, match="fine_waves of"):
        SatCLIPEncoder(tmp_path).fit()


@pytest.mark.parametrize("given", [(0, 80, 2), (5, 2, 80), (5, 80, 0)])
def test_impossible_waves(given):
    with pytest.raises(ValueError, match="count must be at least 1"):
        FineWaves(*given)


def test_the_first_layer_gives_them_the_weight_that_it_is_told():
    torch.manual_seed(0)
    made = LocationEncoder(
        4, 8, 4000, w0=1.0, fine_waves={"count": 64, "longest_km": 160.0, "shortest_km": 5.0}
    ).draw_first_layer(detail=0.08)
    weight = made.nnet.layers[0].weight.detach()[:, 16:]
    points = torch.rand(4000, 2, dtype=torch.float64) * 60
    angles = made.posenc.waves(points, dtype=torch.float32) @ weight[:50].T
    assert angles.std() == pytest.approx(0.08, rel=0.1)
    power = weight.square().mean(dim=0)
    assert power[0] / power[-1] == pytest.approx(160 / 5, rel=0.15)


def test_pretraining_leaves_them_as_they_were_drawn(pairs, tmp_path):
    pretrainer = SatCLIPPretrainer(
        Recipe(
            legendre_polys=4,
            embed_dim=8,
            hidden_dim=16,
            fine_waves=WAVES,
            learning_rate=1e-2,
            dropout=0.0,
        ),
        max_epochs=2,
        batch_size=16,
        random_state=0,
        verbose=0,
        checkpoint_dir=tmp_path / "run",
    )
    first = pretrainer.fit(*pairs).model_.location.nnet.layers[0].weight
    pretrainer.set_params(recipe__learning_rate=1e-9, checkpoint_dir=None)
    before = pretrainer.fit(*pairs).model_.location.nnet.layers[0].weight
    # what is left is the weight decay of twelve steps
    torch.testing.assert_close(first[:, 16:], before[:, 16:], atol=0, rtol=2e-3)
    assert (first[:, :16] - before[:, :16]).abs().mean() > 1e-3


def test_checkpoints_and_half_precision_keep_them(pairs, tmp_path):
    trained = SatCLIPPretrainer(
        Recipe(legendre_polys=4, embed_dim=8, hidden_dim=16, fine_waves=WAVES, dropout=0.0),
        max_epochs=1,
        batch_size=16,
        random_state=0,
        verbose=0,
        checkpoint_dir=tmp_path / "run",
    ).fit(*pairs)
    expected = trained.location_encoder_.transform(pairs[1])
    checkpoint = SatCLIPEncoder(tmp_path / "run" / "last.ckpt").fit()
    np.testing.assert_allclose(checkpoint.transform(pairs[1]), expected, atol=1e-6)
    half = SatCLIPEncoder(trained.save_pretrained(tmp_path / "half", dtype="float16")).fit()
    np.testing.assert_allclose(half.transform(pairs[1]), expected, atol=5e-3)
