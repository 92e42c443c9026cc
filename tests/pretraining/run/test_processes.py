"""Two real processes (gloo, CPU) train as one does."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch

from tests.pretraining.common import small_pretrainer


@pytest.mark.slow
def test_two_processes_train_as_one(pairs, tmp_path):
    torch.manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
    params = {
        "recipe__dropout": 0.0,
        "recipe__augment": False,
        "recipe__coord_jitter": 0.0,
        "vision_tower": tower,
        "max_epochs": 2,
        "val_fraction": 0.09,  # 11 pairs, which two processes cannot share evenly
    }
    one = small_pretrainer(**params, trainer_options={"accelerator": "cpu"}).fit(*pairs)
    spawned = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_spawn"}
    two = small_pretrainer(**params, checkpoint_dir=tmp_path, trainer_options=spawned)
    two.fit(*pairs)
    pd.testing.assert_frame_equal(two.history_, one.history_, rtol=1e-4)
    for ours, theirs in zip(two.model_.parameters(), one.model_.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in two.model_.state_dict().items():
        torch.testing.assert_close(saved[f"model.{name}"], value)


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


@pytest.mark.slow
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
