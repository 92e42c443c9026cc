"""Nothing a run has reached is lost: killed, interrupted, diverged, or out of disk."""

import os
import signal
import subprocess
import sys
import warnings
import zipfile
from typing import ClassVar

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from skgeo_embed import SatCLIPEncoder
from skgeo_embed._errors import TrainingDivergedError, TrainingWarning
from tests.pretraining.flat import flat_pretrainer

SMALL = {
    "legendre_polys": 4,
    "embed_dim": 16,
    "hidden_dim": 32,
    "max_epochs": 4,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "random_state": 0,
    "verbose": 0,
}
STEPS_AN_EPOCH = 108 // 16


def weights_of(pretrainer):
    return torch.cat([p.flatten() for p in pretrainer.model_.parameters()])


class AtStep(lightning.Callback):
    """Do something after a step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            self.action(trainer)


CUT = [(9, 4), (20, 1), (13, 0), (3, 2)]  # the step of the end, steps between checkpoints
SCHEDULED = {**SMALL, "lr_schedule": "cosine", "warmup_epochs": 1}
SCRIPT = """
import os, signal, sys
import numpy as np
from tests.pretraining.test_run import CUT, SCHEDULED, AtStep
from tests.pretraining.flat import flat_pretrainer

data = np.load(sys.argv[1])
for step, every in CUT:
    child = os.fork()  # each a process of its own, which need not import anything again
    if not child:
        kill = AtStep(step, lambda trainer: os.kill(os.getpid(), signal.SIGKILL))
        flat_pretrainer(
            **SCHEDULED, checkpoint_dir=f"{sys.argv[2]}/{step}",
            checkpoint_every_n_steps=every or None, callbacks=[kill],
        ).fit(data["images"], data["coords"])
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
"""


@pytest.fixture(scope="module")
def killed(pairs, tmp_path_factory):
    """A folder of runs that were killed, by the step."""
    folder = tmp_path_factory.mktemp("killed")
    np.savez(folder / "data.npz", images=pairs[0], coords=pairs[1])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder / "data.npz", folder],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def uninterrupted(pairs):
    torch.set_num_threads(2)
    return flat_pretrainer(**SCHEDULED).fit(*pairs)


@pytest.mark.parametrize(("step", "every"), CUT)
def test_killed_and_resumed_ends_with_the_same_weights(pairs, killed, uninterrupted, step, every):
    torch.set_num_threads(2)
    steps = []
    seen = AtStep(step, lambda trainer: None)
    seen.on_train_batch_end = lambda trainer, *_: steps.append(trainer.global_step)
    resumed = flat_pretrainer(
        **SCHEDULED, checkpoint_every_n_steps=every or None, checkpoint_dir=killed / str(step),
        resume="auto", callbacks=[seen],
    ).fit(*pairs)  # fmt: skip
    assert 1 < steps[0] <= step + 1  # it went on, not from the start
    assert steps[-1] == 4 * STEPS_AN_EPOCH
    assert torch.equal(weights_of(resumed), weights_of(uninterrupted))
    columns = ["epoch", "val_loss", "val_top1", "temperature", "learning_rate"]
    pd.testing.assert_frame_equal(resumed.history_[columns], uninterrupted.history_[columns])


def test_last_and_best_checkpoints(pairs, tmp_path):
    pretrainer = flat_pretrainer(**SMALL, checkpoint_dir=tmp_path).fit(*pairs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert best["epoch"] == pretrainer.history_["val_loss"].idxmin()
    encoder = SatCLIPEncoder(tmp_path / "last.ckpt").fit()
    np.testing.assert_allclose(
        encoder.transform(pairs[1]), pretrainer.location_encoder_.transform(pairs[1]), atol=1e-6
    )


def test_a_finished_run_can_be_extended(pairs, tmp_path):
    flat_pretrainer(**{**SMALL, "max_epochs": 2}, checkpoint_dir=tmp_path).fit(*pairs)
    extended = flat_pretrainer(**SMALL, checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    expected = flat_pretrainer(**SMALL).fit(*pairs)
    assert torch.equal(weights_of(extended), weights_of(expected))
    assert extended.history_["epoch"].tolist() == [0, 1, 2, 3]
    again = flat_pretrainer(**SMALL, checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert torch.equal(weights_of(again), weights_of(expected))
    from_path = flat_pretrainer(**SMALL, resume=tmp_path / "last.ckpt").fit(*pairs)
    assert torch.equal(weights_of(from_path), weights_of(expected))


def test_runs_are_not_mixed_up(pairs, tmp_path):
    flat_pretrainer(**SMALL, checkpoint_dir=tmp_path).fit(*pairs)
    before = (tmp_path / "last.ckpt").read_bytes()
    with pytest.raises(FileExistsError, match='would be overwritten; pass resume="auto"'):
        flat_pretrainer(**SMALL, checkpoint_dir=tmp_path).fit(*pairs)
    other = {**SMALL, "batch_size": 32}
    with pytest.raises(ValueError, match=r"other settings \(batch_size: 16 then, 32 now\)"):
        flat_pretrainer(**other, checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    with pytest.raises(ValueError, match='resume="auto" needs checkpoint_dir'):
        flat_pretrainer(**SMALL, resume="auto").fit(*pairs)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        flat_pretrainer(**SMALL, resume=tmp_path / "gone.ckpt").fit(*pairs)


def test_ctrl_c_leaves_a_fitted_estimator(pairs, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    press = AtStep(8, lambda trainer: signal.raise_signal(signal.SIGINT))
    pretrainer = flat_pretrainer(**SMALL, callbacks=[press], checkpoint_dir=tmp_path)
    with pytest.warns(TrainingWarning, match=r"interrupted at step 8 of 24.*resume=.auto."):
        pretrainer.fit(*pairs)
    assert signal.getsignal(signal.SIGINT) is before
    assert pretrainer.location_encoder_.transform(pairs[1]).shape == (120, 16)
    resumed = flat_pretrainer(**SMALL, checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert torch.equal(weights_of(resumed), weights_of(flat_pretrainer(**SMALL).fit(*pairs)))


def test_keyboard_interrupt_at_once(pairs):
    def interrupt(trainer):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    pretrainer = flat_pretrainer(**SMALL, callbacks=[AtStep(8, interrupt)])
    with pytest.warns(TrainingWarning, match="interrupted at step 8"):
        pretrainer.fit(*pairs)
    assert signal.getsignal(signal.SIGINT) is before
    assert pretrainer.score(*pairs) >= 0


def test_sigterm_ends_the_process(pairs):
    stop = AtStep(8, lambda trainer: signal.raise_signal(signal.SIGTERM))
    pretrainer = flat_pretrainer(**SMALL, callbacks=[stop])
    with pytest.raises(SystemExit):
        pretrainer.fit(*pairs)
    assert pretrainer.score(*pairs) >= 0  # whoever catches it has the weights


class Exploding(torch.nn.Module):
    """A tower whose gradient or output is not finite from a step on."""

    def __init__(self, where):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(192, 16)
        self.where, self.count = where, 0

    def forward(self, image):
        embedding = self.linear(image.flatten(1))
        if self.training:
            self.count += 1
            if self.count > 8:
                if self.where == "loss":
                    return embedding * torch.nan
                embedding.register_hook(lambda gradient: gradient * torch.inf)
        return embedding


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_nan_stops_with_the_last_good_weights(pairs, where):
    pretrainer = flat_pretrainer(**SMALL, vision_tower=Exploding(where))
    with pytest.raises(
        TrainingDivergedError, match=rf"{where} became (nan|inf) at step 8 \(epoch 1\).*rate 0.001"
    ):
        pretrainer.fit(*pairs)
    one_epoch = flat_pretrainer(**{**SMALL, "max_epochs": 1}, vision_tower=Exploding(where)).fit(
        *pairs
    )
    assert torch.equal(weights_of(pretrainer), weights_of(one_epoch))
    assert np.isfinite(pretrainer.location_encoder_.transform(pairs[1])).all()
    assert len(pretrainer.history_) == 1


def test_full_disk_keeps_the_checkpoint_before(pairs, tmp_path, monkeypatch):
    from skgeo_embed.pretraining import checkpoints

    write = checkpoints.write_atomically
    written = []

    def full_after_two(path, content):
        if path.suffix == ".ckpt":
            written.append(path.name)
            if len(written) > 2:
                raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(checkpoints, "write_atomically", full_after_two)
    with pytest.warns(TrainingWarning, match=r"No space left.*the one before is untouched"):
        pretrainer = flat_pretrainer(**SMALL, checkpoint_dir=tmp_path).fit(*pairs)
    assert len(pretrainer.history_) == 4
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_schedule(pairs):
    params = {**SMALL, "max_epochs": 6}
    rates = flat_pretrainer(**params, warmup_epochs=2, lr_schedule="cosine").fit(*pairs)
    rates = rates.history_["learning_rate"]
    assert rates.idxmax() in (1, 2)
    assert rates.iloc[0] == pytest.approx(1e-3 * 7 / 12)
    assert rates.iloc[-1] == pytest.approx(0, abs=1e-9)
    assert (np.diff(rates.iloc[2:]) < 0).all()


def test_early_stopping_by_lightnings_name(pairs):
    stopping = EarlyStopping("val_loss", patience=1, min_delta=100.0)
    pretrainer = flat_pretrainer(**SMALL, callbacks=[stopping]).fit(*pairs)
    assert len(pretrainer.history_) == 2


def test_loggers_by_lightnings_names(pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flat_pretrainer(**SMALL, logger="CSVLogger", checkpoint_dir=tmp_path / "run").fit(*pairs)
    (metrics,) = (tmp_path / "run").rglob("metrics.csv")
    assert {"val_loss", "val_median_km"} <= set(pd.read_csv(metrics).columns)
    with pytest.raises(ValueError, match="is no logger of Lightning"):
        flat_pretrainer(**SMALL, logger="Nonsense").fit(*pairs)


class Seen(lightning.Callback):
    """What callbacks are told at the end of each epoch."""

    def __init__(self):
        self.losses = []

    def __deepcopy__(self, memo):
        return self

    def on_train_epoch_end(self, trainer, *_):
        self.losses.append(float(trainer.callback_metrics["train_loss"]))


def test_loggers_and_callbacks_are_told_each_epochs_mean(pairs, tmp_path):
    seen, options = Seen(), {"auxiliary_weight": 1.0, "checkpoint_dir": tmp_path / "run"}
    run = flat_pretrainer(**SMALL, **options, logger="CSVLogger", callbacks=[seen]).fit(*pairs)
    np.testing.assert_allclose(seen.losses, run.history_["train_loss"], rtol=1e-5)
    (metrics,) = (tmp_path / "run").rglob("metrics.csv")
    for name in ("train_loss", "train_auxiliary"):
        logged = pd.read_csv(metrics)[name].dropna()
        np.testing.assert_allclose(logged, run.history_[name], rtol=1e-5)


def test_micro_batches_train_the_same(pairs):
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
    params = {**SMALL, "vision_tower": tower, "dropout": 0.0, "augment": False, "coord_jitter": 0.0}
    whole = flat_pretrainer(**params).fit(*pairs)
    pieces = flat_pretrainer(**params, micro_batch_size=5).fit(*pairs)
    torch.testing.assert_close(weights_of(pieces), weights_of(whole), atol=1e-4, rtol=0)
    pd.testing.assert_frame_equal(pieces.history_, whole.history_, rtol=1e-3)


def test_half_precision_is_refused_where_coordinates_would_suffer(pairs):
    with pytest.raises(ValueError, match="would round the coordinates"):
        flat_pretrainer(**SMALL, precision="bf16-true").fit(*pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # no convolution: torch 2.13's on the CPU leaves bfloat16 gradients of 1 × 1 maps unset
        tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
        mixed = flat_pretrainer(**SMALL, precision="bf16-mixed", vision_tower=tower).fit(*pairs)
    assert mixed.history_["train_loss"].notna().all()


def _content(path):
    """Bytes of a file, or of what is packed in it."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as packed:
        return b"".join(map(packed.read, packed.namelist()))


