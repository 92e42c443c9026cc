import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skgeo_embed import Recipe, SatCLIPPretrainer
from skgeo_embed.inspection import TrainingCurveDisplay

SMALL = SatCLIPPretrainer(
    Recipe(legendre_polys=4, embed_dim=8, hidden_dim=16),
    max_epochs=3,
    batch_size=16,
    random_state=0,
    verbose=0,
)


@pytest.fixture(scope="module")
def fitted(pairs):
    return clone(SMALL).fit(*pairs)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_curves_are_the_history(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted)
    loss, retrieval, error = display.axes_
    drawn = {line.get_label(): line.get_ydata() for line in loss.lines}
    np.testing.assert_array_equal(drawn["training"], fitted.history_["train_loss"])
    np.testing.assert_array_equal(drawn["validation"], fitted.history_["val_loss"])
    assert len(retrieval.lines) == 4
    np.testing.assert_array_equal(error.lines[0].get_ydata(), fitted.history_["val_median_km"])
    np.testing.assert_array_equal(error.lines[0].get_xdata(), [1, 2, 3])
    assert error.get_ylabel() == "median geolocation error (km)"
    assert "L = 4, batches of 16" in display.figure_.get_suptitle()


def test_own_axes(fitted):
    _, axes = plt.subplots(1, 3)
    display = TrainingCurveDisplay.from_estimator(fitted, axes=axes)
    assert list(display.axes_) == list(axes)
    assert display.figure_ is axes[0].figure
    with pytest.raises(ValueError, match="needs 3 axes, got 1"):
        TrainingCurveDisplay.from_estimator(fitted, axes=[axes[0]])


def test_epochs_without_a_validation(pairs):
    options = {"check_val_every_n_epoch": 2}
    pretrainer = clone(SMALL).set_params(max_epochs=4, trainer_options=options).fit(*pairs)
    loss, retrieval, error = TrainingCurveDisplay.from_estimator(pretrainer).axes_
    np.testing.assert_array_equal(error.lines[0].get_xdata(), [2, 4])
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), [1, 2, 3, 4])
    assert np.isfinite([line.get_ydata() for line in retrieval.lines]).all()
    assert retrieval.get_ylim()[1] > 0


def test_without_validation(pairs):
    pretrainer = clone(SMALL).set_params(val_fraction=0).fit(*pairs)
    display = TrainingCurveDisplay.from_estimator(pretrainer)
    assert len(display.axes_) == 1


def test_needs_a_fitted_pretrainer():
    with pytest.raises(NotFittedError):
        TrainingCurveDisplay.from_estimator(SatCLIPPretrainer())
