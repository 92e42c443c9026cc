"""Feature grids: read like scipy's interpolation, packed in files, trained, run at every speed."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from skgeo_embed import Recipe, SatCLIPEncoder, SatCLIPPretrainer
from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models.folder import read_weights, write_folder
from skgeo_embed.models.packing import pack, unpack
from skgeo_embed.nn.encodings.detailed import DetailedEncoding
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.nn.location import LocationEncoder
from tests.engine import assert_every_way_agrees


@pytest.fixture
def values():
    torch.manual_seed(0)
    return torch.randn(19, 36, 5)


def interpolate(values, points):
    """Bilinear interpolation by scipy, of a table continued to the east."""
    around = np.concatenate([values, values[:, :1]], axis=1)
    axes = np.linspace(-90, 90, len(values)), np.linspace(-180, 180, values.shape[1] + 1)
    return RegularGridInterpolator(axes, around)(points[:, ::-1])


@pytest.mark.parametrize("storage", ["int8", "float16", "float32"])
def test_reads_what_scipy_reads(values, sphere_points, storage):
    grid = FeatureGrid(19, 36, 5, storage).fill(values)
    stored = grid.values.detach().double() * grid.scale.double()
    points = sphere_points[np.abs(sphere_points[:, 1]) < 90]
    found = grid(torch.from_numpy(points)).detach().numpy()
    np.testing.assert_allclose(found, interpolate(stored.numpy(), points), atol=1e-12)
    error = (stored[1:-1] - values[1:-1].double()).abs().max()
    assert error < {"int8": 0.02, "float16": 2e-3, "float32": 1e-6}[storage]


def test_poles_and_the_antimeridian_are_one_place(values):
    grid = FeatureGrid(19, 36, 5).fill(values)
    lon = torch.linspace(-180, 180, 9, dtype=torch.float64)
    for lat in (-90.0, 90.0):
        at_pole = grid(torch.stack([lon, torch.full_like(lon, lat)], dim=1))
        assert (at_pole == at_pole[0]).all()
    both = grid(torch.tensor([[-180.0, 12.3], [180.0, 12.3]], dtype=torch.float64))
    torch.testing.assert_close(both[0], both[1])
    near = grid(torch.tensor([[179.999999, 12.3], [-179.999999, 12.3]], dtype=torch.float64))
    torch.testing.assert_close(near[0], near[1], atol=1e-5, rtol=0)


REGION = (-10.0, 35.0, 8.0, 44.0)


@pytest.mark.parametrize(("bounds", "shift"), [(REGION, 0.0), ((172.0, 35.0, -170.0, 44.0), 182.0)])
def test_a_region_reads_what_scipy_reads(values, bounds, shift):
    grid = FeatureGrid(19, 36, 5, "float32", bounds).fill(values)
    rng = np.random.RandomState(0)
    inside = np.column_stack([rng.uniform(-10, 8, 200), rng.uniform(35, 44, 200)])
    axes = np.linspace(35, 44, 19), np.linspace(-10, 8, 36)
    expected = RegularGridInterpolator(axes, values.numpy())(inside[:, ::-1])
    moved = inside + np.array([shift, 0])
    moved[:, 0] = (moved[:, 0] + 180) % 360 - 180
    found = grid(torch.from_numpy(moved)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_outside_of_a_region_the_nearest_edge_is_read(values):
    grid = FeatureGrid(19, 36, 5, "float32", REGION).fill(values)

    def read(lon, lat):
        return grid(torch.tensor([[lon, lat]], dtype=torch.float64)).detach()[0]

    for outside, edge in (
        ((-60.0, 40.0), (-10.0, 40.0)),
        ((90.0, 40.0), (8.0, 40.0)),
        ((-1.0, 80.0), (-1.0, 44.0)),
        ((178.0, -60.0), (8.0, 35.0)),
        ((-179.0, -60.0), (-10.0, 35.0)),
        ((-178.0, 36.0), (-10.0, 36.0)),
    ):
        torch.testing.assert_close(read(*outside), read(*edge))
    assert torch.equal(read(50.0, 90.0), read(-120.0, 90.0))


@pytest.mark.parametrize("bounds", [(0, 10, 10, 5), (0, 0, 0, 5), (-190, 0, 10, 5), (0, 0, 5, 91)])
def test_impossible_regions(bounds):
    with pytest.raises(ValueError, match="region must be"):
        FeatureGrid(3, 3, 1, bounds=bounds)


def test_folders_keep_a_region(values, tmp_path):
    facts = FeatureGrid(19, 36, 5, bounds=(172.0, 35.0, -170.0, 44.0)).description()
    assert facts["bounds"] == [172.0, 35.0, -170.0, 44.0]
    made = LocationEncoder(12, 8, 16, feature_grid=facts)
    made.posenc.grid.fill(values)
    encoder = SatCLIPEncoder(made).fit()
    again = SatCLIPEncoder(encoder.save_pretrained(tmp_path / "region")).fit()
    points = [[179.0, 40.0], [-179.0, 40.0], [3.0, -90.0]]
    np.testing.assert_array_equal(again.transform(points), encoder.transform(points))
    assert len(set(encoder.transform(points)[:, 0])) == 3


@pytest.fixture(params=["siren", "fcnet", "mlp"])
def module(request, values):
    torch.manual_seed(1)
    made = LocationEncoder(
        12, 8, 16, network=request.param, feature_grid={"height": 19, "width": 36, "channels": 5}
    )
    made.posenc.grid.fill(values)
    return made


def test_every_way_through_gives_what_the_module_gives(module, sphere_points, monkeypatch):
    assert_every_way_agrees(module, sphere_points, monkeypatch)


def test_folders_keep_it(module, tmp_path):
    encoder = SatCLIPEncoder(module).fit()
    again = SatCLIPEncoder(encoder.save_pretrained(tmp_path / "grid")).fit()
    points = [[1.0, 2.0], [-179.9, 89.5], [3.0, -90.0]]
    np.testing.assert_array_equal(again.transform(points), encoder.transform(points))
    assert again.encoder_info_["feature_grid"] == {"height": 19, "width": 36, "channels": 5}


def test_large_tables_are_packed(tmp_path):
    table = torch.arange(300 * 300 * 3).div(5000, rounding_mode="floor").to(torch.int8)
    table = table.view(300, 300, 3)
    weights = {"location.posenc.grid.values": table, "location.b": torch.ones(3)}
    write_folder(tmp_path, {"location": {}}, weights, "card")
    assert (tmp_path / "model.safetensors").stat().st_size < table.numel() / 5
    read = read_weights(tmp_path, "location.")
    assert torch.equal(read["posenc.grid.values"], table)
    assert set(read) == {"posenc.grid.values", "b"}


@pytest.mark.parametrize("shape", ["[300, 300, 2]", "[300, 300, 4]", "[1000000, 1000000, 9]", "[]"])
def test_packed_tables_are_of_the_shape_that_they_claim(shape):
    packed, metadata = pack({"a": torch.zeros(300, 300, 3, dtype=torch.int8)})
    assert torch.equal(unpack(packed, metadata)["a"], torch.zeros(300, 300, 3, dtype=torch.int8))
    with pytest.raises((ModelFormatError, ValueError)):
        unpack(packed, {"packed": f'{{"a": {shape}}}'})


@pytest.mark.parametrize(
    "description",
    [
        None,
        {"height": 20, "width": 36, "channels": 5},
        {"height": 10**9, "width": 10**9, "channels": 5},
    ],
)
def test_descriptions_are_compared_with_the_table(module, tmp_path, description):
    weights = {f"location.{k}": v for k, v in module.state_dict().items()}
    config = {**module.config, "feature_grid": description}
    write_folder(tmp_path, {"location": config}, weights, "card")
    with pytest.raises(ModelFormatError, match="not those of one network"):
        SatCLIPEncoder(tmp_path).fit()


def test_impossible_grids():
    for arguments, message in (
        ((1, 2, 3), "height must be at least 2"),
        ((2, 2, 2, "int4"), "storage must be"),
    ):
        with pytest.raises(ValueError, match=message):
            FeatureGrid(*arguments)
    with pytest.raises(ValueError, match="needs a siren network"):
        LocationEncoder(4).draw_first_layer()


def test_names_follow_both_parts():
    torch.manual_seed(0)
    encoding = DetailedEncoding(LocationEncoder(2).posenc, FeatureGrid(3, 4, 2))
    assert encoding.column_names()[-3:] == ["sh_l1_m1", "grid000", "grid001"]
    assert encoding.embedding_dim == 6


def test_the_first_layer_mixes_as_it_is_told(values):
    torch.manual_seed(0)
    made = LocationEncoder(
        8, 8, 4000, w0=1.0, feature_grid={"height": 19, "width": 36, "channels": 5}
    ).draw_first_layer(position=0.85, content=0.6)
    weight = made.nnet.layers[0].weight.detach()
    assert weight[:, 64:].std() == pytest.approx(0.6, rel=0.02)
    lat = np.rad2deg(np.arcsin(np.linspace(-0.9, 0.9, 50)))
    points = torch.from_numpy(np.column_stack([np.linspace(-170, 170, 50), lat]))
    angles = made.posenc.position(points).float() @ weight[:, :64].detach().T
    assert angles.std(dim=1).mean() == pytest.approx(0.85, rel=0.05)
    assert 6 < made.nnet.layers[0].bias.max() < 2 * np.pi


def test_units_have_scales_of_their_own():
    torch.manual_seed(0)
    made = LocationEncoder(
        8, 8, 4000, w0=1.0, feature_grid={"height": 19, "width": 36, "channels": 50}
    ).draw_first_layer(content=0.6, spread=2.5)
    weight = made.nnet.layers[0].weight.detach()
    content = weight[:, 64:].std(dim=1) / 0.6
    position = weight[:, :64].norm(dim=1)
    position = position / position.median()
    for factors in (content, position):
        ends = torch.quantile(factors, torch.tensor([0.25, 0.75]))
        assert ends.log() / np.log(2.5) == pytest.approx([-0.5, 0.5], abs=0.1)
    assert abs(np.corrcoef(content, position)[0, 1]) < 0.1  # each of its own


@pytest.mark.parametrize("storage", ["int8", "float32"])
def test_pretraining_with_a_grid(pairs, values, tmp_path, storage):
    grid = FeatureGrid(19, 36, 5, storage).fill(values)
    trained = SatCLIPPretrainer(
        Recipe(
            legendre_polys=4,
            embed_dim=8,
            hidden_dim=16,
            feature_grid=grid,
            learning_rate=1e-2,
            dropout=0.0,
        ),
        max_epochs=2,
        batch_size=16,
        random_state=0,
        verbose=0,
        checkpoint_dir=tmp_path / "run",
    ).fit(*pairs)
    after = trained.model_.location.posenc.grid
    assert torch.equal(after.values, grid.values) == (storage == "int8")
    coords = pairs[1]
    expected = trained.location_encoder_.transform(coords)
    folder = trained.save_pretrained(tmp_path / "out")
    np.testing.assert_allclose(SatCLIPEncoder(folder).fit().transform(coords), expected, atol=1e-6)
    checkpoint = SatCLIPEncoder(tmp_path / "run" / "last.ckpt").fit()
    np.testing.assert_allclose(checkpoint.transform(coords), expected, atol=1e-6)
