"""The pretrainer fits, scores, saves, and says what is wrong with its input."""

import logging
import pickle
import re
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import (
    Recipe,
    SatCLIPEncoder,
    SatCLIPImageEncoder,
    SatCLIPPretrainer,
)
from skgeo_embed._errors import (
    CoordinateError,
    ImageError,
    ModelFormatError,
)
from skgeo_embed.images.files import read_geotiff
from tests.pretraining.common import PairsDataset, small_pretrainer, weights_of, write_tif

small = partial(small_pretrainer, max_epochs=2)


def small_tower(dim_out=16, bands=3):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(bands * 64, dim_out))


@pytest.fixture(scope="module")
def fitted(pairs):
    return small(max_epochs=20, recipe__learning_rate=1e-3, recipe__dropout=0.0).fit(*pairs)


@parametrize_with_checks([SatCLIPPretrainer()])
def test_common_checks(estimator, check):
    check(estimator)


def test_learns_to_match(fitted, pairs):
    history = fitted.history_
    assert list(history.columns) == [
        "epoch",
        "train_loss",
        "val_loss",
        "val_top1",
        "val_top5",
        "val_place_top1",
        "val_place_top5",
        "val_median_km",
        "temperature",
        "learning_rate",
    ]
    last = history.iloc[-1]
    assert last["val_top1"] <= last["val_top5"]
    assert last["val_place_top1"] <= last["val_place_top5"]
    assert last["val_median_km"] < 0.7 * history["val_median_km"].iloc[0]
    assert history["epoch"].tolist() == list(range(20))
    assert history["train_loss"].iloc[-1] < 0.8 * history["train_loss"].iloc[0]
    chance = 1 / len(pairs[0])
    assert fitted.score(*pairs) > 5 * chance
    assert 0 < history["temperature"].iloc[-1] < 1


def test_fitted_encoders(fitted, pairs):
    images, coords = pairs
    assert isinstance(fitted.location_encoder_, SatCLIPEncoder)
    assert isinstance(fitted.image_encoder_, SatCLIPImageEncoder)
    assert fitted.location_encoder_.transform(coords).shape == (120, 16)
    assert fitted.image_encoder_.transform(images).shape == (120, 16)
    assert not fitted.model_.training


def test_score_is_top1_retrieval(fitted, pairs):
    images, coords = pairs
    rows = np.flatnonzero(coords[:, 1] > 0)[:20]
    unit = [
        encoder / np.linalg.norm(encoder, axis=1, keepdims=True)
        for encoder in (
            fitted.image_encoder_.transform(images[rows]),
            fitted.location_encoder_.transform(coords[rows]),
        )
    ]
    expected = np.mean((unit[0] @ unit[1].T).argmax(axis=1) == np.arange(20))
    assert fitted.score(images[rows], coords[rows]) == pytest.approx(expected)


def test_same_seed_gives_the_same_weights_and_leaves_torch_alone(pairs):
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    first = small().fit(*pairs)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    second = small().fit(*pairs)
    assert torch.equal(weights_of(first), weights_of(second))
    pd.testing.assert_frame_equal(first.history_, second.history_)
    other = small(random_state=1).fit(*pairs)
    assert not torch.allclose(weights_of(first), weights_of(other))
    # a user's module in the old global state is not reseeded either
    torch.random.set_rng_state(before)


def test_every_source_of_images_gives_the_same(pairs, tmp_path):
    images, coords = pairs
    expected = small().fit(images, coords)
    np.save(tmp_path / "images.npy", images)
    memmap = np.load(tmp_path / "images.npy", mmap_mode="r")
    frame = pd.DataFrame({"lat": coords[:, 1], "lon": coords[:, 0]})
    for source in ((memmap, frame), (torch.from_numpy(images), coords.tolist())):
        result = small().fit(*source)
        assert torch.equal(weights_of(result), weights_of(expected))
    dataset = small(vision_tower=small_tower())
    dataset.fit(PairsDataset(images.astype(np.float64), coords))
    assert dataset.score(images, coords) >= 0
    assert len(dataset.history_) == 2