class Noted(ModelCheckpoint):
    """A user's callback; what it was told is noted when the next epoch begins."""

    seen: ClassVar[list] = []

    def on_train_epoch_start(self, *_):
        state = (self.best_model_path, sorted(self.best_k_models), self.kth_best_model_path)
        Noted.seen.append(state)


def test_checkpoints_hold_no_path_and_can_be_moved(pairs, tmp_path):
    here, there = tmp_path / "here" / "run", tmp_path / "there" / "run"

    def run(folder, **more):
        own = Noted(dirpath=folder / "own", monitor="val_loss", save_top_k=2)
        return flat_pretrainer(
            **(SMALL | more), checkpoint_dir=folder, callbacks=[own], logger="CSVLogger"
        ).fit(*pairs)

    first = run(here, max_epochs=3)
    folder = first.save_pretrained(tmp_path / "saved", licence="MIT")
    SatCLIPEncoder(here / "last.ckpt").fit().save_pretrained(tmp_path / "again", licence="MIT")
    SatCLIPEncoder(folder).fit().save_pretrained(tmp_path / "thrice", licence="MIT")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".ckpt" for path in files) == 4
    assert [path for path in files if str(tmp_path).encode() in _content(path)] == []
    before = sorted(path.name for path in (here / "own").iterdir())
    there.parent.mkdir()
    here.rename(there)
    Noted.seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=TrainingWarning)
        resumed = run(there, resume="auto")
    best, kept, worst = Noted.seen[0]
    assert [os.path.relpath(path, there / "own") for path in kept] == before
    assert {best, worst} == set(kept)
    torch.testing.assert_close(weights_of(resumed), weights_of(run(tmp_path / "whole")))
    assert len(list((there / "own").iterdir())) == 2  # what was better has replaced what was not
    Noted.seen.clear()
    run(tmp_path / "elsewhere", resume=there / "last.ckpt", max_epochs=5)
    assert Noted.seen == [("", [], "")]  # no file of this folder
    assert len(list((tmp_path / "elsewhere" / "own").iterdir())) == 1
