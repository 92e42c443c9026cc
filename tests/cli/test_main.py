import pytest

from skgeo_embed.cli import COMMANDS, main


def test_usage(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"skgeo-embed {name} " in capsys.readouterr().out


def test_unknown_commands(capsys):
    assert main(["encod"]) == 2
    assert "did you mean 'encode'?" in capsys.readouterr().err
    assert main(["paint-it-black"]) == 2
    assert "choose from encode, grid" in capsys.readouterr().err


def test_wrong_arguments(capsys):
    assert main(["encode", "only-one.csv"]) == 2
    assert "required: output" in capsys.readouterr().err