def test_integer_images_are_scaled(pairs):
    images, coords = pairs
    digital = np.clip(images * 2000 + 4000, 0, 10000).astype(np.uint16)
    from_integers = small().fit(digital, coords)
    from_floats = small().fit(digital.astype(np.float32) / 10000, coords)
    torch.testing.assert_close(weights_of(from_integers), weights_of(from_floats))


def test_own_tower_is_copied_and_projected(pairs):
    tower = small_tower(dim_out=7)
    before = tower[1].weight.clone()
    pretrainer = small(vision_tower=tower).fit(*pairs)
    assert torch.equal(tower[1].weight, before)
    assert tower[1].weight.requires_grad
    assert not torch.equal(pretrainer.model_.visual.tower[1].weight, before)
    assert pretrainer.image_encoder_.transform(pairs[0]).shape == (120, 16)


def test_no_files_no_noise_at_verbose_0(pairs, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("lightning.pytorch").level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit(*pairs)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert logging.getLogger("lightning.pytorch").level == level


def test_progress(pairs, capfd):
    small(verbose=1).fit(*pairs)
    out, err = capfd.readouterr()
    assert re.search(r"Epoch 1.*train_loss.*", out + err, re.DOTALL)
    small(verbose=2).fit(*pairs)
    assert re.search(r"epoch 2/2: train_loss \d.*val_loss \d.*val_top1", capfd.readouterr().out)


def test_callbacks_and_loggers_reach_lightning(pairs, tmp_path):
    from lightning.pytorch import Callback
    from lightning.pytorch.loggers import CSVLogger

    class Counter(Callback):
        batches = 0

        def on_train_batch_end(self, *_):
            Counter.batches += 1  # the run has a copy of its own

    counter = Counter()
    checkpoint = ModelCheckpoint(dirpath=tmp_path / "checkpoints")
    small(
        trainer_options={"callbacks": [counter, checkpoint], "logger": CSVLogger(tmp_path / "logs")}
    ).fit(*pairs)
    assert counter.batches == 2 * (108 // 16)
    assert list((tmp_path / "checkpoints").glob("*.ckpt"))
    assert list((tmp_path / "logs").rglob("metrics.csv"))


def test_without_validation(pairs):
    pretrainer = small(val_fraction=0).fit(*pairs)
    assert list(pretrainer.history_.columns) == [
        "epoch",
        "train_loss",
        "temperature",
        "learning_rate",
    ]


@pytest.mark.parametrize("own_tower", [None, 16, 7])
def test_save_and_open(pairs, tmp_path, own_tower):
    images, coords = pairs
    tower = small_tower(own_tower) if own_tower else "small_cnn"
    pretrainer = small(vision_tower=tower).fit(images, coords)
    folder = pretrainer.save_pretrained(
        tmp_path / "mine", licence="CC-BY-4.0", trained_on="synthetic colours"
    )
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    encoder = SatCLIPEncoder(folder).fit(coords)
    np.testing.assert_array_equal(
        encoder.transform(coords), pretrainer.location_encoder_.transform(coords)
    )
    assert encoder.encoder_info_["licence"] == "CC-BY-4.0"
    assert encoder.encoder_info_["trained_on"] == "synthetic colours"
    card = (folder / "README.md").read_text()
    assert "license: cc-by-4.0" in card
    assert "| Trained on | synthetic colours |" in card
    assert "| Epochs | 2 |" in card
    expected = pretrainer.image_encoder_.transform(images)
    if own_tower is None:
        image_encoder = SatCLIPImageEncoder(folder).fit(images)
    else:
        with pytest.raises(ModelFormatError, match=r"Sequential.*vision_tower=module"):
            SatCLIPImageEncoder(folder).fit(images)
        with pytest.raises(ModelFormatError, match="do not fit the module"):
            SatCLIPImageEncoder(folder, vision_tower=small_tower(3)).fit(images)
        image_encoder = SatCLIPImageEncoder(folder, vision_tower=small_tower(own_tower)).fit()
    np.testing.assert_array_equal(image_encoder.transform(images), expected)


def test_saving_again_replaces_and_a_failure_keeps_the_old(pairs, tmp_path, monkeypatch, fitted):
    first = small().fit(*pairs)
    folder = first.save_pretrained(tmp_path / "mine")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("skgeo_embed._files.os.replace", full_disk)
        with pytest.raises(OSError, match="No space left"):
            fitted.save_pretrained(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    fitted.save_pretrained(folder)
    again = SatCLIPEncoder(folder).fit(pairs[1]).transform(pairs[1])
    np.testing.assert_array_equal(again, fitted.location_encoder_.transform(pairs[1]))


def test_pickle_and_clone(fitted, pairs):
    again = pickle.loads(pickle.dumps(fitted))
    assert again.score(*pairs) == fitted.score(*pairs)
    assert clone(fitted).get_params()["recipe__embed_dim"] == 16


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"images": np.zeros((120, 8, 8))}, r"shape \(120, 8, 8\).*images\[:, None\]"),
        ({"images": np.zeros((120, 32, 32, 3))}, r"transpose\(0, 3, 1, 2\)"),
        ({"images": np.zeros((120, 3, 8, 8), dtype="U3")}, "dtype <U3"),
        ({"images": np.zeros((0, 3, 8, 8))}, "an empty one"),
        ({"images": [np.zeros((3, 8, 8)), np.zeros((3, 9, 9))]}, "differ in size"),
    ],
)
def test_bad_images(pairs, change, expected):
    with pytest.raises(ImageError, match=expected):
        small().fit(change["images"], pairs[1])


