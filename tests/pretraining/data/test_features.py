"""Features of a frozen tower are computed once, and again when anything changes."""

import errno
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from skgeo_embed._errors import ImageError, TrainingWarning
from skgeo_embed.nn.vision.frozen import freeze_all_but_last, split_frozen
from skgeo_embed.nn.vision.resnet import resnet18
from skgeo_embed.pretraining.data.features import FeaturePairs
from tests.pretraining.common import CountingTower, PairsDataset, small_pretrainer, weights_of

small = partial(small_pretrainer, max_epochs=3)


def fit(pairs, tower=None, **params):
    params = {"vision_tower": tower or CountingTower(), **params}
    if isinstance(pairs, tuple):
        return small(**params).fit(*pairs)
    return small(**params).fit(pairs)


def written(folder):
    """When each file was written, but for locks, which old versions of filelock touch."""
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.suffix != ".lock"}


def test_one_view_without_augmentation_trains_identically(pairs, tmp_path):
    plain = {"recipe__augment": False, "recipe__coord_jitter": 0.0}
    uncached = fit(pairs, feature_cache=None, **plain)
    cached = fit(pairs, feature_cache=tmp_path, **plain)
    pd.testing.assert_frame_equal(cached.history_, uncached.history_, rtol=1e-6)
    torch.testing.assert_close(weights_of(cached), weights_of(uncached), rtol=0, atol=1e-7)
    np.testing.assert_allclose(
        cached.image_encoder_.transform(pairs[0]),
        uncached.image_encoder_.transform(pairs[0]),
        atol=1e-6,
    )


def test_augmented_views_train_alike(pairs, tmp_path):
    params = {"max_epochs": 30, "recipe__dropout": 0.0}
    uncached = fit(pairs, feature_cache=None, **params).history_
    cached = fit(pairs, feature_cache=tmp_path, n_views=4, **params).history_
    ends = [h["val_loss"].iloc[-5:].mean() for h in (cached, uncached)]
    assert ends[0] == pytest.approx(ends[1], rel=0.05)
    assert ends[0] < 0.9 * cached["val_loss"].iloc[0]


def test_frozen_batch_norm_keeps_its_statistics(pairs):
    pretrainer = fit(pairs, feature_cache=None)
    norm = pretrainer.model_.visual.norm
    assert torch.equal(norm.running_mean, torch.zeros(6))
    assert torch.equal(norm.running_var, torch.ones(6))


def test_features_are_computed_once_a_view_and_reused(pairs, tmp_path):
    CountingTower.seen = 0
    first = fit(pairs, feature_cache=tmp_path, n_views=3)
    views = 3 * 120
    assert views <= CountingTower.seen < views + 40  # and the sample it was tried on
    before = written(tmp_path)
    CountingTower.seen = 0
    second = fit(pairs, feature_cache=tmp_path, n_views=3)
    assert CountingTower.seen < 20
    assert written(tmp_path) == before
    assert torch.equal(weights_of(first), weights_of(second))
    # another seed, another split: the same features
    CountingTower.seen = 0
    fit(pairs, feature_cache=tmp_path, n_views=3, random_state=1)
    assert CountingTower.seen < 20


@pytest.mark.parametrize("change", ["weights", "images", "augmentation"])
def test_stale_features_are_made_again(pairs, tmp_path, change):
    fit(pairs, feature_cache=tmp_path)
    (old,) = tmp_path.glob("*.npy")
    images, coords = pairs
    CountingTower.seen = 0
    if change == "weights":
        fit(pairs, CountingTower(scale=2.0), feature_cache=tmp_path)
    elif change == "images":
        fit((images + 0.01, coords), feature_cache=tmp_path)
    else:
        fit(pairs, feature_cache=tmp_path, n_views=2)
    assert CountingTower.seen >= 120
    (new,) = tmp_path.glob("*.npy")
    assert new != old


