"""Docstrings and constructors that encoders share read as if each were written in full."""

import inspect
import re

import pytest
from sklearn.base import clone

import skgeo_embed
from skgeo_embed.encoders.third_party import ThirdPartyEncoder

PUBLIC = [
    name
    for name in skgeo_embed.__all__
    if callable(getattr(skgeo_embed, name)) and not name.endswith(("Error", "Warning"))
]
ENCODERS = [name for name in skgeo_embed.__all__ if name.endswith("Encoder")]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_parameter_is_described_and_no_fragment_is_left(name):
    public = getattr(skgeo_embed, name)
    described = re.findall(r"^ *([\w, ]+)(?: : .+)?$", public.__doc__, flags=re.MULTILINE)
    names = {word for line in described for word in line.replace(" ", "").split(",")}
    assert set(inspect.signature(public).parameters) <= names
    assert not re.search(r"^ *\{\w+\}$", public.__doc__, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ENCODERS)
def test_documented_defaults_are_those_of_the_signature(name):
    encoder = getattr(skgeo_embed, name)
    for names, default in re.findall(r"^ *(.+) : .*default=(\S+)$", encoder.__doc__, re.MULTILINE):
        for parameter in names.split(", "):
            given = inspect.signature(encoder).parameters.get(parameter)
            if given is not None and "radius" not in parameter:
                assert default in (repr(given.default), f'"{given.default}"')


def test_inherited_constructors_keep_their_own_defaults():
    assert skgeo_embed.SINREncoder().model == "sinr"
    assert skgeo_embed.TTEEncoder().normalize is True
    assert skgeo_embed.GeoCLIPEncoder().normalize is False
    assert clone(skgeo_embed.TTEEncoder("other", normalize=False)).get_params()["model"] == "other"


def test_a_subclass_of_ones_own_may_have_more_parameters():
    class Mine(skgeo_embed.SINREncoder):
        def __init__(self, model="sinr", *, more=1):
            super().__init__(model)
            self.more = more

    assert Mine(more=2).get_params() == {"model": "sinr", "more": 2}
    assert Mine().normalize is False
    assert issubclass(Mine, ThirdPartyEncoder)
