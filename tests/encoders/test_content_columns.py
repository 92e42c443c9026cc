"""`SatCLIPEncoder(layer="content")`: what its columns say, and an encoder like any other."""

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from joblib import Parallel, delayed
from shapely.geometry import box
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skgeo_embed import SatCLIPEncoder, encode_grid, encode_table
from skgeo_embed._errors import CoordinateError
from skgeo_embed.datasets import land_mask
from skgeo_embed.datasets._blue_marble import read_band
from skgeo_embed.models.registry import BUNDLED, WEIGHTS_FOLDER
from tests.boxes import read_boxes
from tests.content import rain, small_tower
from tests.hub_server import WRITE_TOKEN
from tests.satclip_checkpoint import checkpoint, to_bytes, without_vision

PLACES = np.array([[2.35, 48.86], [7.76, 46.02], [-78.5, -0.2], [25.0, 0.0], [128.0, 69.0]])
HALF_MERIDIAN_KM = 20_015.1
LIGHTS = (5, 10, 20, 40, 80, 160, 320)


@pytest.fixture(scope="module")
def content():
    return SatCLIPEncoder(layer="content").fit()


@pytest.fixture(scope="module")
def columns(content):
    """Columns of places by name, as a frame."""

    def of(places):
        return pd.DataFrame(content.transform(places), columns=content.get_feature_names_out())

    return of


@pytest.fixture
def folder(tmp_path):
    """A small encoder with content in a folder."""
    return SatCLIPEncoder(small_tower()).fit().save_pretrained(tmp_path / "small", licence="MIT")


# --- what the columns say

FLAT = [[25.0, 0.0], [20.5, 46.5], [125.0, 70.0]]  # the Congo, Hungary, the mouth of the Lena
ROUGH = [[-78.0, 0.5], [7.0, 45.5], [129.0, 68.0]]  # the Andes, the Alps, the range of Verkhoyansk
CITIES = [[32.58, 0.31], [2.35, 48.86], [33.08, 68.97]]  # Kampala, Paris, Murmansk
BOTH = pytest.mark.parametrize("places", [FLAT, ROUGH, CITIES], ids=["flat", "rough", "cities"])


@BOTH
def test_lights_are_those_of_the_picture(columns, places):
    """Another scale, place, width or statistic of the boxes, or pixels that lost something."""
    picture, found = read_band("lights")[:, :, 0].astype(float), columns(places)
    for level, km in enumerate(LIGHTS):
        mean = read_boxes(picture, places, level)
        # half precision of the finest: one of 2,000; single precision of the others
        tolerance = 1e-3 if km == 5 else 1e-4
        np.testing.assert_allclose(found[f"lights_mean_{km}km"], np.log1p(mean), atol=tolerance)
        if km in (10, 40, 160, 320):
            spread = np.sqrt(np.maximum(read_boxes(picture**2, places, level) - mean**2, 0))
            np.testing.assert_allclose(found[f"lights_std_{km}km"], np.log1p(spread), atol=0.01)


def coarse_boxes(picture, places, km, height):
    """Boxes of a picture that is brought to `height` rows first."""
    level = round(np.log2(km / (HALF_MERIDIAN_KM / height)))
    coarse = picture
    for length in (height, 2 * height):
        coarse = (shares(len(coarse), length) @ coarse).T
    return read_boxes(coarse, places, level)


def shares(old, new):
    """What each of `old` pixels in a row counts in each of `new` ones, (new, old)."""
    ends = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    inside = np.minimum(pixels + 1, ends[1:, None]) - np.maximum(pixels, ends[:-1, None])
    return scipy.sparse.csr_array(np.clip(inside, 0, None) * (new / old))


def metres():
    codes = read_band("elevation")[:, :, 0].astype(float) - 128
    height, width = codes.shape
    lat = 90 - (np.arange(height) + 0.5) * 180 / height
    lon = -180 + (np.arange(width) + 0.5) * 360 / width
    return np.where(land_mask(lon, lat), np.sign(codes) * (codes / 1.2) ** 2, 0)


