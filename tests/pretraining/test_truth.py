"""Runs are what they say: seeds, data, best weights, histories, and what checkpoints open as."""

import json
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from lightning.pytorch.callbacks import EarlyStopping
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from skgeo_embed import (
    Recipe,
    SatCLIPEncoder,
    SatCLIPImageEncoder,
    SatCLIPPretrainer,
)
from skgeo_embed._errors import (
    ImageError,
    ModelFormatError,
    ModelNotFoundError,
    TrainingDivergedError,
)
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.model_selection import LeaveOneRegionOut
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.objectives.auxiliary import RidgeEpisodes
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.nn.vision.small_cnn import SmallConvNet
from skgeo_embed.pretraining import identity, run
from skgeo_embed.pretraining.checkpoints import BestCheckpoint
from skgeo_embed.pretraining.data import ArrayPairs
from skgeo_embed.pretraining.interruption import Interruption
from tests.pretraining.flat import flat_pretrainer
from tests.pretraining.test_features import CountingTower
from tests.pretraining.test_files import write_tif
from tests.pretraining.test_run import SMALL, AtStep, weights_of


def test_a_seedless_run_keeps_its_seed(pairs, tmp_path):
    seedless = {**SMALL, "random_state": None, "checkpoint_dir": tmp_path}
    first = flat_pretrainer(**{**seedless, "max_epochs": 2}).fit(*pairs)
    resumed = flat_pretrainer(**seedless, resume="auto").fit(*pairs)
    assert resumed.run_["seed"] == first.run_["seed"]
    seeds = {flat_pretrainer(**{**SMALL, "random_state": None, "max_epochs": 1}).fit(*pairs)
             .run_["seed"] for _ in range(2)}  # fmt: skip
    assert len(seeds) == 2
    # that seed from the start gives the same weights, so the same pairs were held out
    whole = flat_pretrainer(**{**SMALL, "random_state": 0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "drawn_seed", lambda *_: first.run_["seed"])
        whole.fit(*pairs)
    assert torch.equal(weights_of(whole), weights_of(resumed))


def test_processes_of_a_script_share_the_seed(monkeypatch):
    monkeypatch.delenv(identity.SEED_VARIABLE, raising=False)
    first = identity.drawn_seed(None, {})
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert identity.drawn_seed(None, {}) == first
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert identity.drawn_seed(None, {}) != first
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    assert identity.drawn_seed(None, {}) == identity.drawn_seed(None, {})
    assert identity.drawn_seed(None, {"seed": 7}) == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 32}, "batch_size: 16 then, 32 now"),
        ({"learning_rate": 0.5}, r"learning_rate: 0\.001 then, 0\.5 now"),
        ({"random_state": 1}, "seed: "),
        ({"val_split": "blocks"}, "val_split: 'random' then"),
        ({"precision": "64-true"}, "precision: "),
    ],
)
def test_what_must_match(pairs, tmp_path, change, message):
    flat_pretrainer(**{**SMALL, "max_epochs": 1}, checkpoint_dir=tmp_path).fit(*pairs)
    with pytest.raises(ValueError, match=message):
        flat_pretrainer(**{**SMALL, **change}, checkpoint_dir=tmp_path, resume="auto").fit(*pairs)


def test_other_data_is_another_run(pairs, tmp_path):
    flat_pretrainer(**{**SMALL, "max_epochs": 1}, checkpoint_dir=tmp_path).fit(*pairs)
    images, coords = pairs
    again = flat_pretrainer(**SMALL, checkpoint_dir=tmp_path, resume="auto")
    with pytest.raises(ValueError, match="data: "):
        again.fit(images, coords + 0.5)
    with pytest.raises(ValueError, match="data: "):
        again.fit(images * 1.1, coords)


@pytest.mark.parametrize(
    "change",
    [
        {"micro_batch_size": 8},
        {"checkpoint_every_n_steps": 2},
        {"logger": "CSVLogger"},
        {"verbose": 2},
        {"keep": "best"},
    ],
)
def test_what_may_change(pairs, tmp_path, change):
    flat_pretrainer(**{**SMALL, "max_epochs": 1}, checkpoint_dir=tmp_path).fit(*pairs)
    resumed = flat_pretrainer(
        **{**SMALL, "max_epochs": 2, **change}, checkpoint_dir=tmp_path, resume="auto"
    ).fit(*pairs)
    assert resumed.history_["epoch"].tolist() == [0, 1]


