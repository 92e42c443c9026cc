"""Runs keep their seed and their data, and say which settings must match to resume them."""

import numpy as np
import pytest
import torch

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.pretraining.run import identity
from tests.pretraining.common import small_pretrainer, weights_of


def test_a_seedless_run_keeps_its_seed(pairs, tmp_path):
    seedless = {"random_state": None, "checkpoint_dir": tmp_path}
    first = small_pretrainer(**seedless, max_epochs=2).fit(*pairs)
    resumed = small_pretrainer(**seedless, resume="auto").fit(*pairs)
    assert resumed.run_["seed"] == first.run_["seed"]
    seeds = {small_pretrainer(random_state=None, max_epochs=1).fit(*pairs)
             .run_["seed"] for _ in range(2)}  # fmt: skip
    assert len(seeds) == 2
    # that seed from the start gives the same weights, so the same pairs were held out
    whole = small_pretrainer(random_state=0)
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


def test_several_machines_need_a_seed(pairs, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with pytest.raises(ValueError, match="random_state"):
        small_pretrainer(random_state=None, trainer_options={"num_nodes": 2}).fit(*pairs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 32}, "batch_size: 16 then, 32 now"),
        ({"recipe__learning_rate": 0.5}, r"learning_rate: 0\.001 then, 0\.5 now"),
        ({"random_state": 1}, "seed: "),
        ({"val_split": "blocks"}, "val_split: 'random' then"),
        ({"trainer_options": {"precision": "bf16-mixed"}}, "precision: "),
    ],
)
def test_what_must_match(pairs, tmp_path, change, message):
    small_pretrainer(max_epochs=1, checkpoint_dir=tmp_path).fit(*pairs)
    with pytest.raises(ValueError, match=message):
        small_pretrainer(**change, checkpoint_dir=tmp_path, resume="auto").fit(*pairs)


def test_other_data_is_another_run(pairs, tmp_path):
    small_pretrainer(max_epochs=1, checkpoint_dir=tmp_path).fit(*pairs)
    images, coords = pairs
    again = small_pretrainer(checkpoint_dir=tmp_path, resume="auto")
    with pytest.raises(ValueError, match="data: "):
        again.fit(images, coords + 0.5)
    with pytest.raises(ValueError, match="data: "):
        again.fit(images * 1.1, coords)


@pytest.mark.parametrize(
    "change",
    [
        {"micro_batch_size": 8},
        {"checkpoint_every_n_steps": 2},
        {"trainer_options": {"logger": "CSVLogger"}},
        {"verbose": 2},
        {"keep": "best"},
    ],
)
def test_what_may_change(pairs, tmp_path, change):
    small_pretrainer(max_epochs=1, checkpoint_dir=tmp_path).fit(*pairs)
    resumed = small_pretrainer(**change, max_epochs=2, checkpoint_dir=tmp_path, resume="auto").fit(
        *pairs
    )
    assert resumed.history_["epoch"].tolist() == [0, 1]


def test_an_older_run_is_compared_in_what_it_knows(pairs, tmp_path):
    small_pretrainer(max_epochs=1, checkpoint_dir=tmp_path).fit(*pairs)
    path = tmp_path / "last.ckpt"
    content = torch.load(path, weights_only=True)
    del content[identity.RUN_KEY]["val_split"]
    torch.save(content, path)
    resumed = small_pretrainer(max_epochs=2, checkpoint_dir=tmp_path, resume="auto").fit(*pairs)
    assert len(resumed.history_) == 2


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
    words = {"checkpoint_dir": tmp_path, "feature_cache": None}
    small_pretrainer(**words, max_epochs=1).fit(Noisy(*pairs))
    resumed = small_pretrainer(**words, max_epochs=2, resume="auto").fit(Noisy(*pairs))
    assert len(resumed.history_) == 2
    with pytest.raises(ValueError, match="data: "):
        small_pretrainer(**words, resume="auto").fit(Noisy(pairs[0], pairs[1] + 0.5))


def test_numbers_of_numpy_are_numbers(pairs, tmp_path):
    """What a search hands over: checkpoints and folders hold plain numbers."""
    words = {"recipe__hidden_dim": np.int64(32), "recipe__learning_rate": np.float64(1e-3)}
    words |= {"batch_size": np.int64(16), "checkpoint_dir": tmp_path / "run"}
    small_pretrainer(**words, max_epochs=1).fit(*pairs)
    resumed = small_pretrainer(**words, max_epochs=2, resume="auto").fit(*pairs)
    folder = resumed.save_pretrained(tmp_path / "saved")
    expected = resumed.location_encoder_.transform(pairs[1])
    for source in (folder, tmp_path / "run" / "last.ckpt"):
        np.testing.assert_allclose(SatCLIPEncoder(source).fit_transform(pairs[1]), expected, 1e-5)
