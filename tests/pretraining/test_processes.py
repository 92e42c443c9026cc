"""Two real processes (gloo, CPU) train as one does."""

import pandas as pd
import torch

from tests.pretraining.flat import flat_pretrainer


def test_two_processes_train_as_one(pairs, tmp_path):
    torch.manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
    params = {
        "legendre_polys": 4,
        "embed_dim": 16,
        "hidden_dim": 32,
        "max_epochs": 2,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "val_fraction": 0.09,  # 11 pairs: they do not come out even
        "random_state": 0,
        "verbose": 0,
        "vision_tower": tower,
        "dropout": 0.0,
        "augment": False,
        "coord_jitter": 0.0,
        "accelerator": "cpu",
    }
    one = flat_pretrainer(**params).fit(*pairs)
    two = flat_pretrainer(**params, devices=2, strategy="ddp_spawn", checkpoint_dir=tmp_path).fit(
        *pairs
    )
    pd.testing.assert_frame_equal(two.history_, one.history_, rtol=1e-4)
    for ours, theirs in zip(two.model_.parameters(), one.model_.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in two.model_.state_dict().items():
        torch.testing.assert_close(saved[f"model.{name}"], value)