def test_an_older_run_is_compared_in_what_it_knows(pairs, tmp_path):
    flat_pretrainer(**{**SMALL, "max_epochs": 1}, checkpoint_dir=tmp_path).fit(*pairs)
    path = tmp_path / "last.ckpt"
    content = torch.load(path, weights_only=True)
    del content[identity.RUN_KEY]["val_split"]
    torch.save(content, path)
    resumed = flat_pretrainer(
        **{**SMALL, "max_epochs": 2}, checkpoint_dir=tmp_path, resume="auto"
    ).fit(*pairs)
    assert len(resumed.history_) == 2


def test_another_folders_run_does_not_overwrite_this_one(pairs, tmp_path):
    for name in "ab":
        flat_pretrainer(**{**SMALL, "max_epochs": 1}, checkpoint_dir=tmp_path / name).fit(*pairs)
    before = (tmp_path / "a" / "last.ckpt").read_bytes()
    with pytest.raises(FileExistsError, match="would be overwritten"):
        flat_pretrainer(
            **SMALL, checkpoint_dir=tmp_path / "a", resume=tmp_path / "b" / "last.ckpt"
        ).fit(*pairs)
    assert (tmp_path / "a" / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", b"not a checkpoint"])
def test_damaged_checkpoints_are_named(pairs, tmp_path, damage):
    (tmp_path / "last.ckpt").write_bytes(damage)
    with pytest.raises(ModelFormatError, match=r"last\.ckpt"):
        flat_pretrainer(**SMALL, checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert (tmp_path / "last.ckpt").read_bytes() == damage


def test_best_is_of_the_whole_history(tmp_path):
    saved = []
    trainer = SimpleNamespace(callbacks=[], save_checkpoint=saved.append)
    best = BestCheckpoint(tmp_path)
    for losses in ([3.0], [3.0, 1.0], [3.0, 1.0, 2.0]):  # a run that is resumed holds the rows
        best.on_train_epoch_end(trainer, SimpleNamespace(rows=[{"val_loss": x} for x in losses]))
    assert len(saved) == 2


def test_keep_best(pairs, tmp_path):
    words = {**SMALL, "learning_rate": 0.3, "max_epochs": 6}  # losses go up and down
    best = flat_pretrainer(**words, keep="best", checkpoint_dir=tmp_path).fit(*pairs)
    last = flat_pretrainer(**words).fit(*pairs)
    epoch = int(best.history_["val_loss"].idxmin())
    assert epoch < 5
    early = flat_pretrainer(**{**words, "max_epochs": epoch + 1}).fit(*pairs)
    assert torch.equal(weights_of(best), weights_of(early))
    assert not torch.equal(weights_of(best), weights_of(last))
    again = flat_pretrainer(**words, keep="best", checkpoint_dir=tmp_path, resume="auto")
    assert torch.equal(weights_of(again.fit(*pairs)), weights_of(best))  # from best.ckpt
    with pytest.raises(ValueError, match="goes by the validation loss"):
        flat_pretrainer(**SMALL, keep="best", val_fraction=0).fit(*pairs)


def test_callbacks_are_not_used_up(pairs):
    stopping = EarlyStopping("val_loss", patience=1, min_delta=100.0)
    pretrainer = flat_pretrainer(**SMALL, callbacks=[stopping])
    lengths = [len(pretrainer.fit(*pairs).history_) for _ in range(3)]
    assert lengths == [2, 2, 2]
    assert stopping.wait_count == 0


def test_the_history_of_a_run_cut_in_an_epoch_is_whole(pairs, tmp_path):
    press = AtStep(8, lambda trainer: setattr(trainer, "should_stop", True))
    words = {**SMALL, "checkpoint_every_n_steps": 1, "checkpoint_dir": tmp_path}
    flat_pretrainer(**words, callbacks=[press]).fit(*pairs)
    resumed = flat_pretrainer(**words, resume="auto").fit(*pairs)
    expected = flat_pretrainer(**SMALL).fit(*pairs)
    pd.testing.assert_frame_equal(resumed.history_, expected.history_)


def test_one_process_that_is_interrupted_stops_all(tmp_path):
    saved = []
    strategy = SimpleNamespace(reduce_boolean_decision=lambda asked, all: True)
    trainer = SimpleNamespace(
        world_size=2, strategy=strategy, should_stop=False, save_checkpoint=saved.append
    )
    other = Interruption(tmp_path / "last.ckpt")
    other.on_train_batch_end(trainer, None, None, None, 0)
    assert trainer.should_stop
    assert saved == [tmp_path / "last.ckpt"]


def test_diverged_in_the_first_epoch(pairs, tmp_path):
    pretrainer = flat_pretrainer(**{**SMALL, "learning_rate": 1e30})
    with pytest.raises(TrainingDivergedError, match="step 1 "):
        pretrainer.fit(*pairs)
    assert list(pretrainer.history_.columns)[:2] == ["epoch", "train_loss"]
    folder = pretrainer.save_pretrained(tmp_path / "kept")
    assert np.isfinite(SatCLIPEncoder(folder).fit_transform(pairs[1])).all()


def test_a_temperature_may_diverge():
    model = SatCLIP(SmallConvNet(3, 8, widths=(4,)), LocationEncoder(4, 8, 16))
    model.logit_scale.data.fill_(-1e4)
    assert model.temperature == np.inf


def test_every_process_has_a_gradient_of_the_strengths(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *_: torch.zeros(()))  # caps, each time
    torch.manual_seed(0)
    episodes = RidgeEpisodes()
    hidden = torch.randn(90, 8, requires_grad=True)
    points = torch.from_numpy(np.random.RandomState(0).uniform(-60, 60, (90, 2)))
    episodes(hidden, torch.randn(90, 2), torch.full((2,), 0.5), points).backward()
    assert episodes.log_ridge.grad is not None


def test_regressions_are_solved_in_single_precision():
    episodes = RidgeEpisodes()
    torch.manual_seed(0)
    hidden, points = torch.randn(90, 8), torch.rand(90, 2, dtype=torch.float64) * 60
    targets, weights = torch.randn(90, 2), torch.full((2,), 0.5)
    torch.manual_seed(1)
    expected = episodes(hidden, targets, weights, points)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = episodes(hidden, targets, weights, points)
    torch.testing.assert_close(mixed, expected)


def test_edits_of_a_private_map_survive(tmp_path, pairs):
    images, coords = pairs
    np.save(tmp_path / "images.npy", images)
    private = np.load(tmp_path / "images.npy", mmap_mode="c")
    private[:] = 7.0
    ArrayPairs(private, coords).__getitems__([0, 5])
    assert (private == 7.0).all()


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
        words = {**SMALL, "vision_tower": Scaled(factor), "max_epochs": 1}
        flat_pretrainer(**words, feature_cache=tmp_path).fit(*pairs)
        (path,) = tmp_path.glob("*.npy")
        found.append(np.load(path))
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize("tower", ["small_cnn", CountingTower()])
def test_checkpoints_open_as_what_the_pretrainer_has(pairs, tmp_path, tower):
    words = {**SMALL, "vision_tower": tower, "hidden_scale": 0.1, "checkpoint_dir": tmp_path}
    trained = flat_pretrainer(**words).fit(*pairs)
    own = None if tower == "small_cnn" else tower
    for layer in ("embedding", "hidden"):
        found = SatCLIPEncoder(tmp_path / "last.ckpt", layer=layer).fit_transform(pairs[1])
        expected = SatCLIPEncoder(trained.model_.location, layer=layer).fit_transform(pairs[1])
        np.testing.assert_allclose(found, expected, atol=1e-6)
    images = SatCLIPImageEncoder(tmp_path / "last.ckpt", vision_tower=own).fit()
    np.testing.assert_allclose(
        images.transform(pairs[0]), trained.image_encoder_.transform(pairs[0]), atol=1e-5
    )
    again = SatCLIPPretrainer.from_checkpoint(tmp_path / "last.ckpt", vision_tower=own)
    assert torch.allclose(weights_of(again), weights_of(trained))
    pd.testing.assert_frame_equal(again.history_, trained.history_)
    assert again.score(*pairs) == trained.score(*pairs)
    assert again.recipe.hidden_scale == 0.1
    assert again.batch_size == 16
    longer = again.set_params(max_epochs=5, resume=tmp_path / "last.ckpt", verbose=0)
    if own is not None:
        longer.set_params(vision_tower=own)
    assert len(longer.fit(*pairs).history_) == 5


def test_what_is_no_checkpoint_of_ours(tmp_path):
    with pytest.raises(ModelNotFoundError, match="there is no checkpoint"):
        SatCLIPPretrainer.from_checkpoint(tmp_path / "gone.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ModelFormatError, match="does not say what its run was"):
        SatCLIPPretrainer.from_checkpoint(tmp_path / "other.ckpt")


def test_no_path_of_a_machine_is_saved(pairs, tmp_path):
    words = {**SMALL, "max_epochs": 1, "checkpoint_dir": tmp_path / "run"}
    trained = flat_pretrainer(**words, feature_cache=None).fit(*pairs)
    folder = trained.save_pretrained(tmp_path / "saved")
    for path in folder.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    assert (
        json.loads((folder / "config.json").read_text())["training"]["recipe"]["hidden_dim"] == 32
    )


@pytest.fixture(scope="module")
def paths(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.RandomState(0)
    for row, colour in enumerate(pairs[0][:, :, 0, 0]):
        pixels = 5000 + 2000 * colour[:, None, None] + rng.uniform(-50, 50, (3, 10, 10))
        write_tif(folder / f"{row:03d}.tif", pixels.astype(np.uint16))
    return sorted(folder.iterdir())


def test_score_takes_what_fit_takes(pairs, paths):
    words = {**SMALL, "max_epochs": 8, "crop_size": 8, "dropout": 0.0}
    trained = flat_pretrainer(**words).fit(paths, pairs[1])
    cut = np.stack([np.asarray(image) for image in _read(paths)])[:, :, 1:9, 1:9]
    assert trained.score(paths, pairs[1]) == trained.score(cut, pairs[1])
    assert trained.score(paths, pairs[1]) > 3 / 120


def _read(paths):
    from skgeo_embed.images.files import read_geotiff

    return [read_geotiff(str(path)) for path in paths]


@pytest.mark.parametrize("kind", ["arrays", "paths"])
def test_recipes_in_a_grid_search(pairs, paths, kind):
    images = pairs[0] if kind == "arrays" else paths
    own = {k: v for k, v in SMALL.items() if k in ("batch_size", "random_state", "verbose")}
    recipe = Recipe(legendre_polys=4, embed_dim=16, hidden_dim=32, learning_rate=1e-3)
    search = GridSearchCV(
        SatCLIPPretrainer(recipe, max_epochs=1, val_fraction=0, **own),
        {"recipe__temperature": [0.07, 0.5], "recipe__dropout": [0.0]},
        cv=KFold(2),
        error_score="raise",
    ).fit(images, pairs[1])
    assert search.best_estimator_.recipe.temperature == search.best_params_["recipe__temperature"]
    assert recipe.temperature == 0.07
    named = GridSearchCV(SatCLIPPretrainer(max_epochs=1, **own), {"recipe": ["satclip", recipe]},
                         cv=KFold(2), error_score="raise")  # fmt: skip
    named.fit(images, pairs[1])
    assert len(named.cv_results_["params"]) == 2


def test_regions_are_routed():
    X, y = load_air_temperature(return_X_y=True)
    X, y = X[::20], y[::20]
    regions = np.where(X.iloc[:, 0] > 0, "east", "west")
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_val_score(
            sklearn.linear_model.Ridge(), X, y, cv=LeaveOneRegionOut(), params={"groups": regions}
        )
    assert len(scores) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"n_frequencies": 8}, "n_frequencies=8 would be ignored"),
        ({"positional_encoding": "wrap", "legendre_polys": 20}, "legendre_polys=20 would be ign"),
        ({"network": "linear", "dropout": 0.1}, "dropout=0.1 would be ignored"),
        ({"temperature": -1}, "'temperature' parameter of Recipe"),
    ],
)
def test_recipes_have_no_idle_words(pairs, words, message):
    with pytest.raises(ValueError, match=message):
        SatCLIPPretrainer(Recipe(**words), verbose=0).fit(*pairs)


