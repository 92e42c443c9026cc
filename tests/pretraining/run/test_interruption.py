"""Runs that were killed or interrupted lose nothing."""

import os
import signal
import subprocess
import sys
import warnings
from types import SimpleNamespace

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from skgeo_embed._errors import TrainingWarning
from skgeo_embed.pretraining.run.interruption import Interruption
from tests.pretraining.common import small_pretrainer, weights_of

STEPS_AN_EPOCH = 108 // 16


class AtStep(lightning.Callback):
    """Do something after a step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            self.action(trainer)


CUT = [(9, 4), (20, 1), (13, 0), (3, 2)]  # the step of the end, steps between checkpoints


SCHEDULED = {"recipe__lr_schedule": "cosine", "recipe__warmup_epochs": 1}


SCRIPT = """
import os, signal, sys
import numpy as np
from tests.pretraining.common import small_pretrainer
from tests.pretraining.run.test_interruption import CUT, SCHEDULED, AtStep

data = np.load(sys.argv[1])
for step, every in CUT:
    child = os.fork()  # each a process of its own, which need not import anything again
    if not child:
        kill = AtStep(step, lambda trainer: os.kill(os.getpid(), signal.SIGKILL))
        small_pretrainer(
            **SCHEDULED, checkpoint_dir=f"{sys.argv[2]}/{step}",
            checkpoint_every_n_steps=every or None, trainer_options={"callbacks": [kill]},
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
    return small_pretrainer(**SCHEDULED).fit(*pairs)


@pytest.mark.parametrize(("step", "every"), CUT)
def test_killed_and_resumed_ends_with_the_same_weights(pairs, killed, uninterrupted, step, every):
    torch.set_num_threads(2)
    steps = []
    seen = AtStep(step, lambda trainer: None)
    seen.on_train_batch_end = lambda trainer, *_: steps.append(trainer.global_step)
    resumed = small_pretrainer(
        **SCHEDULED,
        checkpoint_every_n_steps=every or None,
        checkpoint_dir=killed / str(step),
        resume="auto",
        trainer_options={"callbacks": [seen]},
    ).fit(*pairs)
    assert 1 < steps[0] <= step + 1  # it went on, not from the start
    assert steps[-1] == 4 * STEPS_AN_EPOCH
    assert torch.equal(weights_of(resumed), weights_of(uninterrupted))
    columns = ["epoch", "val_loss", "val_top1", "temperature", "learning_rate"]
    pd.testing.assert_frame_equal(resumed.history_[columns], uninterrupted.history_[columns])


def test_ctrl_c_leaves_a_fitted_estimator(pairs, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    press = AtStep(8, lambda trainer: signal.raise_signal(signal.SIGINT))
    pretrainer = small_pretrainer(checkpoint_dir=tmp_path, trainer_options={"callbacks": [press]})
    with pytest.warns(TrainingWarning, match=r"interrupted at step 8 of 24.*resume=.auto."):
        pretrainer.fit(*pairs)
    assert signal.getsignal(signal.SIGINT) is before
    assert pretrainer.location_encoder_.transform(pairs[1]).shape == (120, 16)
    resumed = small_pretrainer(checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert torch.equal(weights_of(resumed), weights_of(small_pretrainer().fit(*pairs)))


def test_keyboard_interrupt_at_once(pairs):
    def interrupt(trainer):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    pretrainer = small_pretrainer(trainer_options={"callbacks": [AtStep(8, interrupt)]})
    with pytest.warns(TrainingWarning, match="interrupted at step 8"):
        pretrainer.fit(*pairs)
    assert signal.getsignal(signal.SIGINT) is before
    assert pretrainer.score(*pairs) >= 0


def test_sigterm_ends_the_process(pairs):
    stop = AtStep(8, lambda trainer: signal.raise_signal(signal.SIGTERM))
    pretrainer = small_pretrainer(trainer_options={"callbacks": [stop]})
    with pytest.raises(SystemExit):
        pretrainer.fit(*pairs)
    assert pretrainer.score(*pairs) >= 0  # whoever catches it has the weights


class StopAt(lightning.Callback):
    """Ask to stop in a hook after so many steps, as a timer or early stopping does."""

    def __init__(self, hook, step):
        self.step = step
        setattr(self, hook, self._stop)

    def __deepcopy__(self, memo):
        return self

    def _stop(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.should_stop = True


@pytest.mark.parametrize(
    ("hook", "step", "every", "options"),
    [
        ("on_train_batch_end", 9, None, {}),
        ("on_train_batch_end", 9, 1, {}),
        ("on_train_batch_end", 12, 1, {}),  # the last step of an epoch
        ("on_train_batch_start", 2, None, {}),  # in the first epoch
        ("on_train_epoch_start", 12, None, {}),
        ("on_validation_end", 8, None, {"val_check_interval": 2}),
        ("on_train_batch_end", 4, None, {"limit_train_batches": 3}),
        ("on_train_batch_end", 3, None, {"overfit_batches": 2}),
    ],
)
def test_a_run_that_a_callback_stops_is_continued_where_it_stopped(
    pairs, tmp_path, recwarn, hook, step, every, options
):
    words = {"checkpoint_every_n_steps": every, "checkpoint_dir": tmp_path}
    own = ModelCheckpoint(tmp_path / "own", filename="own", save_on_train_epoch_end=True)
    callbacks = [StopAt(hook, step), own]
    cut = small_pretrainer(**words, trainer_options={**options, "callbacks": callbacks})
    an_epoch = options.get("limit_train_batches", options.get("overfit_batches", STEPS_AN_EPOCH))
    assert len(cut.fit(*pairs).history_) == (step + (hook == "on_train_batch_start")) // an_epoch
    whole = small_pretrainer(trainer_options=options).fit(*pairs)
    again = small_pretrainer(trainer_options=options)
    for where in (
        {**words, "resume": "auto"},
        {"resume": tmp_path / "own" / "own.ckpt"},
    ):
        resumed = again.set_params(**where).fit(*pairs)
        assert torch.equal(weights_of(resumed), weights_of(whole))
        pd.testing.assert_frame_equal(resumed.history_, whole.history_)
        again = small_pretrainer(trainer_options=options)


def test_a_run_stopped_within_an_epoch_says_so(pairs, tmp_path):
    options = {"callbacks": [StopAt("on_train_batch_end", 9)]}
    with pytest.warns(TrainingWarning, match=r"stopped by a callback within.*step 9 of 24.*auto"):
        small_pretrainer(checkpoint_dir=tmp_path, trainer_options=options).fit(*pairs)


def test_a_timer_counts_the_time_of_one_job(pairs, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("lightning.pytorch.callbacks.timer.time.monotonic", lambda: now[0])
    steps = []

    def tick(trainer):
        now[0] += 1
        steps.append(trainer.global_step)

    clock = AtStep(0, tick)
    clock.on_train_batch_end = lambda trainer, *_: tick(trainer)
    for last in (9, 18):  # a second job of nine seconds does as much as the first
        with (
            pytest.warns(TrainingWarning, match="within an epoch|interrupted")
            if last == 9
            else (warnings.catch_warnings())
        ):
            small_pretrainer(
                checkpoint_dir=tmp_path,
                resume="auto",
                trainer_options={"max_time": {"seconds": 9}, "callbacks": [clock]},
            ).fit(*pairs)
        assert steps[-1] == last


def test_a_run_killed_at_an_epochs_end_has_its_history(pairs, tmp_path):
    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    callback = lightning.Callback()
    callback.on_validation_start = kill
    words = {"checkpoint_every_n_steps": 1, "checkpoint_dir": tmp_path}
    with pytest.raises(Killed):
        small_pretrainer(**words, trainer_options={"callbacks": [callback]}).fit(*pairs)
    resumed = small_pretrainer(**words, resume="auto").fit(*pairs)
    expected = small_pretrainer().fit(*pairs)
    pd.testing.assert_frame_equal(resumed.history_, expected.history_)
    assert torch.equal(weights_of(resumed), weights_of(expected))


def test_a_users_checkpoint_between_an_epochs_last_step_and_its_validation(pairs, tmp_path):
    own = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=6, save_top_k=-1)
    whole = small_pretrainer(trainer_options={"callbacks": [own]}).fit(*pairs).history_
    resumed = small_pretrainer(resume=tmp_path / "step=12.ckpt").fit(*pairs).history_
    assert resumed["epoch"].tolist() == [0, 1, 2, 3]
    assert resumed["val_loss"].isna().tolist() == [False, True, False, False]  # never measured
    pd.testing.assert_series_equal(resumed["train_loss"], whole["train_loss"])


@pytest.mark.parametrize("options", [{}, {"check_val_every_n_epoch": 2}])
def test_a_users_checkpoint_after_a_validation_counts_its_epoch_once(pairs, tmp_path, options):
    own = ModelCheckpoint(tmp_path, filename="{step}", save_on_train_epoch_end=False, save_top_k=-1)
    whole = small_pretrainer(trainer_options={**options, "callbacks": [own]}).fit(*pairs)
    resumed = small_pretrainer(resume=tmp_path / "step=12.ckpt", trainer_options=options)
    pd.testing.assert_frame_equal(resumed.fit(*pairs).history_, whole.history_)
    assert torch.equal(weights_of(resumed), weights_of(whole))


@pytest.mark.parametrize(
    "hook", ["on_before_backward", "on_before_optimizer_step", "on_train_epoch_start"]
)
def test_a_users_checkpoint_within_a_step_or_before_an_epoch_loses_nothing(pairs, tmp_path, hook):
    def save(trainer, *_):
        if trainer.global_step == 12:
            trainer.save_checkpoint(tmp_path / "own.ckpt")

    callback = lightning.Callback()
    setattr(callback, hook, save)
    # no batch norm: the forward pass of the step changes its statistics
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
    words = {"vision_tower": tower}
    whole = small_pretrainer(**words, trainer_options={"callbacks": [callback]}).fit(*pairs)
    resumed = small_pretrainer(**words, resume=tmp_path / "own.ckpt").fit(*pairs)
    pd.testing.assert_frame_equal(resumed.history_, whole.history_)
    assert torch.equal(weights_of(resumed), weights_of(whole))


def test_one_process_that_is_interrupted_stops_all(tmp_path):
    saved = []
    strategy = SimpleNamespace(reduce_boolean_decision=lambda asked, all: True)
    trainer = SimpleNamespace(
        world_size=2,
        strategy=strategy,
        should_stop=False,
        is_last_batch=False,
        save_checkpoint=saved.append,
    )
    other = Interruption(tmp_path / "last.ckpt")
    other.on_train_batch_end(trainer, None, None, None, 0)
    assert trainer.should_stop
    assert saved == [tmp_path / "last.ckpt"]