@pytest.mark.parametrize(
    ("n_images", "n_coords", "params", "expected"),
    [
        (120, 119, {}, "120 images, 119 coordinates"),
        (2, 2, {}, "batch_size=16 is larger|at least 2"),
        (1, 1, {"val_fraction": 0}, r"1 pair\(s\) leave 1 for training"),
        (12, 12, {"batch_size": 2}, "leaves 1 for validation"),
        (120, 120, {"batch_size": 109}, "batch_size=109 is larger than the 108 training pairs"),
    ],
)
def test_bad_sizes(pairs, n_images, n_coords, params, expected):
    images, coords = pairs
    with pytest.raises(ValueError, match=expected):
        small(**params).fit(images[:n_images], coords[:n_coords])


def test_bad_pixels_and_coordinates(pairs):
    images, coords = pairs[0].copy(), pairs[1].copy()
    images[7, 0, 0, 0] = np.nan
    images[9, 0, 0, 0] = np.inf
    with pytest.raises(
        ImageError, match=r"2 of 120 images contain pixels that are NaN.*first: 7, 9"
    ):
        small().fit(images, coords)
    coords[3] = np.nan
    with pytest.raises(CoordinateError, match="row 3"):
        small().fit(pairs[0], coords)
    with pytest.raises(ValueError, match="coords is missing"):
        small().fit(pairs[0])


def test_bad_datasets(pairs):
    images, coords = pairs
    pretrainer = small()
    with pytest.raises(ValueError, match="omit coords"):
        pretrainer.fit(PairsDataset(images, coords), coords)
    with pytest.raises(TypeError, match="IterableDataset"):
        pretrainer.fit(torch.utils.data.IterableDataset())
    with pytest.raises(CoordinateError, match="outside longitude"):
        pretrainer.fit(PairsDataset(images, coords + 1000))
    with pytest.raises(ImageError, match="contains NaN"):
        pretrainer.fit(PairsDataset(images * np.nan, coords))
    with pytest.raises(ImageError, match=r"\(bands, height, width\)"):
        pretrainer.fit(PairsDataset(images[:, 0], coords))
    masked = np.ma.masked_greater(images, np.quantile(images, 0.99))
    with pytest.raises(ImageError, match="masked pixels"):
        pretrainer.fit(PairsDataset(masked, coords))
    with pytest.raises(CoordinateError, match="with NaN"):
        pretrainer.fit(PairsDataset(images, np.ma.masked_greater(coords, 78)))