def test_unknown_recipes(pairs):
    with pytest.raises(ValueError, match=r"recipe must be 'satclip' or 'episodes'.*got 'best'"):
        SatCLIPPretrainer("best", verbose=0).fit(*pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": 3}, "use the argument max_epochs"),
        ({"accumulate_grad_batches": 3}, "use the argument micro_batch_size"),
        ({"precision": "16-true"}, "would round the coordinates"),
        ({"accelerator": "mps"}, "float64, which MPS does not have"),
        ({"logger": "mine"}, "is no logger of Lightning's"),
    ],
)
def test_options_that_cannot_be(pairs, options, message):
    with pytest.raises(ValueError, match=message):
        SatCLIPPretrainer(trainer_options=options, verbose=0).fit(*pairs)


def test_a_mac_trains_on_its_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert run.checked_options(None, None)["accelerator"] == "cpu"
    with pytest.raises(ValueError, match="MPS"):
        run.checked_options({"accelerator": "gpu"}, None)


@pytest.mark.parametrize(("size", "count"), [(8, 3), (2, 4), (4, 4)])
def test_batches_are_shared_evenly(size, count):
    with pytest.raises(ValueError, match=f"batch_size={size} cannot be shared evenly by {count}"):
        run.check_shares(size, count)
    run.check_shares(2 * count, count)


