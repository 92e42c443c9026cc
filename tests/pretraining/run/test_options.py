"""Options of Lightning's trainer."""

import sys
import warnings

import lightning.pytorch as lightning
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, GradientAccumulationScheduler

from skgeo_embed import SatCLIPPretrainer
from skgeo_embed.pretraining.run import options as trainer_options
from tests.pretraining.common import small_pretrainer, weights_of


class OpenFile(lightning.Callback):
    """A callback that cannot be copied."""

    def __init__(self):
        self.file = sys.stdout.buffer


class Rows(lightning.Callback):
    """The rows of each epoch's batches."""

    def __init__(self):
        self.epochs = {}

    def __deepcopy__(self, memo):
        return self

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.epochs.setdefault(trainer.current_epoch, []).append(batch["row"].tolist())


@pytest.mark.parametrize(
    ("options", "count", "same"),
    [
        ({"limit_train_batches": 5}, 5, False),
        ({"limit_train_batches": 0.5}, 3, False),
        ({"overfit_batches": 2}, 2, True),
    ],
)
def test_epochs_of_fewer_batches(pairs, options, count, same):
    rows, full = Rows(), Rows()
    small_pretrainer(trainer_options={**options, "callbacks": rows}).fit(*pairs)
    small_pretrainer(trainer_options={"callbacks": full}).fit(*pairs)
    for epoch, batches in rows.epochs.items():
        assert batches == full.epochs[0 if same else epoch][:count]
    assert len(rows.epochs) == 4


def test_limits_of_an_epoch_belong_to_the_run(pairs, tmp_path):
    words = {"max_epochs": 1, "checkpoint_dir": tmp_path, "resume": "auto"}
    small_pretrainer(**words, trainer_options={"limit_train_batches": 3}).fit(*pairs)
    with pytest.raises(ValueError, match="limit_train_batches: 3 then, None now"):
        small_pretrainer(**words).fit(*pairs)


def test_options_that_have_defaults_can_be_set(pairs):
    options = {"num_sanity_val_steps": 1, "enable_model_summary": True}
    found = small_pretrainer(trainer_options=options).fit(*pairs)
    expected = small_pretrainer().fit(*pairs)
    pd.testing.assert_frame_equal(found.history_, expected.history_)
    assert torch.equal(weights_of(found), weights_of(expected))


def test_precision_may_be_a_number_where_gradients_are_clipped(pairs):
    weights = [
        weights_of(
            small_pretrainer(
                max_epochs=1, trainer_options={"precision": given, "gradient_clip_val": 1.0}
            ).fit(*pairs)
        )
        for given in (32, "32-true")
    ]
    assert torch.equal(*weights)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_in_mixed_precision(pairs, algorithm):
    # no convolution: see below
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
    weights = {
        clip: weights_of(
            small_pretrainer(
                vision_tower=tower,
                trainer_options={
                    "precision": "bf16-mixed",
                    "gradient_clip_val": clip,
                    "gradient_clip_algorithm": algorithm,
                },
            ).fit(*pairs)
        )
        for clip in (1e-9, 1e9, None)
    }
    assert not torch.allclose(weights[1e-9], weights[None])
    torch.testing.assert_close(weights[1e9], weights[None])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": 3}, "use the argument max_epochs"),
        ({"accumulate_grad_batches": 3}, "use the argument micro_batch_size"),
        ({"precision": "16-true"}, "would round the coordinates"),
        ({"precision": 64}, "images have 32 bits.*pass one of '32-true'"),  # torch fails within fit
        ({"accelerator": "mps"}, "float64, which MPS does not have"),
        ({"logger": "mine"}, r"'logger'\] must be one of"),
        ({"min_steps": 3}, "use the argument max_epochs"),
        ({"limit_train_batches": 0}, "nothing to train on"),
        ({"callbacks": GradientAccumulationScheduler({0: 2})}, "use the argument micro_batch_size"),
        ({"max_time_s": 3}, r"'max_time_s'\] is not an option of Lightning's Trainer.*'max_time'"),
        ({"callbacks": [EarlyStopping]}, "holds the class EarlyStopping; pass an object"),
        ({"callbacks": "EarlyStopping"}, "must be callbacks.*got 'EarlyStopping'"),
        ({"callbacks": [len]}, "holds .*len.*, which is not a callback"),
        (
            {"callbacks": [EarlyStopping("val_loss"), OpenFile()]},
            "OpenFile cannot be copied.*`setup`",
        ),
    ],
)
def test_options_that_cannot_be(pairs, options, message):
    with pytest.raises(ValueError, match=message):
        SatCLIPPretrainer(trainer_options=options, verbose=0).fit(*pairs)


def test_loggers_by_lightnings_names(pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_pretrainer(checkpoint_dir=tmp_path / "run", trainer_options={"logger": "CSVLogger"}).fit(
        *pairs
    )
    (metrics,) = (tmp_path / "run").rglob("metrics.csv")
    assert {"val_loss", "val_median_km"} <= set(pd.read_csv(metrics).columns)
    with pytest.raises(ValueError, match=r"'logger'\] must be one of"):
        small_pretrainer(trainer_options={"logger": "Nonsense"}).fit(*pairs)


def test_half_precision_is_refused_where_coordinates_would_suffer(pairs):
    with pytest.raises(ValueError, match="would round the coordinates"):
        small_pretrainer(trainer_options={"precision": "bf16-true"}).fit(*pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # no convolution: torch 2.13's on the CPU leaves bfloat16 gradients of 1 × 1 maps unset
        tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
        mixed = small_pretrainer(
            vision_tower=tower, trainer_options={"precision": "bf16-mixed"}
        ).fit(*pairs)
    assert mixed.history_["train_loss"].notna().all()


def test_a_mac_trains_on_its_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert trainer_options.checked_options(None, None)["accelerator"] == "cpu"
    with pytest.raises(ValueError, match="MPS"):
        trainer_options.checked_options({"accelerator": "gpu"}, None)


@pytest.mark.parametrize(("size", "count"), [(8, 3), (2, 4), (4, 4)])
def test_batches_are_shared_evenly(size, count):
    with pytest.raises(ValueError, match=f"batch_size={size} cannot be shared evenly by {count}"):
        trainer_options.check_shares(size, count)
    trainer_options.check_shares(2 * count, count)