@pytest.mark.parametrize(
    ("tower", "expected"),
    [
        ("resnet1000", "'resnet1000'"),
        (small_tower(bands=5), r"cannot take images of shape \(3, 8, 8\)"),
        (torch.nn.Conv2d(3, 4, 3), "returned shape"),
    ],
)
def test_bad_towers(pairs, tower, expected):
    with pytest.raises(ValueError, match=expected):
        small(vision_tower=tower).fit(*pairs)


def test_bad_parameters(pairs):
    with pytest.raises(ValueError, match="'val_fraction' parameter"):
        small(val_fraction=1.0).fit(*pairs)


def test_named_towers_from_scratch(pairs):
    images, coords = np.repeat(np.repeat(pairs[0][:40], 5, axis=2), 5, axis=3), pairs[1][:40]
    pretrainer = small(max_epochs=1, vision_tower={"architecture": "resnet18"})
    pretrainer.fit(images, coords)
    assert pretrainer.image_encoder_.transform(images).shape == (40, 16)
    with pytest.raises(ImageError, match="takes 224 × 224 pixels"):
        small(vision_tower={"architecture": "vit_small_patch16"}).fit(images, coords)


def test_location_tower_does_not_replace_both(pairs, tmp_path, fitted):
    folder = fitted.save_pretrained(tmp_path / "both", licence="My | own\nterms")
    card = (folder / "README.md").read_text()
    assert "license: other" in card
    assert "My \\| own terms" in card
    with pytest.raises(ValueError, match="holds an image tower too"):
        SatCLIPEncoder(folder).fit().save_pretrained(folder)
    assert SatCLIPImageEncoder(folder).fit(pairs[0])


@pytest.fixture(scope="module")
def paths(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.RandomState(0)
    for row, colour in enumerate(pairs[0][:, :, 0, 0]):
        pixels = 5000 + 2000 * colour[:, None, None] + rng.uniform(-50, 50, (3, 10, 10))
        write_tif(folder / f"{row:03d}.tif", pixels.astype(np.uint16))
    return sorted(folder.iterdir())


def test_score_takes_what_fit_takes(pairs, paths):
    words = {"max_epochs": 8, "crop_size": 8, "recipe__dropout": 0.0}
    trained = small(**words).fit(paths, pairs[1])
    cut = np.stack([read_geotiff(path) for path in paths])[:, :, 1:9, 1:9]
    assert trained.score(paths, pairs[1]) == trained.score(cut, pairs[1])
    assert trained.score(paths, pairs[1]) > 3 / 120


@pytest.mark.parametrize("kind", ["arrays", "paths"])
def test_recipes_in_a_grid_search(pairs, paths, kind):
    images = pairs[0] if kind == "arrays" else paths
    own = {"batch_size": 16, "random_state": 0, "verbose": 0}
    recipe = Recipe(legendre_polys=4, embed_dim=16, hidden_dim=32, learning_rate=1e-3)
    search = GridSearchCV(
        SatCLIPPretrainer(recipe, max_epochs=1, val_fraction=0, **own),
        {"recipe__temperature": [0.07, 0.5], "recipe__dropout": [0.0]},
        cv=KFold(2),
        error_score="raise",
    ).fit(images, pairs[1])
    assert search.best_estimator_.recipe.temperature == search.best_params_["recipe__temperature"]
    assert recipe.temperature == 0.07
    named = GridSearchCV(SatCLIPPretrainer(max_epochs=1, **own), {"recipe": ["satclip", recipe]},
                         cv=KFold(2), error_score="raise")  # fmt: skip
    named.fit(images, pairs[1])
    assert len(named.cv_results_["params"]) == 2