def test_images_of_one_name_in_two_folders(pairs, tmp_path):
    coords = pd.DataFrame(pairs[1][:24], columns=["lon", "lat"])
    names = [f"{part}/{row}.tif" for part in "ab" for row in range(12)]
    rng = np.random.RandomState(0)
    for number, name in enumerate(names):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tif(path, (rng.uniform(1, 9, (3, 8, 8)) + 100 * number).astype(np.uint16))
    coords.assign(fn=names).to_csv(tmp_path / "index.csv", index=False)
    words = {**SMALL, "batch_size": 8, "max_epochs": 1}
    trained = flat_pretrainer(**words).fit(tmp_path)
    images = np.stack(_read([tmp_path / "images" / name for name in names]))
    expected = flat_pretrainer(**words).fit(images, coords)
    assert torch.equal(weights_of(trained), weights_of(expected))
    for part in "ab":
        for row in range(12):
            (tmp_path / "images" / part / f"{row}.tif").rename(tmp_path / "images" / f"{row}.tif")
    with pytest.raises(ImageError, match="stand for several rows"):
        flat_pretrainer(**words).fit(tmp_path)


def test_a_mended_image_is_read_again(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path / "cache"))
    files = [tmp_path / f"{row}.tif" for row in range(24)]
    for path in files:
        write_tif(path, np.full((3, 8, 8), 9, np.uint16))
    words = {**SMALL, "batch_size": 8, "max_epochs": 1}
    from skgeo_embed.pretraining import files as reading

    real = reading.read_geotiff

    def flaky(source, *rest):
        if str(source).endswith("/3.tif"):
            raise ImageError("the network drive is away")
        return real(source, *rest)

    monkeypatch.setattr(reading, "read_geotiff", flaky)
    with pytest.raises(ImageError, match="network drive is away"):
        flat_pretrainer(**words).fit(files, pairs[1][:24])
    monkeypatch.setattr(reading, "read_geotiff", real)
    flat_pretrainer(**words).fit(files, pairs[1][:24])


