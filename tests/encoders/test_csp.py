"""CSP and Space2Vec-grid give their authors' numbers."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import CSPEncoder
from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from tests.folding import Folding
from tests.third_party_recipe import SPACE2VEC, csp_checkpoint, reference, usual


@pytest.mark.parametrize("dataset", ["fmow", "inat_2018"])
@pytest.mark.parametrize(("scaling", "name"), [("degrees", "rawdeg"), ("unit", "normalised")])
def test_csp_against_the_authors_numbers(tmp_path, dataset, scaling, name):
    data = reference("csp")
    points = data["input_rawdeg_float32"].astype(np.float64)
    path = csp_checkpoint(tmp_path / "model.pth.tar", dataset)
    encoder = CSPEncoder(path, scaling=scaling).fit(points)
    module = encoder._encoder.engine.module
    expected = data[f"{dataset}__features_{name}"]
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(points)), expected, rtol=0, atol=2e-5)
    rows = usual(points)
    np.testing.assert_allclose(encoder.transform(points[rows]), expected[rows], rtol=0, atol=2e-5)
    assert CSPEncoder(path, layer="hidden").fit_transform(points).shape == (96, 512)


def test_space2vec_real_checkpoint_against_the_authors_numbers():
    data = reference("space2vec_grid_yfcc")
    points = data["input_float32"].astype(np.float64)
    encoder = CSPEncoder(SPACE2VEC).fit(points)
    np.testing.assert_allclose(
        encoder.transform(points), data["features_float32"], rtol=0, atol=1e-4
    )
    assert encoder.get_feature_names_out()[0] == "csp000"
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(points), encoder.transform(points))


def test_csp_errors(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"github\.com/gengchenmai/csp.*no licence"):
        CSPEncoder().fit()
    with pytest.raises(ModelNotFoundError, match="there is no "):
        CSPEncoder(tmp_path / "nothing").fit()
    path = tmp_path / "model.pth.tar"
    with pytest.raises(ModelFormatError, match="'rbf' encoder"):
        CSPEncoder(csp_checkpoint(path, "fmow", spa_enc_type="rbf")).fit()
    with pytest.raises(ModelFormatError, match="freq_init='random'"):
        CSPEncoder(csp_checkpoint(path, "fmow", freq_init="random")).fit()
    with pytest.raises(ModelFormatError, match="frequency_num=16, the first layer takes 128"):
        CSPEncoder(csp_checkpoint(path, "fmow", frequency_num=16)).fit()
    with pytest.raises(ModelFormatError, match="cannot be opened as an encoder for CSPEncoder"):
        CSPEncoder(csp_checkpoint(path, "fmow", spa_f_act="unknown")).fit()
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ModelFormatError, match="no tensors that begin with 'loc_enc"):
        CSPEncoder(path).fit()
    torch.save({"params": {"spa_enc_type": "gridcell"}, "state_dict": {}}, path)
    with pytest.raises(ModelFormatError, match=r"no tensors that begin with 'loc_enc"):
        CSPEncoder(path).fit()
    torch.save([1], path)
    with pytest.raises(ModelFormatError, match="holds a list"):
        CSPEncoder(path).fit()


class FoldingCSP(Folding, CSPEncoder):
    pass


@parametrize_with_checks([FoldingCSP(str(SPACE2VEC), dtype="float64")])
def test_common_checks(estimator, check):
    check(estimator)