@pytest.mark.parametrize("places", [FLAT, ROUGH], ids=["flat", "rough"])
def test_elevation_is_that_of_the_picture(columns, places):
    picture, found = metres(), columns(places)
    for km in (40, 160, 640):
        mean = coarse_boxes(picture, places, km, 992)
        square = coarse_boxes(picture**2, places, km, 992)
        # a byte is the root of the metres: one is so many metres from the next
        byte = 2 * np.sqrt(np.abs(mean)) / 1.2 + 1
        assert (np.abs(found[f"elevation_mean_{km}km"] - mean) < byte / 2).all()
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        # pixels of 11 km were averaged to 20 km, which takes some of the relief away
        assert (found[f"elevation_std_{km}km"] < 1.1 * spread + byte).all()
        assert (found[f"elevation_std_{km}km"] > 0.7 * spread - byte).all()
    if places is ROUGH:
        assert (found["elevation_std_40km"] > 50).all()


@pytest.mark.parametrize("places", [FLAT, ROUGH], ids=["flat", "rough"])
@pytest.mark.parametrize("season", ["august", "autumn", "may"])
def test_colours_are_those_of_the_picture(columns, places, season):
    found = columns(places)
    for number, colour in enumerate(("red", "green", "blue")):
        picture = read_band(season)[:, :, number].astype(float)
        # bytes are rounded, and open sea is coarse. The file that ships was made with pixels that a
        # coarser one cuts counted as wholes: May's are half of those of 40 km
        for km, tolerance in ((40, 10.0 if season == "may" else 4.0), (160, 1.5), (640, 1.0)):
            expected = coarse_boxes(picture, places, km, 496)
            name = f"{season}_{colour}_mean_{km}km"
            np.testing.assert_allclose(found[name], expected, atol=tolerance)


def test_greenness_is_of_green_and_red(columns):
    found = columns(PLACES)
    for season in ("august", "autumn", "may"):
        for km in (40, 160, 640):
            green = found[f"{season}_green_mean_{km}km"]
            red = found[f"{season}_red_mean_{km}km"]
            name = f"{season}_greenness_mean_{km}km"
            np.testing.assert_allclose(found[name], (green - red) / (green + red), atol=1e-6)
    sahara = columns([[10.0, 24.0]])
    assert found["august_greenness_mean_160km"][3] > 0.1 > sahara["august_greenness_mean_160km"][0]


def test_the_sea_has_no_height_and_no_light(columns):
    """Depths would say more of a coast than its hills do."""
    found = columns([[-30.0, 0.0], [-140.0, 20.0]])
    assert not found.filter(regex="^(elevation|lights)").to_numpy().any()


def test_names_units_and_what_is_told_of_them(content):
    names = content.get_feature_names_out()
    assert len(set(names)) == len(names) == 53 == content.n_features_out
    assert list(names[:3]) == [f"august_red_mean_{km}km" for km in (40, 160, 640)]
    for name in ("lights_mean_10km", "elevation_std_160km", "may_greenness_mean_40km"):
        assert name in names
    info = content.encoder_info_
    assert (info["name"], info["layer"], info["licence"]) == ("earth-l20", "content", "MIT")
    assert {name.rsplit("_", 2)[0] for name in names} == set(info["units"])
    assert info["units"]["elevation"].startswith("m above the sea")
    config = json.loads((WEIGHTS_FOLDER / BUNDLED["earth-l20"] / "config.json").read_text())
    from skgeo_embed.models.card import content_section

    card = (WEIGHTS_FOLDER / BUNDLED["earth-l20"] / "README.md").read_text()
    assert content_section(config, "earth-l20").strip() in card
    assert "in 53\ncolumns" in card


# --- kept and shared


@pytest.mark.slow
def test_saving_the_bundled_encoder_keeps_its_layers(content, held_default, tmp_path):
    encoder = SatCLIPEncoder(layer="embedding").fit()
    folder = encoder.save_pretrained(tmp_path / "again")
    again = SatCLIPEncoder(folder, layer="content").fit()
    np.testing.assert_array_equal(again.transform(PLACES), content.transform(PLACES))
    assert list(again.get_feature_names_out()) == list(content.get_feature_names_out())
    assert "| `lights` | log(1 + brightness" in (folder / "README.md").read_text()
    assert (folder / "model.safetensors").stat().st_size < 20e6  # bytes, compressed


