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
    assert main(["grid", str(tmp_path / "grid.tif")]) == 2
    assert "must end with .npy" in capsys.readouterr().err
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
    assert main(["map", str(tmp_path / "map.png"), "--feature", "9999"]) == 1
    assert "feature must be between 0 and 767" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


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
