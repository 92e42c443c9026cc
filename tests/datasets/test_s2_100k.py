import io
import tarfile

import numpy as np
import pytest

from skgeo_embed import Recipe, SatCLIPPretrainer
from skgeo_embed._errors import ModelDownloadError, ModelFormatError, ModelNotFoundError
from skgeo_embed.datasets import fetch_s2_100k, load_sentinel2_patches
from tests.hub_server import Repository

NAME = "torchgeo/s2-100k"


@pytest.fixture
def repository(hub):
    """Six real patches in three shards, as the hub has a hundred thousand."""
    patches = load_sentinel2_patches()
    lines = ["fn,lon,lat"]
    for path, (lon, lat) in zip(patches.paths, patches.coords.values, strict=True):
        lines.append(f"{path.name},{lon},{lat}")
    files = {}
    for number in range(3):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for path in patches.paths[number::3]:
                archive.add(path, arcname=f"images/{path.name}")
        files[f"data/shard-{number:06d}.tar"] = content.getvalue()
    files |= {"index.csv": "\n".join(lines).encode(), "README.md": b"S2-100K"}
    hub.repositories[NAME] = Repository(files)
    return hub.repositories[NAME]


def test_fetch_and_train(repository, hub):
    dataset = fetch_s2_100k()
    assert len(dataset.index) == 6
    assert len(dataset.shards) == 3
    assert "Copernicus" in dataset.DESCR
    pretrainer = SatCLIPPretrainer(
        Recipe(legendre_polys=4, hidden_dim=16, embed_dim=8),
        max_epochs=1,
        batch_size=4,
        crop_size=32,
        val_fraction=0,
        random_state=0,
        verbose=0,
    ).fit(dataset.folder)
    assert np.isfinite(pretrainer.history_["train_loss"]).all()


def test_nothing_is_fetched_twice(repository, hub):
    fetch_s2_100k()
    count = hub.downloads_of(".tar")
    assert count == 3
    fetch_s2_100k()
    assert hub.downloads_of(".tar") == count
    offline = fetch_s2_100k(local_files_only=True)
    assert len(offline.shards) == 3


def test_a_few_shards(repository, hub):
    assert len(fetch_s2_100k(n_shards=2).shards) == 2
    assert hub.downloads_of(".tar") == 2
    assert len(fetch_s2_100k(local_files_only=True).shards) == 2
    with pytest.raises(ValueError, match="n_shards must be positive"):
        fetch_s2_100k(n_shards=0)


def test_a_download_that_was_cut_off_goes_on(repository, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.MAX_HTTP_RETRIES", 0, raising=False)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # its retries
    fetch_s2_100k(n_shards=1)
    repository.fault = "truncated"
    with pytest.raises(ModelDownloadError, match=r"shard-000001\.tar of torchgeo/s2-100k"):
        fetch_s2_100k()
    repository.fault = None
    dataset = fetch_s2_100k()
    for shard in dataset.shards:
        assert shard.read_bytes() == repository.files[f"data/{shard.name}"]
    assert len(dataset.shards) == 3


def test_a_damaged_shard_is_noticed(repository):
    fetch_s2_100k(n_shards=1)
    repository.fault = "corrupted"
    with pytest.raises(ModelDownloadError, match="damaged: its sha256"):
        fetch_s2_100k(n_shards=2)


def test_missing_things(hub, repository):
    with pytest.raises(ModelNotFoundError, match="not in the cache"):
        fetch_s2_100k(local_files_only=True)
    shard = repository.files.pop("data/shard-000000.tar")
    del repository.files["data/shard-000001.tar"], repository.files["data/shard-000002.tar"]
    with pytest.raises(ModelNotFoundError, match="layout has changed"):
        fetch_s2_100k()
    with pytest.raises(ModelNotFoundError, match="holds no shard"):
        fetch_s2_100k(local_files_only=True)
    assert shard
    hub.repositories.clear()
    with pytest.raises(ModelNotFoundError, match="no such repository"):
        fetch_s2_100k(revision="main")


@pytest.mark.parametrize(
    "content", [b"", b'"fn,lon\n1,2,3\n4', b"\xff\xfe\xfa", b"fn,x,y\na,1,2\n"]
)
def test_a_damaged_index_is_named(repository, content):
    repository.files["index.csv"] = content
    with pytest.raises(ModelFormatError, match=r"index\.csv (is not a table of images|must have)"):
        fetch_s2_100k(n_shards=1)