def test_saving_a_folder_again_keeps_its_layers(folder, tmp_path):
    expected = SatCLIPEncoder(folder, layer="content").fit_transform(PLACES)
    encoder = SatCLIPEncoder(folder).fit()
    for opened in (encoder, pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        again = opened.save_pretrained(tmp_path / "again")
        np.testing.assert_array_equal(
            SatCLIPEncoder(again, layer="content").fit_transform(PLACES), expected
        )
    encoder.save_pretrained(folder)  # over the file that it reads from
    np.testing.assert_array_equal(
        SatCLIPEncoder(folder, layer="content").fit_transform(PLACES), expected
    )


def test_layers_that_lie_there_by_now_are_not_those_that_were_opened(folder, tmp_path):
    """An encoder of one run would be saved with the layers of another."""
    encoder = SatCLIPEncoder(folder).fit()
    SatCLIPEncoder(small_tower(seed=1)).fit().save_pretrained(folder)
    with pytest.warns(UserWarning, match=r"was changed or removed .* content columns are left out"):
        again = encoder.save_pretrained(tmp_path / "again")
    with pytest.raises(ValueError, match="has none"):
        SatCLIPEncoder(again, layer="content").fit()
    shutil.rmtree(folder)
    with pytest.warns(UserWarning, match="fit again to include them"):
        pickle.loads(pickle.dumps(encoder)).save_pretrained(tmp_path / "more")


def test_towers_in_memory_keep_their_layers(tmp_path):
    tower = small_tower()
    encoder = SatCLIPEncoder(tower, layer="content").fit()
    assert list(encoder.get_feature_names_out()) == ["rain_mean_313km", "rain_std_625km"]
    expected = encoder.transform(PLACES)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoder)).transform(PLACES), expected)
    np.testing.assert_array_equal(copy.deepcopy(encoder).transform(PLACES), expected)
    plain = pickle.loads(pickle.dumps(SatCLIPEncoder(tower).fit()))
    folder = plain.save_pretrained(tmp_path / "saved")
    saved = SatCLIPEncoder(folder, layer="content").fit()
    np.testing.assert_array_equal(saved.transform(PLACES), expected)


def test_the_same_weights_with_other_layers():
    """Engines are shared by the hash of weights, of which the layers are none."""
    one, other = small_tower(), small_tower()
    other.posenc.grid.keep_content(rain(seed=1))
    none = small_tower()
    none.posenc.grid.keep_content(None)
    first = SatCLIPEncoder(one, layer="content").fit()
    second = SatCLIPEncoder(other, layer="content").fit()
    assert np.abs(first.transform(PLACES) - second.transform(PLACES)).max() > 1
    with pytest.raises(ValueError, match="has none"):
        SatCLIPEncoder(none, layer="content").fit()
    assert SatCLIPEncoder(small_tower(), layer="content").fit()._encoder.engine is (
        first._encoder.engine
    )


def test_pushed_and_opened_elsewhere(hub, tmp_path):
    encoder = SatCLIPEncoder(small_tower()).fit()
    encoder.push_to_hub("me/rain", token=WRITE_TOKEN, licence="MIT")
    opened = SatCLIPEncoder("me/rain", layer="content").fit()
    expected = SatCLIPEncoder(small_tower(), layer="content").fit_transform(PLACES)
    np.testing.assert_array_equal(opened.transform(PLACES), expected)
    assert opened.encoder_info_["source"] == "hub"
    data = pickle.dumps(opened)
    assert len(data) < 4000
    np.testing.assert_array_equal(pickle.loads(data).transform(PLACES), expected)


def test_checkpoints_do_not_travel_twice(tmp_path):
    """A pickle that could read the file's layers later would hold the whole file."""
    path = tmp_path / "a.ckpt"
    path.write_bytes(to_bytes(checkpoint("resnet18_l10", keep=without_vision)))
    encoder = SatCLIPEncoder(path).fit()
    assert len(pickle.dumps(encoder)) < 1.2 * sum(
        p.numel() * p.element_size() for p in encoder._encoder.engine.module.parameters()
    )
    with pytest.raises(ValueError, match=r"'a.ckpt' has none\. Use one that has them"):
        encoder.set_params(layer="content").fit()


# --- an encoder like others


