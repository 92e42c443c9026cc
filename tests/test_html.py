import pytest
from sklearn import config_context
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

import skgeo_embed
from skgeo_embed import ImageGeolocator, PositionalEncoder, SatCLIPEncoder, SatCLIPPretrainer
from skgeo_embed._html import facts_table


def test_facts_of_what_was_loaded():
    encoder = SatCLIPEncoder()
    assert "what was loaded" not in encoder._repr_html_()
    shown = encoder.fit()._repr_html_()
    info = encoder.encoder_info_
    for text in ("earth-l20", "hidden", info["licence"], info["sha256"][:12]):
        assert f"<td>{text}" in shown
    assert encoder._repr_mimebundle_()["text/html"].count("what was loaded") == 1


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
