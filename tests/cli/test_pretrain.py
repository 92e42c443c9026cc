import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import skgeo_embed
from skgeo_embed import Recipe, SatCLIPEncoder, SatCLIPPretrainer
from skgeo_embed.cli import main
from skgeo_embed.pretraining.recipe import RECIPES

CONFIGS = Path(__file__).parents[2] / "examples" / "configs"
SMALL = """
recipe:
  legendre_polys: 4
  embed_dim: 8
  hidden_dim: 16
max_epochs: 2
batch_size: 16
random_state: 0
verbose: 0
"""


@pytest.fixture
def files(pairs, tmp_path):
    images, coords = pairs
    np.save(tmp_path / "images.npy", images)
    pd.DataFrame(coords, columns=["lon", "lat"]).to_csv(tmp_path / "coords.csv", index=False)
    (tmp_path / "config.yaml").write_text(SMALL)
    return tmp_path


def pretrain(files, *more):
    arguments = {
        "--config": files / "config.yaml",
        "--images": files / "images.npy",
        "--coords": files / "coords.csv",
        "--output": files / "out",
    }
    return main(["pretrain", *[str(x) for pair in arguments.items() for x in pair], *more])


def test_pretrain_writes_encoders(files, pairs, capsys):
    assert pretrain(files, "--licence", "CC-BY-4.0", "--recipe.hidden_dim", "24") == 0
    assert "open it with SatCLIPEncoder" in capsys.readouterr().out
    encoder = SatCLIPEncoder(files / "out").fit()
    settings = yaml.safe_load(SMALL)
    words = {**RECIPES["episodes"], **settings.pop("recipe"), "hidden_dim": 24}
    expected = SatCLIPPretrainer(Recipe(**words), **settings).fit(*pairs)
    np.testing.assert_allclose(
        encoder.transform(pairs[1]), expected.location_encoder_.transform(pairs[1]), atol=1e-6
    )
    assert encoder.encoder_info_["licence"] == "CC-BY-4.0"


def test_an_output_that_is_filled_during_the_run_stays(files, monkeypatch, capsys):
    """Two runs with one output: the second replaced what the first had trained."""
    fit = SatCLIPPretrainer.fit

    def and_then(self, *arguments):
        (files / "out").mkdir()
        (files / "out" / "config.json").write_text("mine")
        return fit(self, *arguments)

    monkeypatch.setattr(SatCLIPPretrainer, "fit", and_then)
    assert pretrain(files, "--max_epochs", "1") == 0
    assert [path.name for path in (files / "out").iterdir()] == ["config.json"]
    assert (files / "out" / "config.json").read_text() == "mine"
    assert "out has been filled in the meantime" in capsys.readouterr().out
    assert SatCLIPEncoder(files / "out-2", layer="embedding").fit().n_features_out == 8


def test_callbacks_by_lightnings_names(files, capsys):
    callbacks = (
        "[{class_path: lightning.pytorch.callbacks.EarlyStopping, "
        "init_args: {monitor: val_loss, patience: 1, min_delta: 100.0}}]"
    )
    arguments = ("--max_epochs", "9", "--callbacks", callbacks, "--verbose", "2")
    assert pretrain(files, *arguments) == 0
    assert capsys.readouterr().out.count("train_loss") == 2


def test_print_config_names_every_argument(files, capsys):
    assert pretrain(files, "--print_config") == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert set(SatCLIPPretrainer().get_params()) <= set(printed)
    assert set(Recipe().get_params()) == set(printed["recipe"])
    assert printed["recipe"]["hidden_dim"] == 16
    assert printed["recipe"]["learning_rate"] == 1e-3  # of the default recipe


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_example_configs_are_valid(config, capsys):
    arguments = ["--config", str(config), "--images", "a", "--output", "b", "--print_config"]
    assert main(["pretrain", *arguments]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["max_epochs"] == 500
    recipe = Recipe(**printed["recipe"])
    recipe.check()
    own = {key: printed[key] for key in SatCLIPPretrainer().get_params() if key != "recipe"}
    SatCLIPPretrainer(recipe, **own)._validate_params()
    published = {"embed_dim", "dropout", "temperature", "learning_rate", "auxiliary_weight"}
    assert {key: getattr(recipe, key) for key in published} == {
        key: getattr(Recipe(), key) for key in published
    }


def test_errors_have_no_traceback(files, capsys):
    (files / "out").mkdir()
    (files / "out" / "mine.txt").write_text("keep")
    assert pretrain(files) == 1
    error = capsys.readouterr().err
    assert error.startswith("skgeo-embed pretrain: error: --output")
    assert "Traceback" not in error
    (files / "out" / "mine.txt").unlink()
    (files / "coords.csv").write_text("x,y\n1,2\n")
    assert pretrain(files) == 1
    assert "needs the columns lon and lat; it has x, y" in capsys.readouterr().err
    assert main(["--debug", "pretrain", "--images", "gone", "--output", str(files / "new")]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert main(["pretrain", "--images", "a.npy", "--output", "b"]) == 2
    assert "needs --coords" in capsys.readouterr().err
    assert main(["pretrain", "--images", "a", "--coords", "c", "--output", "b"]) == 2
    assert "is only for a .npy file" in capsys.readouterr().err


def test_exit_codes(files, capsys, monkeypatch):
    assert main([]) == 2
    assert main(["pretrain", "--images", "a"]) == 2
    assert "output" in capsys.readouterr().err
    assert main(["--version"]) == 0
    assert skgeo_embed.__version__ in capsys.readouterr().out

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(SatCLIPPretrainer, "fit", interrupt)
    assert pretrain(files) == 130


def test_help_has_the_words_of_the_docstrings(capsys):
    assert main(["pretrain", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Pairs in a batch, over all processes" in shown


def test_the_command_is_installed():
    command = Path(sys.executable).with_name("skgeo-embed")
    shown = subprocess.run([command, "--version"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert skgeo_embed.__version__ in shown.stdout