def test_poles_and_the_antimeridian_are_one_place(content):
    lon = [-180.0, 0.0, 77.0, 180.0, 360.0]
    for lat in (90.0, -90.0):
        at_pole = content.transform([[x, lat] for x in lon])
        assert (at_pole == at_pole[0]).all()
        near = content.transform([[x, lat * (1 - 1e-6)] for x in lon])
        np.testing.assert_allclose(near, at_pole, atol=0.1)
        grid = content.transform_grid(lon[:4], [lat, 0.0])
        assert (grid[0] == at_pole[0]).all()
    both = content.transform([[-180.0, 66.0], [180.0, 66.0], [-74.0, 40.7], [286.0, 40.7]])
    np.testing.assert_allclose(both[0], both[1], atol=1e-5)
    np.testing.assert_allclose(both[2], both[3], atol=1e-5)


@pytest.mark.parametrize("words", [{}, {"n_components": 5}, {"normalize": True}, {"batch_size": 3}])
def test_grids_are_points(words):
    encoder = SatCLIPEncoder(layer="content", **words).fit()
    lon, lat = np.linspace(-180, 180, 9), np.linspace(-90, 90, 7)
    grid = encoder.transform_grid(lon, lat)
    points = encoder.transform(np.stack(np.meshgrid(lon, lat), -1).reshape(-1, 2))
    np.testing.assert_allclose(grid.reshape(points.shape), points, rtol=1e-5, atol=1e-5)