SCRIPT = """
import sys
import numpy as np, torch
from skgeo_embed import Recipe, SatCLIPPretrainer

class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2))
        self.last = torch.nn.Linear(8, 16)
    def forward(self, image):
        return self.last(self.net(image).mean(dim=(2, 3)))

data = np.load(sys.argv[1])
trained = SatCLIPPretrainer(
    Recipe(legendre_polys=4, embed_dim=16, hidden_dim=32, auxiliary_weight=5.0, dropout=0.3),
    vision_tower=Tower(), max_epochs=2, batch_size=16, verbose=0, checkpoint_dir=sys.argv[2],
    trainer_options={"accelerator": "cpu", "devices": 2, "strategy": "ddp"},
).fit(data["images"], data["coords"])
import os
rank = os.environ["LOCAL_RANK"]
first = next(trained.model_.location.parameters()).sum().item()
loss = trained.history_["val_loss"].iloc[-1]
# in one piece, or the lines of two processes mix
sys.stdout.write(f"RESULT {rank} {trained.run_['seed']} {first:.6f} {loss:.6f}\\n")
"""


def test_a_script_of_two_processes_is_one_run(pairs, tmp_path):
    np.savez(tmp_path / "data.npz", images=pairs[0], coords=pairs[1])
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path / "data.npz", tmp_path / "run"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert {rank for rank, *_ in results} == {"0", "1"}
    assert results[0][1:] == results[1][1:]  # seed, weights, validation


