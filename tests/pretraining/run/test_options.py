"""Options of Lightning's trainer."""

import warnings

import pandas as pd
import pytest
import torch

from skgeo_embed import SatCLIPPretrainer
from skgeo_embed.pretraining.run import options as trainer_options
from tests.pretraining.common import small_pretrainer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": 3}, "use the argument max_epochs"),
        ({"accumulate_grad_batches": 3}, "use the argument micro_batch_size"),
        ({"precision": "16-true"}, "would round the coordinates"),
        ({"accelerator": "mps"}, "float64, which MPS does not have"),
        ({"logger": "mine"}, r"'logger'\] must be one of"),
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
