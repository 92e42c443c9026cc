import inspect

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils import estimator_html_repr

import skgeo_embed
from skgeo_embed import (
    ImageGeolocator,
    PositionalEncoder,
    ResidualInterpolator,
    SatCLIPEncoder,
    SatCLIPPretrainer,
    SpatialConformalRegressor,
    encode_grid,
    spatial_pipeline,
)
from skgeo_embed._html import facts_table
from skgeo_embed.models.hub import HubOptions


def test_facts_of_what_was_loaded():
    encoder = SatCLIPEncoder()
    assert "loaded model" not in encoder._repr_html_()
    shown = encoder.fit()._repr_html_()
    info = encoder.encoder_info_
    for text in ("earth-l20", "hidden", info["licence"], info["sha256"][:12]):
        assert f"<td>{text}" in shown
    assert encoder._repr_mimebundle_()["text/html"].count("loaded model") == 1


def test_facts_are_escaped():
    assert "<script>" not in facts_table({"name": "<script>alert(1)</script>"})
    assert facts_table({}) == ""


@pytest.mark.parametrize(
    "estimator", [SatCLIPEncoder(), PositionalEncoder(), ImageGeolocator(), SatCLIPPretrainer()]
)
def test_links_lead_to_our_documentation(estimator):
    name = type(estimator).__name__
    assert estimator._get_doc_link().endswith(f"/skgeo_embed.{name}.html")
    assert f"skgeo_embed.{name}.html" in estimator._repr_html_()


def test_pipelines_show_their_parts():
    shown = make_pipeline(SatCLIPEncoder(), Ridge())._repr_html_()
    assert "skgeo_embed.SatCLIPEncoder.html" in shown
    with config_context(display="text"):
        assert not hasattr(SatCLIPEncoder(), "_repr_html_")


def test_show_versions(capsys, monkeypatch):
    skgeo_embed.show_versions()
    shown = capsys.readouterr().out
    assert f"skgeo-embed {skgeo_embed.__version__}" in shown
    assert "torch 2." in shown
    assert "cpu, " in shown
    monkeypatch.setattr("skgeo_embed._versions._PACKAGES", (("x", ("no-such-package",)),))
    skgeo_embed.show_versions()
    assert "no-such-package -" in capsys.readouterr().out


TOKEN = "hf_Kx7secret"


def _around(encoder):
    """What people put around an encoder, by name."""
    pipeline = make_pipeline(encoder, Ridge())
    return {
        "itself": encoder,
        "pipeline": pipeline,
        "columns": ColumnTransformer([("places", encoder, ["lon", "lat"])]),
        "union": FeatureUnion([("places", encoder)]),
        "search": GridSearchCV(pipeline, {"ridge__alpha": [1.0, 2.0]}),
        "in a search": GridSearchCV(encoder, {"normalize": [True, False]}),
        "residuals": ResidualInterpolator(pipeline),
        "intervals": SpatialConformalRegressor(pipeline),
        "target": TransformedTargetRegressor(pipeline),
        "spatial pipeline": spatial_pipeline(encoder),
    }


WITH_TOKEN = [
    kind
    for kind in (getattr(skgeo_embed, name) for name in skgeo_embed.__all__)
    if hasattr(kind, "get_params") and "token" in inspect.signature(kind).parameters
]


def _shown(estimator):
    yield from (repr(estimator), str(estimator), estimator.__repr__(N_CHAR_MAX=10**6))
    yield from (estimator._repr_html_(), estimator_html_repr(estimator))
    yield from map(str, estimator._repr_mimebundle_().values())
    yield repr(estimator.get_params())


@pytest.mark.parametrize("token", [TOKEN, TOKEN.encode(), np.str_(TOKEN)])
@pytest.mark.parametrize("kind", WITH_TOKEN)
def test_no_token_is_shown(kind, token):
    estimator = kind("me/private", token=token)
    assert not [text for text in _shown(estimator) if TOKEN in text]
    assert "token=<hidden>" in repr(make_pipeline(estimator, Ridge()))


@pytest.mark.parametrize("changed_only", [True, False])
@pytest.mark.parametrize("where", _around(SatCLIPEncoder()))
def test_no_token_is_shown_of_what_is_inside(where, changed_only):
    with config_context(print_changed_only=changed_only):
        estimator = _around(SatCLIPEncoder("me/private", token=TOKEN))[where]
        assert not [text for text in _shown(estimator) if TOKEN in text]
        assert "token=<hidden>" in estimator.__repr__(N_CHAR_MAX=10**6)


@pytest.mark.parametrize("kind", WITH_TOKEN)
def test_a_token_is_stored_as_it_was_passed(kind):
    estimator = kind("me/private", token=TOKEN)
    pipeline = make_pipeline(estimator, Ridge())
    step = pipeline.steps[0][0]
    for one in (estimator, clone(estimator), clone(clone(pipeline))[0]):
        assert one.token is TOKEN
        assert one.get_params()["token"] == TOKEN
    assert pipeline.get_params()[f"{step}__token"] == TOKEN
    assert kind("x").set_params(**estimator.get_params()).token == TOKEN
    assert kind("x", token=True).get_params()["token"] is True


def test_no_token_in_errors():
    with pytest.raises(ValueError, match="Got <hidden> instead"):
        SatCLIPEncoder("me/private", token=TOKEN.encode()).fit()
    with pytest.raises(ValueError, match="Invalid parameter") as caught:
        SatCLIPEncoder("me/private", token=TOKEN).set_params(nothing=1)
    assert TOKEN not in str(caught.value)
    with pytest.raises(TypeError) as caught:
        encode_grid(make_pipeline(SatCLIPEncoder("x", token=TOKEN)), "x.npy")
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(HubOptions(token=TOKEN))


def test_show_versions_without_a_cache_folder(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path / "file" / "cache"))
    skgeo_embed.show_versions()
    assert "cache       cannot be used" in capsys.readouterr().out
