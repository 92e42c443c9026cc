"""grid, map, geolocate, models and download."""

import io
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skgeo_embed import ImageGeolocator, SatCLIPEncoder
from skgeo_embed.cli import main
from skgeo_embed.datasets import load_blue_marble, load_sentinel2_patches
from skgeo_embed.models.registry import BUNDLED, SATCLIP_CHECKPOINTS, THIRD_PARTY
from tests.content import small_tower


def test_grid(tmp_path, capsys):
    out = tmp_path / "grid.npy"
    arguments = ["grid", str(out), "--model", "bluemarble-l10", "--resolution", "20"]
    assert main(arguments) == 0
    assert "wrote 9 x 18 places with 512 features" in capsys.readouterr().out
    lon, lat = np.load(tmp_path / "grid.lon.npy"), np.load(tmp_path / "grid.lat.npy")
    assert lat[0] == 80
    expected = SatCLIPEncoder("bluemarble-l10").fit().transform_grid(lon, lat)
    np.testing.assert_allclose(np.load(out), expected, atol=1e-6)
    assert main(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    out.rename(tmp_path / "moved.npy")
    assert main(arguments) == 1  # the axes are somebody's too
    assert "grid.lon.npy exists" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--region", "0", "0", "400", "9"]) == 2
    assert "region must be (west, south, east, north)" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--resolution", "0"]) == 2
    assert "resolution must be a positive" in capsys.readouterr().err
    assert main(["grid", str(tmp_path / "grid.jpg")]) == 2
    assert "must end with .tif or .tiff or .zarr or .nc or .npy" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("map.png", []),
        ("map.png", ["--feature", "3", "--ocean"]),
        ("map.png", ["--like", "-122.3", "38.5", "--region", "-130", "30", "-110", "45"]),
        ("map.gif", []),
    ],
)
def test_map(tmp_path, capsys, monkeypatch, name, flags):
    from skgeo_embed.inspection import EmbeddingMapDisplay

    animate = EmbeddingMapDisplay.animate
    small = {"n_frames": 2, "size": 80}
    monkeypatch.setattr(
        EmbeddingMapDisplay,
        "animate",
        lambda self, path, **more: animate(self, path, **small, **more),
    )
    out = tmp_path / name
    assert main(["map", str(out), "--model", "bluemarble-l10", "--resolution", "6", *flags]) == 0
    assert f"drew {out}" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20
    assert list(tmp_path.iterdir()) == [out]


