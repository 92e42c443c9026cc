"""The untrained twin of an encoder: the same every time, never taken for a trained one."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.models.registry import BUNDLED
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.pretraining.recipe import Recipe

POINTS = np.array([[7.83, 36.83], [-122.3, 38.5], [151.2, -33.9]])
pytestmark = pytest.mark.usefixtures("held_default")


@pytest.fixture(scope="module")
def twin():
    return SatCLIPEncoder(untrained=True).fit()


@pytest.mark.parametrize("model", BUNDLED)
def test_it_differs_by_its_weights_alone(model):
    """A twin of another shape or scale would say nothing of what training is worth."""
    trained = SatCLIPEncoder(model, layer="hidden").fit()
    twin = SatCLIPEncoder(model, layer="hidden", untrained=True).fit()
    assert twin.get_feature_names_out().tolist() == trained.get_feature_names_out().tolist()
    networks = [encoder._encoder.engine.module for encoder in (trained, twin)]
    assert networks[0].config == networks[1].config
    states = [network.state_dict() for network in networks]
    assert list(states[0]) == list(states[1])
    for key, values in states[0].items():
        same = torch.equal(values.float(), states[1][key].float())
        kept = key.startswith("posenc.") or key.endswith(".content_weight")
        assert same == kept, key  # tables of the encoding, and content, are not trained


def test_first_weights_fall_with_the_degree_as_they_did_before_training():
    """Without the decay that a folder states, the twin of a smooth network would be a rough one."""
    network = SatCLIPEncoder("bluemarble-l20", untrained=True).fit()._encoder.engine.module
    weight = network.nnet.layers[0].weight
    assert weight[:, 1:4].std() > 5 * weight[:, 361:].std()  # degrees 1 and 19 of decay 1


def test_the_recipe_of_a_folder_states_the_decay_too(tmp_path, small_location):
    """Folders of today keep the decay in the recipe, earlier ones beside the other settings."""
    from skgeo_embed.models.folder import write_folder

    def first_layer(name, training):
        weights = {f"location.{k}": v for k, v in small_location.state_dict().items()}
        config = {"location": small_location.config, "training": training}
        write_folder(tmp_path / name, config, weights, "card")
        twin = SatCLIPEncoder(tmp_path / name, untrained=True).fit()
        return twin._encoder.engine.module.nnet.layers[0].weight

    plain = first_layer("plain", {})
    earlier = first_layer("earlier", {"spectral_decay": 1.0})
    today = first_layer("today", {"recipe": {"spectral_decay": 1.0}})
    assert torch.equal(earlier, today)
    assert not torch.equal(plain, today)


def test_a_network_that_was_not_distilled_mixes_as_recipes_draw_it():
    """Scales of 1 / 2.7 to 2.7 are those of components; towers of a recipe begin with one."""
    recipe = Recipe(
        legendre_polys=6, hidden_dim=512, fine_waves={"count": 8, "longest_km": 9, "shortest_km": 5}
    )
    drawn = recipe.build_location()
    twin = SatCLIPEncoder(drawn, untrained=True).fit()._encoder.engine.module
    spreads = [
        network.nnet.layers[0].weight[:, :36].norm(dim=1).log().std().item()
        for network in (drawn, twin)
    ]
    assert spreads[1] == pytest.approx(spreads[0], rel=0.3)


@pytest.mark.slow
def test_same_weights_in_every_process_and_the_random_state_is_left_alone(twin):
    """Two processes of a search that drew their own networks would compare nothing."""
    code = (
        "import torch; torch.manual_seed(7); state = torch.get_rng_state()\n"
        "from skgeo_embed import SatCLIPEncoder\n"
        f"X = {POINTS.tolist()}\n"
        "print(SatCLIPEncoder(untrained=True).fit_transform(X).tobytes().hex())\n"
        "assert torch.equal(state, torch.get_rng_state())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    there = np.frombuffer(bytes.fromhex(run.stdout), dtype=np.float32).reshape(3, -1)
    np.testing.assert_allclose(there, twin.transform(POINTS), rtol=1e-5, atol=1e-6)


def test_trained_and_untrained_do_not_share_an_engine(held_default, twin):
    """They have one file, so that the file's hash alone would hand out the wrong network."""
    assert twin._encoder.engine is not held_default._encoder.engine
    assert clone(twin).fit()._encoder.engine is twin._encoder.engine
    assert not np.allclose(twin.transform(POINTS), held_default.transform(POINTS))


def test_it_travels_by_name(twin):
    """A pickle that opened the bundled name alone would come back trained."""
    data = pickle.dumps(twin)
    assert len(data) < 5000
    again = pickle.loads(data)
    assert again._encoder.engine is twin._encoder.engine
    assert again.encoder_info_ == twin.encoder_info_


def test_the_twin_of_a_module_travels_by_value(small_location):
    twin = SatCLIPEncoder(small_location, untrained=True).fit()
    again = pickle.loads(pickle.dumps(twin))
    np.testing.assert_array_equal(again.transform(POINTS), twin.transform(POINTS))
    torch.manual_seed(3)
    trained = SatCLIPEncoder(LocationEncoder(6, 8, 16)).fit()  # another draw of the architecture
    assert not np.allclose(trained.transform(POINTS), twin.transform(POINTS))


def test_it_is_a_value_of_a_search(twin):
    X = np.random.RandomState(0).uniform(-60, 60, (60, 2))
    search = GridSearchCV(
        Pipeline([("emb", SatCLIPEncoder()), ("reg", Ridge())]),
        {"emb__untrained": [False, True]},
        cv=3,
        error_score="raise",
    ).fit(X, X[:, 1])
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] != scores[1]


def test_it_says_that_it_is_untrained(held_default, twin):
    """The weights' licence and training data are claims about other weights."""
    assert "untrained" not in held_default.encoder_info_
    info = twin.encoder_info_
    assert info["untrained"] is True
    assert info["name"] == "earth-l20, untrained"
    assert info["trained_on"].startswith("nothing; the feature grid was filled from NASA")
    assert info["licence"] == held_default.encoder_info_["licence"]  # of the grid, which is kept
    without_grid = SatCLIPEncoder("bluemarble-l10", untrained=True).fit().encoder_info_
    assert without_grid["trained_on"] is without_grid["licence"] is None


def test_nothing_is_saved_of_it(twin, tmp_path):
    """A folder of random weights beside the scores of a training would be a false document."""
    with pytest.raises(ValueError, match="earth-l20, untrained: untrained weights are not saved"):
        twin.save_pretrained(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_what_has_no_twin(small_location):
    with pytest.raises(ValueError, match=r'no effect on layer="content".*layer="hidden"'):
        SatCLIPEncoder(layer="content", untrained=True).fit()

    class Own(LocationEncoder):
        pass

    with pytest.raises(TypeError, match=r"the Own that was passed runs code of its own"):
        SatCLIPEncoder(Own(6, 8, 16), untrained=True).fit()
    small_location.nnet.register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(TypeError, match="runs code of its own"):
        SatCLIPEncoder(small_location, untrained=True).fit()
    learned = LocationEncoder(
        6, 8, 16, feature_grid={"height": 3, "width": 4, "channels": 2, "storage": "float32"}
    )
    with pytest.raises(ValueError, match="the feature grid of this encoder was learned"):
        SatCLIPEncoder(learned, untrained=True).fit()
