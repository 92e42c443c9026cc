"""Checkpoints are written whole, hold no path, and are not overwritten by another run."""

import datetime
import os
import warnings
import zipfile
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import ClassVar

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from skgeo_embed import SatCLIPEncoder, SatCLIPImageEncoder, SatCLIPPretrainer
from skgeo_embed._errors import (
    ModelFormatError,
    TrainingWarning,
)
from skgeo_embed.pretraining.run.checkpoints import BestCheckpoint
from tests.pretraining.common import small_pretrainer, weights_of


def test_last_and_best_checkpoints(pairs, tmp_path):
    pretrainer = small_pretrainer(checkpoint_dir=tmp_path).fit(*pairs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert best["epoch"] == pretrainer.history_["val_loss"].idxmin()
    encoder = SatCLIPEncoder(tmp_path / "last.ckpt").fit()
    np.testing.assert_allclose(
        encoder.transform(pairs[1]), pretrainer.location_encoder_.transform(pairs[1]), atol=1e-6
    )


def test_a_finished_run_can_be_extended(pairs, tmp_path):
    small_pretrainer(max_epochs=2, checkpoint_dir=tmp_path).fit(*pairs)
    extended = small_pretrainer(checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    expected = small_pretrainer().fit(*pairs)
    assert torch.equal(weights_of(extended), weights_of(expected))
    assert extended.history_["epoch"].tolist() == [0, 1, 2, 3]
    again = small_pretrainer(checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert torch.equal(weights_of(again), weights_of(expected))
    from_path = small_pretrainer(resume=tmp_path / "last.ckpt").fit(*pairs)
    assert torch.equal(weights_of(from_path), weights_of(expected))


def test_runs_are_not_mixed_up(pairs, tmp_path):
    small_pretrainer(checkpoint_dir=tmp_path).fit(*pairs)
    before = (tmp_path / "last.ckpt").read_bytes()
    with pytest.raises(FileExistsError, match='would be overwritten; pass resume="auto"'):
        small_pretrainer(checkpoint_dir=tmp_path).fit(*pairs)
    other = {"batch_size": 32}
    with pytest.raises(ValueError, match=r"other settings \(batch_size: 16 then, 32 now\)"):
        small_pretrainer(**other, checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    with pytest.raises(ValueError, match='resume="auto" needs checkpoint_dir'):
        small_pretrainer(resume="auto").fit(*pairs)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        small_pretrainer(resume=tmp_path / "gone.ckpt").fit(*pairs)


def test_another_folders_run_does_not_overwrite_this_one(pairs, tmp_path):
    for name in "ab":
        small_pretrainer(max_epochs=1, checkpoint_dir=tmp_path / name).fit(*pairs)
    before = (tmp_path / "a" / "last.ckpt").read_bytes()
    with pytest.raises(FileExistsError, match="would be overwritten"):
        small_pretrainer(checkpoint_dir=tmp_path / "a", resume=tmp_path / "b" / "last.ckpt").fit(
            *pairs
        )
    assert (tmp_path / "a" / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", b"not a checkpoint"])
def test_damaged_checkpoints_are_named(pairs, tmp_path, damage):
    (tmp_path / "last.ckpt").write_bytes(damage)
    with pytest.raises(ModelFormatError, match=r"last\.ckpt"):
        small_pretrainer(checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert (tmp_path / "last.ckpt").read_bytes() == damage


class WithState(lightning.Callback):
    """A callback whose state is what it is given, from a number of calls on."""

    def __init__(self, value, calls=1):
        self.value, self.calls = value, calls

    def __deepcopy__(self, memo):
        return self

    def state_dict(self):
        self.calls -= 1
        return {"epoch": 1, "scores": [0.5, self.value if self.calls <= 0 else 0.25]}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.float64(0.5), "numpy.float64"),
        (np.zeros(2), "numpy.ndarray"),
        (datetime.date(2024, 1, 1), "datetime.date"),
        (PurePosixPath("a"), "pathlib.PurePosixPath"),
        (pd.DataFrame({"a": [1]}), r"pandas\.(core\.frame\.)?DataFrame"),
        (lambda: 1, "builtins.function"),
    ],
)
def test_states_that_no_run_could_resume_from_end_it_at_the_first_write(
    pairs, tmp_path, value, kind
):
    pretrainer = small_pretrainer(
        checkpoint_dir=tmp_path, trainer_options={"callbacks": WithState(value)}
    )
    message = rf"\['callbacks'\]\['WithState'\]\['scores'\]\[1\] is a {kind}.*`state_dict`"
    with pytest.raises(ValueError, match=message):
        pretrainer.fit(*pairs)
    assert list(tmp_path.iterdir()) == []
    assert len(pretrainer.history_) == 1  # it is fitted with what was reached


def test_a_state_that_becomes_so_leaves_the_checkpoint_before(pairs, tmp_path):
    callback = WithState(np.float64(0.5), calls=4)
    with pytest.raises(ValueError, match="no run could be resumed"):
        small_pretrainer(checkpoint_dir=tmp_path, trainer_options={"callbacks": callback}).fit(
            *pairs
        )
    resumed = small_pretrainer(checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert torch.equal(weights_of(resumed), weights_of(small_pretrainer().fit(*pairs)))


def test_resuming_from_a_state_of_an_earlier_version_says_what_to_do(pairs, tmp_path):
    small_pretrainer(max_epochs=1, checkpoint_dir=tmp_path).fit(*pairs)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    content["callbacks"]["Mine"] = {"best": np.float64(1)}
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(ModelFormatError, match="Start the run again") as raised:
        small_pretrainer(checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert "allow_pickle" not in str(raised.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_one_bit_of_a_checkpoint_is_noticed(pairs, tmp_path, share):
    small_pretrainer(checkpoint_dir=tmp_path).fit(*pairs)
    for path in (tmp_path / "last.ckpt", tmp_path / "best.ckpt"):
        content = bytearray(path.read_bytes())
        content[int(share * len(content))] ^= 4
        path.write_bytes(content)
    openings = [
        small_pretrainer(checkpoint_dir=tmp_path, resume="auto", max_epochs=5).fit,
        small_pretrainer(resume=tmp_path / "best.ckpt").fit,
        lambda *_: SatCLIPPretrainer.from_checkpoint(tmp_path / "last.ckpt"),
        lambda *_: SatCLIPEncoder(tmp_path / "last.ckpt").fit(),
        lambda *_: SatCLIPImageEncoder(tmp_path / "best.ckpt").fit(),
    ]
    for opening in openings:
        with pytest.raises(ModelFormatError, match=r"(last|best)\.ckpt .*checksum"):
            opening(*pairs)


def test_best_is_of_the_whole_history(tmp_path):
    saved = []
    trainer = SimpleNamespace(callbacks=[], save_checkpoint=saved.append)
    best = BestCheckpoint(tmp_path)
    for losses in ([3.0], [3.0, 1.0], [3.0, 1.0, 2.0]):  # a run that is resumed holds the rows
        best.on_train_epoch_end(trainer, SimpleNamespace(rows=[{"val_loss": x} for x in losses]))
    assert len(saved) == 2


def test_full_disk_keeps_the_checkpoint_before(pairs, tmp_path, monkeypatch):
    from skgeo_embed.pretraining.run import checkpoints

    write = checkpoints.write_atomically
    written = []

    def full_after_two(path, content):
        if path.suffix == ".ckpt":
            written.append(path.name)
            if len(written) > 2:
                raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(checkpoints, "write_atomically", full_after_two)
    with pytest.warns(TrainingWarning, match=r"No space left.*the previous one is kept"):
        pretrainer = small_pretrainer(checkpoint_dir=tmp_path).fit(*pairs)
    assert len(pretrainer.history_) == 4
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


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
        return small_pretrainer(
            **more,
            checkpoint_dir=folder,
            trainer_options={"callbacks": [own], "logger": "CSVLogger"},
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