def test_numbers_of_numpy_are_numbers(pairs, tmp_path):
    """What a search hands over: checkpoints and folders hold plain numbers."""
    words = {**SMALL, "hidden_dim": np.int64(32), "learning_rate": np.float64(1e-3)}
    words |= {"batch_size": np.int64(16), "max_epochs": 1, "checkpoint_dir": tmp_path / "run"}
    flat_pretrainer(**words).fit(*pairs)
    resumed = flat_pretrainer(**{**words, "max_epochs": 2}, resume="auto").fit(*pairs)
    folder = resumed.save_pretrained(tmp_path / "saved")
    expected = resumed.location_encoder_.transform(pairs[1])
    for source in (folder, tmp_path / "run" / "last.ckpt"):
        np.testing.assert_allclose(SatCLIPEncoder(source).fit_transform(pairs[1]), expected, 1e-5)


def test_one_callback_needs_no_list(pairs):
    stopping = EarlyStopping("val_loss", patience=1, min_delta=100.0)
    assert len(flat_pretrainer(**SMALL, callbacks=stopping).fit(*pairs).history_) == 2


def test_edits_of_a_private_map_have_features_of_their_own(pairs, tmp_path):
    np.save(tmp_path / "images.npy", pairs[0])
    private = np.load(tmp_path / "images.npy", mmap_mode="c")
    before = ArrayPairs(private, pairs[1]).fingerprint()
    private[:] = 7.0
    assert ArrayPairs(private, pairs[1]).fingerprint() != before


class Noisy(torch.utils.data.Dataset):
    """A user's own, which augments what it gives."""

    def __init__(self, images, coords):
        self.images, self.coords = images, coords

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        noise = np.random.default_rng().normal(0, 0.01, self.images[index].shape)
        return {"image": (self.images[index] + noise).astype(np.float32),
                "point": self.coords[index]}  # fmt: skip


def test_data_that_augment_themselves_can_be_gone_on_with(pairs, tmp_path):
    words = {**SMALL, "checkpoint_dir": tmp_path, "feature_cache": None}
    flat_pretrainer(**{**words, "max_epochs": 1}).fit(Noisy(*pairs))
    resumed = flat_pretrainer(**{**words, "max_epochs": 2}, resume="auto").fit(Noisy(*pairs))
    assert len(resumed.history_) == 2
    with pytest.raises(ValueError, match="data: "):
        flat_pretrainer(**words, resume="auto").fit(Noisy(pairs[0], pairs[1] + 0.5))


def test_good_images_are_read_once_beside_bad_ones(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path / "cache"))
    files = [tmp_path / f"{row}.tif" for row in range(24)]
    for path in files:
        write_tif(path, np.full((3, 8, 8), 9, np.uint16))
    files[3].write_bytes(b"no picture")
    from skgeo_embed.pretraining import files as reading

    inspected = []
    real = reading._inspect
    monkeypatch.setattr(reading, "_inspect", lambda file: inspected.append(file.name) or real(file))
    words = {**SMALL, "batch_size": 8, "max_epochs": 1, "on_bad_image": "skip"}
    for expected in (24, 1):
        inspected.clear()
        trained = flat_pretrainer(**words).fit(files, pairs[1][:24])
        assert len(inspected) == expected
        assert trained.bad_images_["file"].tolist() == [str(files[3])]


def test_an_index_does_not_lead_out_of_its_folder(pairs, tmp_path):
    write_tif(tmp_path / "secret.tif", np.full((3, 8, 8), 9, np.uint16))
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    table = pd.DataFrame({"fn": ["../../secret.tif"] * 24, "lon": 1.0, "lat": 2.0})
    table.to_csv(root / "index.csv", index=False)
    with pytest.raises(ImageError, match="there is no such file"):
        flat_pretrainer(**{**SMALL, "batch_size": 8}).fit(root)


def test_several_machines_need_a_seed(pairs, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with pytest.raises(ValueError, match="random_state"):
        flat_pretrainer(**{**SMALL, "random_state": None}, num_nodes=2).fit(*pairs)


def test_a_smooth_start_beside_waves_would_be_ignored(pairs):
    recipe = Recipe(spectral_decay=1.0, fine_waves={"count": 4, "longest_km": 9, "shortest_km": 5})
    with pytest.raises(ValueError, match=r"spectral_decay=1\.0 would be ignored"):
        SatCLIPPretrainer(recipe, verbose=0).fit(*pairs)
