"""Runs that were killed or interrupted lose nothing."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import pytest
import torch

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


def test_the_history_of_a_run_cut_in_an_epoch_is_whole(pairs, tmp_path):
    press = AtStep(8, lambda trainer: setattr(trainer, "should_stop", True))
    words = {"checkpoint_every_n_steps": 1, "checkpoint_dir": tmp_path}
    small_pretrainer(**words, trainer_options={"callbacks": [press]}).fit(*pairs)
    resumed = small_pretrainer(**words, resume="auto").fit(*pairs)
    expected = small_pretrainer().fit(*pairs)
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