def test_parameters_mean_what_they_mean_elsewhere(content):
    expected = content.transform(PLACES)
    double = SatCLIPEncoder(layer="content", dtype="float64").fit_transform(PLACES)
    assert (expected.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(double, expected, rtol=1e-6)
    few = SatCLIPEncoder(layer="content", n_components=4).fit()
    np.testing.assert_array_equal(few.transform(PLACES), expected[:, :4])
    assert list(few.get_feature_names_out()) == list(content.get_feature_names_out()[:4])
    with pytest.raises(ValueError, match=r"n_components=54, but the content layer .* 53 columns"):
        SatCLIPEncoder(layer="content", n_components=54).fit()
    unit = SatCLIPEncoder(layer="content", normalize=True).fit_transform(PLACES)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
    small = SatCLIPEncoder(layer="content", batch_size=2).fit_transform(PLACES)
    np.testing.assert_allclose(small, expected, rtol=1e-6)


def test_missing_places(content):
    places = np.vstack([PLACES, [[np.nan, 3.0], [10.0, 95.0]]])
    with pytest.raises(CoordinateError):
        content.transform(places)
    with pytest.warns(UserWarning, match="NaN"):
        found = SatCLIPEncoder(layer="content", on_invalid="nan").fit().transform(places)
    np.testing.assert_array_equal(found[:5], content.transform(PLACES))
    assert np.isnan(found[5:]).all()


def test_areas_are_means_of_the_points_inside(content):
    area = box(5.0, 44.0, 10.0, 47.0)
    mean = SatCLIPEncoder(layer="content", area_points=400).fit_transform([area])
    lon, lat = np.meshgrid(np.arange(5.05, 10, 0.1), np.arange(44.05, 47, 0.1))
    inside = content.transform(np.column_stack([lon.ravel(), lat.ravel()]))
    weight = np.cos(np.deg2rad(lat.ravel()))
    expected = (inside * weight[:, None]).sum(axis=0) / weight.sum()
    spread = inside.std(axis=0)
    assert (np.abs(mean[0] - expected) < 0.15 * spread + 1e-3).all()
    deviation = SatCLIPEncoder(layer="content", area_points=400, area_statistic="std")
    np.testing.assert_allclose(deviation.fit_transform([area])[0], spread, rtol=0.25, atol=1e-3)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_have_the_names(content, library):
    frame = {"pandas": pd, "polars": pl}[library].DataFrame(
        {"lon": PLACES[:, 0], "lat": PLACES[:, 1]}
    )
    encoder = SatCLIPEncoder(layer="content").set_output(transform=library)
    out = encoder.fit_transform(frame)
    assert list(out.columns) == list(content.get_feature_names_out())
    np.testing.assert_array_equal(out["lights_mean_10km"].to_numpy(), content.transform(PLACES)[
        :, list(content.get_feature_names_out()).index("lights_mean_10km")])  # fmt: skip


def test_dask_partitions_have_the_names(content):
    dd = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame(PLACES, columns=["lon", "lat"])
    out = content.transform(dd.from_pandas(frame, npartitions=2))
    computed = out.compute(scheduler="synchronous")
    np.testing.assert_allclose(np.asarray(computed), content.transform(PLACES), rtol=1e-6)


def test_tables_and_grids_in_files(content, tmp_path):
    pd.DataFrame({"id": range(5), "lon": PLACES[:, 0], "lat": PLACES[:, 1]}).to_csv(
        tmp_path / "places.csv", index=False
    )
    encode_table(content, tmp_path / "places.csv", tmp_path / "out.parquet")
    out = pd.read_parquet(tmp_path / "out.parquet")
    names = list(content.get_feature_names_out())
    assert [name for name in out.columns if name in names] == names
    np.testing.assert_allclose(out[names].to_numpy(), content.transform(PLACES), rtol=1e-6)
    encode_grid(content, tmp_path / "grid.npy", region=(5, 44, 10, 47), resolution=1.0)
    found = np.load(tmp_path / "grid.npy")
    assert found.shape[-1] == 53
    assert np.isfinite(found).all()


def test_copies_and_pickles(content):
    """The layers take 45 MB: pickles of what the package holds carry a name."""
    expected = content.transform(PLACES)
    data = pickle.dumps(content)
    assert len(data) < 8000
    for again in (pickle.loads(data), copy.deepcopy(content), clone(content).fit()):
        np.testing.assert_array_equal(again.transform(PLACES), expected)
        assert again._encoder.engine is content._encoder.engine


def test_processes_of_joblib(folder):
    encoder = SatCLIPEncoder(folder, layer="content").fit()
    results = Parallel(n_jobs=2)(delayed(_transform)(encoder) for _ in range(2))
    assert os.getpid() not in {process for _, process in results}
    for values, _ in results:
        np.testing.assert_allclose(values, encoder.transform(PLACES), rtol=1e-6)


def _transform(encoder):
    return encoder.transform(PLACES), os.getpid()


FORKS = """
import os, signal, sys, torch
torch.set_num_threads(1)
from skgeo_embed import SatCLIPEncoder

encoder = SatCLIPEncoder(sys.argv[1], layer="content", device="cpu").fit()
expected = encoder.transform([[3.0, 4.0]])
child = os.fork()
if not child:
    signal.alarm(60)
    os._exit(int((encoder.fit().transform([[3.0, 4.0]]) != expected).any()))
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_reads_what_its_parent_reads(folder):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, str(folder)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == "0", done.stderr


def test_the_layers_are_held_once(content):
    assert SatCLIPEncoder(layer="content").fit()._encoder.engine is content._encoder.engine
    other = SatCLIPEncoder(layer="content", dtype="float64", n_components=3).fit()
    assert other._encoder.engine is content._encoder.engine


def test_changing_the_layer_changes_nothing_until_the_next_fit(content):
    encoder = SatCLIPEncoder(layer="content").fit()
    encoder.set_params(layer="hidden", n_components=3)
    np.testing.assert_array_equal(encoder.transform(PLACES), content.transform(PLACES))
    assert encoder.get_feature_names_out()[0] == "august_red_mean_40km"
    assert encoder.fit().transform(PLACES).shape == (5, 3)
    assert encoder.get_feature_names_out()[0] == "satclip000"
    assert "units" not in encoder.encoder_info_


def test_encoders_without_layers_say_so_and_stay_unfitted(small_location):
    for model in ("bluemarble-l10", small_location):
        encoder = SatCLIPEncoder(model).fit()
        encoder.set_params(layer="content")
        with pytest.raises(ValueError, match=r"has none\. Use one that has them, such as the"):
            encoder.fit()
        with pytest.raises(NotFittedError):
            encoder.transform(PLACES)
        assert not hasattr(encoder, "encoder_info_")


def test_a_module_of_ones_own_with_another_grid(small_location):
    """A user's encoding may call something else its grid."""
    small_location.posenc.grid = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="has none"):
        SatCLIPEncoder(small_location, layer="content").fit()


def test_content_alone_is_no_network_to_save(content, tmp_path):
    with pytest.raises(ValueError, match=r"has no network to save\. Fit the encoder with another"):
        content.save_pretrained(tmp_path / "content")
    assert not (tmp_path / "content").exists()


def test_it_shows_itself_in_a_notebook(content):
    assert "earth-l20" in content._repr_html_()