def test_an_interrupted_cache_is_completed(pairs, tmp_path, monkeypatch):
    expected = fit(pairs, feature_cache=tmp_path / "whole")

    calls = []

    def stop_at_the_second(*arguments):
        calls.append(1)
        if len(calls) == 3:  # the sample, the first chunk, the second
            raise KeyboardInterrupt
        return compute(*arguments)

    from skgeo_embed.pretraining.data import features

    compute = features.features_of_views
    with monkeypatch.context() as patch:
        patch.setattr(features, "features_of_views", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            fit(pairs, feature_cache=tmp_path / "parts")
    assert not list((tmp_path / "parts").glob("*.npy"))
    CountingTower.seen = 0
    completed = fit(pairs, feature_cache=tmp_path / "parts")
    assert CountingTower.seen < 4 * 120  # not all of it again
    assert torch.equal(weights_of(completed), weights_of(expected))


def test_any_dataset_can_be_cached(pairs, tmp_path):
    expected = fit(pairs, feature_cache=tmp_path / "array")
    dataset = PairsDataset(*pairs)
    found = fit(dataset, feature_cache=tmp_path / "dataset")
    assert torch.equal(weights_of(found), weights_of(expected))
    CountingTower.seen = 0
    fit(dataset, feature_cache=tmp_path / "dataset")
    assert CountingTower.seen < 20


def test_a_tower_that_trains_is_not_cached(pairs, tmp_path):
    tower = CountingTower()
    tower.conv.requires_grad_(True)
    with pytest.raises(ValueError, match=r"CountingTower change while.*feature_cache=None"):
        fit(pairs, tower, feature_cache=tmp_path)
    CountingTower.seen = 0
    fit(pairs, tower)
    assert CountingTower.seen > 3 * 100  # every epoch


def test_a_tower_frozen_altogether(pairs, tmp_path):
    tower = CountingTower()
    tower.requires_grad_(False)
    pretrainer = fit(pairs, tower, feature_cache=tmp_path)
    assert torch.equal(pretrainer.model_.visual.head.weight, tower.head.weight)
    with pytest.raises(ImageError):
        fit((pairs[0][:, :2], pairs[1]), tower, feature_cache=tmp_path)


def test_split_of_a_named_tower():
    torch.manual_seed(0)
    tower = freeze_all_but_last(resnet18(3, 8))
    images = torch.rand(2, 3, 32, 32)
    body, head = split_frozen(tower, images)
    assert head is tower.fc
    assert body.eval()(images).shape == (2, 512)
    assert split_frozen(resnet18(3, 8), images) is None


def test_index_is_row_and_view():
    features = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    pairs = FeaturePairs(features, np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert len(pairs) == 6
    batch = pairs.__getitems__([0, 5])
    np.testing.assert_array_equal(batch["image"].numpy(), features[[0, 1], [0, 2]])
    np.testing.assert_array_equal(batch["point"].numpy(), [[1, 2], [3, 4]])


class Scaled(CountingTower):
    """Two of them look alike, and have the same weights."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, image):
        return super().forward(image * self.factor)


def test_towers_that_look_alike_have_features_of_their_own(pairs, tmp_path):
    found = []
    for factor in (1.0, 5.0):
        words = {"vision_tower": Scaled(factor), "max_epochs": 1}
        small(**words, feature_cache=tmp_path).fit(*pairs)
        (path,) = tmp_path.glob("*.npy")
        found.append(np.load(path))
    assert not np.allclose(found[0], found[1])


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    """The user's cache folder cannot be made, because a file has its name."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path / "file" / "cache"))


def test_without_a_cache_folder_training_goes_on(pairs, no_cache):
    with pytest.warns(TrainingWarning, match=r"features cannot be kept.*file.*SKGEO_EMBED_CACHE"):
        found = fit(pairs)
    assert torch.equal(weights_of(found), weights_of(fit(pairs, feature_cache=None)))


def test_a_folder_that_was_asked_for_is_needed(pairs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"pass another folder as feature_cache.*file/cache"):
        fit(pairs, feature_cache=tmp_path / "file" / "cache")


@pytest.fixture
def small_files():
    """Files of this process may have 4 kB, as if the disk were full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_an_error_and_what_is_computed_is_kept(
    pairs, tmp_path, small_files, monkeypatch
):
    import resource

    monkeypatch.setattr("skgeo_embed.pretraining.data.features.CHUNK", 16)
    with pytest.raises(OSError, match=r"features-\w+-\w+\.part") as raised:
        fit(pairs, feature_cache=tmp_path)
    assert raised.value.errno == errno.EFBIG
    (part,) = tmp_path.glob("*.part")
    assert 0 < part.stat().st_size <= 4096
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    CountingTower.seen = 0
    completed = fit(pairs, feature_cache=tmp_path)
    assert CountingTower.seen < 4 * 120  # not all of it again
    assert torch.equal(weights_of(completed), weights_of(fit(pairs, feature_cache=tmp_path / "2")))


def test_a_full_disk_under_the_users_cache_is_a_warning(pairs, tmp_path, small_files, monkeypatch):
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path))
    with pytest.warns(TrainingWarning, match=r"cannot be kept on disk.*\.part"):
        found = fit(pairs)
    assert torch.equal(weights_of(found), weights_of(fit(pairs, feature_cache=None)))


@pytest.mark.parametrize("content", [b'{"rows_done": 99999}', b'{"rows_done": 1', b"[]"])
def test_a_damaged_record_of_progress(pairs, tmp_path, monkeypatch, content):
    from skgeo_embed.pretraining.data import features

    monkeypatch.setattr(features, "CHUNK", 16)
    expected = weights_of(fit(pairs, feature_cache=tmp_path / "whole"))
    write = features._write

    def stop_later(part, rows, position):
        if position > 3000:
            raise KeyboardInterrupt
        write(part, rows, position)

    with monkeypatch.context() as patch:
        patch.setattr(features, "_write", stop_later)
        with pytest.raises(KeyboardInterrupt):
            fit(pairs, feature_cache=tmp_path / "parts")
    (state,) = (tmp_path / "parts").glob("*.json")
    state.write_bytes(content)
    assert torch.equal(weights_of(fit(pairs, feature_cache=tmp_path / "parts")), expected)


def test_a_complete_cache_needs_no_lock(pairs, tmp_path, monkeypatch):
    from skgeo_embed.pretraining.data import features

    expected = fit(pairs, feature_cache=tmp_path)

    def read_only(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(features, "FileLock", read_only)
    assert torch.equal(weights_of(fit(pairs, feature_cache=tmp_path)), weights_of(expected))
