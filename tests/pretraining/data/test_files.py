"""Images in files, folders and tar shards."""

import io
import os
import shutil
import tarfile
from functools import partial

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch

from skgeo_embed._errors import (
    ImageError,
    TrainingWarning,
)
from skgeo_embed.datasets import load_sentinel2_patches
from skgeo_embed.pretraining.data.files import check_files, list_paths, open_folder
from tests.pretraining.common import (
    small_pretrainer,
    weights_of,
    write_tif,
)

small = partial(
    small_pretrainer,
    recipe__embed_dim=8,
    recipe__hidden_dim=16,
    max_epochs=2,
    batch_size=8,
    val_fraction=0.2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in the layout of S2-100K: 24 cuts of real Sentinel-2 patches."""
    root = tmp_path_factory.mktemp("s2")
    (root / "images").mkdir()
    patches = load_sentinel2_patches()
    rows = []
    for number in range(24):
        patch, side = number % 6, 60 * (number // 6)
        write_tif(
            root / "images" / f"patch_{number}.tif", patches.images[patch][:, side : side + 16, :16]
        )
        lon, lat = patches.coords.iloc[patch]
        rows.append((f"patch_{number}.tif", lon + number / 100, lat))
    pd.DataFrame(rows, columns=["fn", "lon", "lat"]).to_csv(root / "index.csv", index=False)
    return root


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    (root / "data").mkdir()
    shutil.copy(folder / "index.csv", root)
    files = sorted((folder / "images").iterdir())
    for number, part in enumerate((files[:10], files[10:20])):  # the last four are not there
        with tarfile.open(root / "data" / f"shard-{number:04d}.tar", "w") as archive:
            for file in part:
                archive.add(file, arcname=f"images/{file.name}")
    return root


def history(images, coords=None, **params):
    return small(**params).fit(images, coords).history_


def test_every_kind_of_source_trains_the_same(folder):
    index = pd.read_csv(folder / "index.csv")
    paths = [folder / "images" / name for name in index["fn"]]
    coords = index[["lon", "lat"]]
    expected = history(folder)
    arrays = np.stack([rasterio.open(path).read() for path in paths])
    for source in ((paths, coords), (pd.Series(map(str, paths)), coords), (arrays, coords)):
        pd.testing.assert_frame_equal(history(*source), expected)
    pd.testing.assert_frame_equal(history(str(folder)), expected)
    assert expected["train_loss"].notna().all()


def test_shards_are_read_without_unpacking(shards, folder):
    before = sorted(shards.rglob("*"))
    pretrainer = small().fit(shards)
    assert sorted(shards.rglob("*")) == before
    files, lonlat = open_folder(shards)
    assert len(files) == len(lonlat) == 20
    index = pd.read_csv(folder / "index.csv").set_index("fn")
    for file, place in zip(files, lonlat, strict=True):
        np.testing.assert_allclose(place, index.loc[file.name, ["lon", "lat"]])
        np.testing.assert_array_equal(
            file.read(), rasterio.open(folder / "images" / file.name).read()
        )
    assert len(pretrainer.history_) == 2


@pytest.fixture
def spoilt(folder, tmp_path):
    root = tmp_path / "spoilt"
    shutil.copytree(folder, root)
    images = root / "images"
    (images / "patch_1.tif").write_bytes(b"not a tif")
    (images / "patch_2.tif").unlink()
    write_tif(images / "patch_3.tif", np.zeros((12, 16, 16), np.uint16))
    write_tif(images / "patch_4.tif", np.ones((12, 8, 16), np.uint16))
    write_tif(images / "patch_5.tif", np.ones((3, 16, 16), np.uint16))
    whole = (images / "patch_6.tif").read_bytes()
    (images / "patch_6.tif").write_bytes(whole[: len(whole) // 2])
    return root


def test_bad_images_stop_the_run_before_training(spoilt):
    with pytest.raises(ImageError) as caught:
        small().fit(spoilt)
    message = str(caught.value)
    assert message.startswith("training cannot use 6 of 24 image files:")
    for expected in (
        r"patch_1.tif: patch_1.tif",
        "patch_2.tif: there is no such file",
        "patch_3.tif: no data: every pixel is 0",
        "patch_4.tif: it has 8 × 16 pixels, and 16 × 16 are needed",
        "patch_5.tif: it has 3 bands, and most files have 12",
        "patch_6.tif",
        'on_bad_image="skip"',
    ):
        assert expected.replace("patch_1.tif: patch_1.tif", "patch_1.tif: ") in message


def test_bad_images_are_left_out_on_request(spoilt):
    pretrainer = small(on_bad_image="skip").fit(spoilt)
    assert pretrainer.bad_images_["file"].tolist() == [f"patch_{n}.tif" for n in range(1, 7)]
    assert pretrainer.bad_images_["reason"].str.len().min() > 5
    good = [n for n in range(24) if not 1 <= n <= 6]
    index = pd.read_csv(spoilt / "index.csv").iloc[good]
    paths = [spoilt / "images" / name for name in index["fn"]]
    expected = history(paths, index[["lon", "lat"]])
    pd.testing.assert_frame_equal(pretrainer.history_, expected)


def test_a_larger_image_is_cut_to_the_size_of_most(folder, tmp_path):
    root = tmp_path / "larger"
    shutil.copytree(folder, root)
    pixels = np.arange(12 * 20 * 18, dtype=np.uint16).reshape(12, 20, 18)
    write_tif(root / "images" / "patch_0.tif", pixels)
    pairs, bad = check_files(*open_folder(root), side=None, on_bad_image="raise")
    assert len(bad) == 0
    np.testing.assert_array_equal(pairs[0]["image"].numpy(), pixels[:, 2:18, 1:17])


def test_crop_size_is_what_files_need(folder):
    with pytest.raises(ImageError, match="24 × 24 are needed"):
        history(folder, crop_size=24)
    assert len(history(folder, crop_size=12)) == 2


def test_files_are_inspected_once(folder, monkeypatch):
    history(folder)

    def fail(*_):
        raise AssertionError("the file was inspected again")

    monkeypatch.setattr("skgeo_embed.pretraining.data.files.inspect_file", fail)
    history(folder)
    (folder / "images" / "patch_0.tif").touch()
    with pytest.raises(AssertionError, match="inspected again"):
        history(folder)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda root: None, "has no index.csv"),
        (
            lambda root: (root / "index.csv").write_text("fn,lon\na.tif,1\n"),
            "lacks .*lat",
        ),
        (lambda root: (root / "index.csv").write_text("fn,lon,lat\na.tif,1,2\n"), "neither images"),
    ],
)
def test_bad_folders(tmp_path, make, expected):
    make(tmp_path)
    with pytest.raises(ImageError, match=expected):
        small().fit(tmp_path)


def test_bad_shards(shards, tmp_path):
    root = tmp_path / "cut"
    shutil.copytree(shards, root)
    whole = (root / "data" / "shard-0000.tar").read_bytes()
    (root / "data" / "shard-0000.tar").write_bytes(whole[:700])
    with pytest.raises(ImageError, match=r"shard-0000\.tar is not a tar file, or is truncated"):
        open_folder(root)
    with tarfile.open(root / "data" / "shard-0000.tar", "w") as archive:
        member = tarfile.TarInfo("other.tif")
        archive.addfile(member, io.BytesIO())
    (root / "data" / "shard-0001.tar").unlink()
    with pytest.raises(ImageError, match="none of the 24 images"):
        open_folder(root)


def test_bad_arguments(folder):
    with pytest.raises(ImageError, match="is not a folder"):
        small().fit("nowhere")
    with pytest.raises(ValueError, match=r"come from its index\.csv"):
        small().fit(folder, [[1, 2]])
    with pytest.raises(ImageError, match="none of the 1 image files"):
        check_files(list_paths(["gone.tif"]), np.zeros((1, 2)), side=None, on_bad_image="skip")
    with pytest.raises(ValueError, match="coords is missing"):
        small().fit([folder / "images" / "patch_0.tif"])


@pytest.mark.parametrize("cut", [1024, 1536, 30_000])
def test_cut_shards_are_reported(shards, tmp_path, cut):
    shards = shutil.copytree(shards, tmp_path / "cut")
    shard = sorted(shards.glob("data/*.tar"))[-1]
    size = shard.stat().st_size
    content = shard.read_bytes().rstrip(b"\0")
    end = -(-len(content) // 512) * 512
    assert end < size  # what follows is the end-of-archive mark and padding
    os.truncate(shard, end if cut == 1024 else end + 512 if cut == 1536 else size - cut)
    with pytest.raises(ImageError, match=r"is not a tar file, or is truncated"):
        open_folder(shards)


def test_images_in_no_shard_are_counted(shards, tmp_path):
    shards = shutil.copytree(shards, tmp_path / "more")
    index = pd.read_csv(shards / "index.csv")
    more = pd.concat([index, index.assign(fn="elsewhere_" + index["fn"])])
    more.to_csv(shards / "index.csv", index=False)
    missing = len(more) - 20
    with pytest.warns(TrainingWarning, match=rf"{missing} of the {len(more)} images of index.csv"):
        files, lonlat = open_folder(shards)
    assert len(files) == len(lonlat) == 20


def _read(paths):
    from skgeo_embed.images.files import read_geotiff

    return [read_geotiff(str(path)) for path in paths]


def test_images_of_one_name_in_two_folders(pairs, tmp_path):
    coords = pd.DataFrame(pairs[1][:24], columns=["lon", "lat"])
    names = [f"{part}/{row}.tif" for part in "ab" for row in range(12)]
    rng = np.random.RandomState(0)
    for number, name in enumerate(names):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tif(path, (rng.uniform(1, 9, (3, 8, 8)) + 100 * number).astype(np.uint16))
    coords.assign(fn=names).to_csv(tmp_path / "index.csv", index=False)
    words = {"batch_size": 8, "max_epochs": 1}
    trained = small(**words).fit(tmp_path)
    images = np.stack(_read([tmp_path / "images" / name for name in names]))
    expected = small(**words).fit(images, coords)
    assert torch.equal(weights_of(trained), weights_of(expected))
    for part in "ab":
        for row in range(12):
            (tmp_path / "images" / part / f"{row}.tif").rename(tmp_path / "images" / f"{row}.tif")
    with pytest.raises(ImageError, match="match several rows"):
        small(**words).fit(tmp_path)


def test_a_mended_image_is_read_again(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path / "cache"))
    files = [tmp_path / f"{row}.tif" for row in range(24)]
    for path in files:
        write_tif(path, np.full((3, 8, 8), 9, np.uint16))
    words = {"batch_size": 8, "max_epochs": 1}
    from skgeo_embed.pretraining.data import files as reading

    real = reading.read_geotiff

    def flaky(source, *rest):
        if str(source).endswith("/3.tif"):
            raise ImageError("the network drive is away")
        return real(source, *rest)

    monkeypatch.setattr(reading, "read_geotiff", flaky)
    with pytest.raises(ImageError, match="network drive is away"):
        small(**words).fit(files, pairs[1][:24])
    monkeypatch.setattr(reading, "read_geotiff", real)
    small(**words).fit(files, pairs[1][:24])


def test_good_images_are_read_once_beside_bad_ones(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path / "cache"))
    files = [tmp_path / f"{row}.tif" for row in range(24)]
    for path in files:
        write_tif(path, np.full((3, 8, 8), 9, np.uint16))
    files[3].write_bytes(b"no picture")
    from skgeo_embed.pretraining.data import files as reading

    inspected = []
    real = reading.inspect_file
    monkeypatch.setattr(
        reading, "inspect_file", lambda file: inspected.append(file.name) or real(file)
    )
    words = {"batch_size": 8, "max_epochs": 1, "on_bad_image": "skip"}
    for expected in (24, 1):
        inspected.clear()
        trained = small(**words).fit(files, pairs[1][:24])
        assert len(inspected) == expected
        assert trained.bad_images_["file"].tolist() == [str(files[3])]


def test_an_index_does_not_lead_out_of_its_folder(pairs, tmp_path):
    write_tif(tmp_path / "secret.tif", np.full((3, 8, 8), 9, np.uint16))
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    table = pd.DataFrame({"fn": ["../../secret.tif"] * 24, "lon": 1.0, "lat": 2.0})
    table.to_csv(root / "index.csv", index=False)
    with pytest.raises(ImageError, match="there is no such file"):
        small(batch_size=8).fit(root)


def test_without_a_cache_folder_files_are_checked_each_time(folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(TrainingWarning, match=r"cannot be stored.*SKGEO_EMBED_CACHE"):
        pretrainer = small(max_epochs=1).fit(folder)
    with pytest.warns(TrainingWarning, match="cannot be stored"):
        assert 0 <= pretrainer.score(folder) <= 1


@pytest.mark.parametrize("content", [b"[[3, 8", b"{}", b"[]", b"\xff\xfe", b"[null]"])
def test_a_damaged_cache_of_checks_is_not_used(folder, tmp_path, monkeypatch, content):
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path))
    files, lonlat = open_folder(folder)
    check_files(files, lonlat, None, "raise")
    (cached,) = (tmp_path / "inspections").iterdir()
    good = cached.read_bytes()
    cached.write_bytes(content)
    check_files(files, lonlat, None, "raise")
    assert cached.read_bytes() == good
