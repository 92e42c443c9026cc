"""Training keeps the best or the last good weights, and tells callbacks and loggers the truth."""

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from skgeo_embed import SatCLIPEncoder
from skgeo_embed._errors import TrainingDivergedError, TrainingWarning
from tests.pretraining.common import small_pretrainer, weights_of


def test_keep_best(pairs, tmp_path):
    words = {"recipe__learning_rate": 0.3}  # losses go up and down
    best = small_pretrainer(**words, max_epochs=6, keep="best", checkpoint_dir=tmp_path).fit(*pairs)
    last = small_pretrainer(**words, max_epochs=6).fit(*pairs)
    epoch = int(best.history_["val_loss"].idxmin())
    assert epoch < 5
    early = small_pretrainer(**words, max_epochs=epoch + 1).fit(*pairs)
    assert torch.equal(weights_of(best), weights_of(early))
    assert not torch.equal(weights_of(best), weights_of(last))
    again = best.set_params(resume="auto").fit(*pairs)  # from best.ckpt
    assert torch.equal(weights_of(again), weights_of(early))
    with pytest.raises(ValueError, match="needs a validation loss"):
        small_pretrainer(keep="best", val_fraction=0).fit(*pairs)


@pytest.mark.parametrize(
    ("options", "validated"),
    [
        ({"check_val_every_n_epoch": 2}, [1, 3]),
        ({"check_val_every_n_epoch": None, "val_check_interval": 4}, [1, 3]),
        ({"check_val_every_n_epoch": 3}, [2]),
        ({"val_check_interval": 3}, [0, 1, 2, 3]),
    ],
)
def test_history_and_best_know_which_epochs_were_validated(pairs, tmp_path, options, validated):
    words = {"recipe__learning_rate": 0.3, "trainer_options": options}
    run = small_pretrainer(**words, keep="best", checkpoint_dir=tmp_path).fit(*pairs)
    losses = run.history_["val_loss"]
    assert losses.dropna().index.tolist() == validated
    every = small_pretrainer(recipe__learning_rate=0.3).fit(*pairs).history_
    columns = [name for name in every if name.startswith("val_")]
    pd.testing.assert_frame_equal(
        run.history_.loc[validated, columns], every.loc[validated, columns]
    )
    best = int(losses.idxmin())
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["epoch"] == best
    early = small_pretrainer(recipe__learning_rate=0.3, max_epochs=best + 1).fit(*pairs)
    assert torch.equal(weights_of(run), weights_of(early))
    folder = run.save_pretrained(tmp_path / "saved")
    assert "NaN" not in (folder / "config.json").read_text()


@pytest.mark.parametrize(
    "options", [{"limit_val_batches": 0}, {"check_val_every_n_epoch": 9}, {"val_check_interval": 4}]
)
def test_the_best_of_epochs_that_were_never_validated(pairs, tmp_path, options):
    words = {"keep": "best", "checkpoint_dir": tmp_path, "trainer_options": options}
    with pytest.warns(TrainingWarning, match="no epoch ended with a validation"):
        run = small_pretrainer(**words).fit(*pairs)
    assert not (tmp_path / "best.ckpt").exists()
    assert torch.equal(weights_of(run), weights_of(small_pretrainer().fit(*pairs)))


def test_callbacks_are_not_used_up(pairs):
    stopping = EarlyStopping("val_loss", patience=1, min_delta=100.0)
    pretrainer = small_pretrainer(trainer_options={"callbacks": [stopping]})
    lengths = [len(pretrainer.fit(*pairs).history_) for _ in range(3)]
    assert lengths == [2, 2, 2]
    assert stopping.wait_count == 0


def test_one_callback_needs_no_list(pairs):
    stopping = EarlyStopping("val_loss", patience=1, min_delta=100.0)
    assert len(small_pretrainer(trainer_options={"callbacks": stopping}).fit(*pairs).history_) == 2


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
    pretrainer = small_pretrainer(vision_tower=Exploding(where))
    with pytest.raises(
        TrainingDivergedError, match=rf"{where} became (nan|inf) at step 8 \(epoch 1\).*rate 0.001"
    ):
        pretrainer.fit(*pairs)
    one_epoch = small_pretrainer(max_epochs=1, vision_tower=Exploding(where)).fit(*pairs)
    assert torch.equal(weights_of(pretrainer), weights_of(one_epoch))
    assert np.isfinite(pretrainer.location_encoder_.transform(pairs[1])).all()
    assert len(pretrainer.history_) == 1


def test_diverged_in_the_first_epoch(pairs, tmp_path):
    pretrainer = small_pretrainer(recipe__learning_rate=1e30)
    with pytest.raises(TrainingDivergedError, match="step 1 "):
        pretrainer.fit(*pairs)
    assert list(pretrainer.history_.columns)[:2] == ["epoch", "train_loss"]
    folder = pretrainer.save_pretrained(tmp_path / "kept")
    assert np.isfinite(SatCLIPEncoder(folder).fit_transform(pairs[1])).all()


def test_schedule(pairs):
    rates = small_pretrainer(
        max_epochs=6, recipe__warmup_epochs=2, recipe__lr_schedule="cosine"
    ).fit(*pairs)
    rates = rates.history_["learning_rate"]
    assert rates.idxmax() in (1, 2)
    assert rates.iloc[0] == pytest.approx(1e-3 * 7 / 12)
    assert rates.iloc[-1] == pytest.approx(0, abs=1e-9)
    assert (np.diff(rates.iloc[2:]) < 0).all()


def test_early_stopping_by_lightnings_name(pairs):
    stopping = EarlyStopping("val_loss", patience=1, min_delta=100.0)
    pretrainer = small_pretrainer(trainer_options={"callbacks": [stopping]}).fit(*pairs)
    assert len(pretrainer.history_) == 2


class Seen(lightning.Callback):
    """What callbacks are told at the end of each epoch."""

    def __init__(self):
        self.losses = []

    def __deepcopy__(self, memo):
        return self

    def on_train_epoch_end(self, trainer, *_):
        self.losses.append(float(trainer.callback_metrics["train_loss"]))


def test_loggers_and_callbacks_are_told_each_epochs_mean(pairs, tmp_path):
    seen, options = Seen(), {"recipe__auxiliary_weight": 1.0, "checkpoint_dir": tmp_path / "run"}
    run = small_pretrainer(
        **options, trainer_options={"logger": "CSVLogger", "callbacks": [seen]}
    ).fit(*pairs)
    np.testing.assert_allclose(seen.losses, run.history_["train_loss"], rtol=1e-5)
    (metrics,) = (tmp_path / "run").rglob("metrics.csv")
    for name in ("train_loss", "train_auxiliary"):
        logged = pd.read_csv(metrics)[name].dropna()
        np.testing.assert_allclose(logged, run.history_[name], rtol=1e-5)


def test_micro_batches_train_the_same(pairs):
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
    params = {
        "vision_tower": tower,
        "recipe__dropout": 0.0,
        "recipe__augment": False,
        "recipe__coord_jitter": 0.0,
    }
    whole = small_pretrainer(**params).fit(*pairs)
    pieces = small_pretrainer(**params, micro_batch_size=5).fit(*pairs)
    torch.testing.assert_close(weights_of(pieces), weights_of(whole), atol=1e-4, rtol=0)
    pd.testing.assert_frame_equal(pieces.history_, whole.history_, rtol=1e-3)