def test_maps_that_cannot_be_drawn(tmp_path, capsys):
    assert main(["map", str(tmp_path / "map.txt2")]) == 2
    assert "cannot write map.txt2" in capsys.readouterr().err
    assert main(["map", str(tmp_path / "map.gif"), "--like", "1", "2"]) == 2
    assert "choose a .png" in capsys.readouterr().err
    assert main(["map", str(tmp_path / "map.png"), "--feature", "9999"]) == 2
    assert "feature must be between 0 and 767" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["map", "m.png", "--region", "0", "0", "400", "9"], "region must be (west, south"),
        (["map", "m.png", "--resolution", "0"], "resolution must be a positive number"),
        (["map", "m.gif", "--region", "0", "0", "40", "9"], "leave --region out"),
        (["map", "m.png", "--like", "95", "200"], "--like takes a longitude, then a latitude"),
        (["grid", "g.npy", "--resolution", "inf"], "positive number of degrees, got inf"),
        (["geolocate", "i.npy", "--top", "0"], "--top 0 must be from 1"),
        (["geolocate", "i.npy", "--top", "9", "--candidates", "5"], "--candidates 5"),
        (["pretrain", "--images", "i.npy", "--output", "o"], "needs --coords"),
        (["pretrain", "--images", "f", "--coords", "c.csv", "--output", "o"], "only for a .npy"),
        (["pretrain", "--images", "f", "--output", "i.npy"], "i.npy is a file; name a new folder"),
        (["pretrain", "--images", "f", "--output", "o", "--max_epochs", "-3"], "'max_epochs'"),
    ],
)
def test_wrong_arguments_end_with_two_in_every_command(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    np.save("i.npy", np.zeros((2, 3, 8, 8), np.float32))
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["i.npy"]


@pytest.mark.parametrize("content", [b"", b"no array", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_arrays_that_cannot_be_read_are_named(tmp_path, capsys, content):
    (tmp_path / "bad.npy").write_bytes(content)
    pd.DataFrame({"lon": [1], "lat": [2]}).to_csv(tmp_path / "c.csv")
    bad, coords = str(tmp_path / "bad.npy"), str(tmp_path / "c.csv")
    assert main(["geolocate", bad]) == 1
    assert f"{bad} cannot be read as a .npy file" in capsys.readouterr().err
    output = ["--output", str(tmp_path / "o")]
    assert main(["pretrain", "--images", bad, "--coords", coords, *output]) == 1
    assert f"{bad} cannot be read as a .npy file" in capsys.readouterr().err
    np.save(tmp_path / "i.npy", np.zeros((2, 3, 8, 8), np.float32))
    good = ["pretrain", "--images", str(tmp_path / "i.npy"), *output]
    assert main([*good, "--coords", bad]) == 1
    assert f"{bad} " in capsys.readouterr().err
    assert main([*good, "--coords", str(tmp_path / "gone.csv")]) == 1
    assert "there is no file" in capsys.readouterr().err


def test_several_arrays_under_the_name_of_one(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", a=np.zeros(2))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    assert main(["geolocate", str(tmp_path / "a.npy")]) == 1
    assert (
        "a.npy cannot be read as a .npy file of numbers: it begins with b'PK"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["map.png", "map.gif"])
def test_a_picture_that_appears_while_a_map_is_drawn_stays(tmp_path, monkeypatch, capsys, name):
    from skgeo_embed.inspection import EmbeddingMapDisplay

    out, draw = tmp_path / name, EmbeddingMapDisplay.from_estimator
    animate = EmbeddingMapDisplay.animate

    def and_then(*arguments, **options):
        out.write_text("mine")
        return draw(*arguments, **options)

    monkeypatch.setattr(EmbeddingMapDisplay, "from_estimator", and_then)
    monkeypatch.setattr(
        EmbeddingMapDisplay,
        "animate",
        lambda self, path, **more: animate(self, path, n_frames=2, size=80, **more),
    )
    arguments = ["map", str(out), "--model", "bluemarble-l10", "--resolution", "12"]
    assert main(arguments) == 1
    assert f"{name} has appeared" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main([*arguments, "--overwrite"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_table_that_appears_while_images_are_placed_stays(tmp_path, monkeypatch, capsys):
    tiles = load_blue_marble(2, tile_size=16, km_per_pixel=20, random_state=2).images
    np.save(tmp_path / "tiles.npy", tiles)
    out, fit = tmp_path / "places.csv", ImageGeolocator.fit

    def and_then(self, *arguments):
        out.write_text("mine")
        return fit(self, *arguments)

    monkeypatch.setattr(ImageGeolocator, "fit", and_then)
    arguments = ["geolocate", str(tmp_path / "tiles.npy"), "--candidates", "50"]
    assert main([*arguments, "--output", str(out)]) == 1
    assert "places.csv has appeared" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_map_without_matplotlib(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert main(["map", str(tmp_path / "map.png")]) == 1
    assert 'pip install "skgeo-embed[plot]"' in capsys.readouterr().err


def test_geolocate_an_array(tmp_path, capsys):
    tiles = load_blue_marble(4, tile_size=16, km_per_pixel=20, random_state=2).images
    np.save(tmp_path / "tiles.npy", tiles)
    arguments = ["geolocate", str(tmp_path / "tiles.npy"), "--candidates", "500", "--top", "2"]
    assert main(arguments) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert table["image"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table["rank"].tolist() == [1, 2] * 4
    expected = ImageGeolocator(n_candidates=500).fit().predict(tiles)
    np.testing.assert_allclose(table[["lon", "lat"]][::2], expected, atol=1e-4)
    assert main([*arguments, "--output", str(tmp_path / "places.csv")]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "places.csv"), table)
    assert main([*arguments, "--output", str(tmp_path / "places.csv")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["geolocate", "a.tif", str(tmp_path / "tiles.npy")]) == 2
    assert "one .npy file or GeoTIFFs" in capsys.readouterr().err


def test_geolocate_files_of_the_wrong_kind(capsys, tmp_path):
    assert main(["geolocate", str(tmp_path / "gone.tif")]) == 1
    assert "there is no file" in capsys.readouterr().err  # before anything else is looked at
    assert load_sentinel2_patches().images.shape[1] == 12
    np.save(tmp_path / "bands.npy", load_sentinel2_patches().images)
    assert main(["geolocate", str(tmp_path / "bands.npy")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_models(capsys, tmp_path):
    assert main(["models", "--csv", "--cache-dir", str(tmp_path)]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out)).set_index("name")
    shown = table.loc["bluemarble-l20", ["L", "features", "where"]].tolist()
    assert shown == ["20", 1024, "package"]
    assert table.loc["satclip-vit16-l40", "where"] == "hub: microsoft/SatCLIP-ViT16-L40"
    assert table.loc["SINREncoder: sinr", "licence"] == "none stated"
    assert table.loc["GeoCLIPEncoder: geoclip", "where"] == "PyPI: geoclip"
    assert table.loc["RANGEEncoder: range-large", "size"] == "900.0 MB"
    third_party = {f"{row.encoder}: {row.name}" for row in THIRD_PARTY.values()}
    assert set(table.index) == {*BUNDLED, *SATCLIP_CHECKPOINTS, *third_party}
    assert main(["models"]) == 0
    assert "4.4 MB" in capsys.readouterr().out


def test_download_of_what_is_here(capsys):
    assert main(["download", "bluemarble-l20"]) == 0
    assert "bluemarble-l20: inside the package, sha256" in capsys.readouterr().out
    assert main(["download", "no-such-model"]) == 1
    assert "no encoder is named 'no-such-model'" in capsys.readouterr().err


def test_content_columns(tmp_path, capsys):
    """The flag is a list of its own, which an encoder's new layer is not in by itself."""
    model = SatCLIPEncoder(small_tower()).fit().save_pretrained(tmp_path / "rainy")
    frame = pd.DataFrame({"lon": [7.8, -3.0], "lat": [36.8, 40.0]})
    frame.to_csv(tmp_path / "in.csv", index=False)
    flags = ["--model", str(model), "--layer", "content"]
    assert main(["encode", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), *flags]) == 0
    expected = SatCLIPEncoder(model, layer="content").fit_transform(frame)
    out = pd.read_csv(tmp_path / "out.csv")
    assert list(out.columns) == ["lon", "lat", "rain_mean_313km", "rain_std_625km"]
    np.testing.assert_allclose(out.iloc[:, 2:], expected, rtol=1e-5)
    region = ["--region", "0", "40", "10", "50", "--resolution", "5"]
    assert main(["grid", str(tmp_path / "grid.npy"), *region, *flags]) == 0
    assert np.load(tmp_path / "grid.npy").shape[-1] == 2
    capsys.readouterr()
    without = ["--model", "bluemarble-l10", "--layer", "content"]
    assert main(["encode", str(tmp_path / "in.csv"), str(tmp_path / "no.csv"), *without]) != 0
    assert "'bluemarble-l10' has none" in capsys.readouterr().err


def test_fewer_columns(tmp_path, capsys):
    arguments = ["--region", "0", "40", "20", "50", "--resolution", "10", "--n-components", "5"]
    assert main(["grid", str(tmp_path / "g.npy"), *arguments]) == 0
    assert np.load(tmp_path / "g.npy").shape == (1, 2, 5)
    assert main(["grid", str(tmp_path / "h.npy"), *arguments[:-1], "0"]) == 2
    assert "n_components" in capsys.readouterr().err
