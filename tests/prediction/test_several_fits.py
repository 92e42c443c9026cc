"""Lines that say how far a fit of several models is."""

import re

import numpy as np
import pytest
from joblib import delayed
from sklearn.linear_model import Ridge

from skgeo_embed import ResidualInterpolator, SpatialConformalRegressor, spatial_pipeline
from skgeo_embed.prediction import several_fits
from skgeo_embed.prediction.ensemble import SpatialEnsemble
from skgeo_embed.prediction.several_fits import Fit, run_fits


@pytest.fixture
def places():
    return np.random.RandomState(0).uniform([5, 45], [15, 55], (60, 2))


@pytest.mark.parametrize(
    ("model", "n_fits"),
    [
        (SpatialEnsemble([("one", Ridge()), ("other", Ridge(9.0))]), 14),  # 2 learners, 6 folds
        (ResidualInterpolator(Ridge()), 6),
        (SpatialConformalRegressor(Ridge()), 11),
    ],
    ids=["SpatialEnsemble", "ResidualInterpolator", "SpatialConformalRegressor"],
)
def test_a_line_after_each_fit_if_that_is_asked_for(places, model, n_fits, capsys):
    model.fit(places, places[:, 0])
    assert capsys.readouterr().out == ""
    model.set_params(verbose=1).fit(places, places[:, 0])
    lines = capsys.readouterr().out.splitlines()
    numbers = [re.match(rf"\[{type(model).__name__}\] fit (\d+) of (\d+) done", x) for x in lines]
    expected = [(number, n_fits) for number in range(1, n_fits + 1)]
    assert [(int(found[1]), int(found[2])) for found in numbers] == expected
    assert all("left" in line for line in lines[:-1])
    assert "left" not in lines[-1]


def test_the_time_left_grows_with_the_rows_that_are_left(monkeypatch, capsys):
    seconds = iter([0.0, 30.0, 90.0, 6960.0])
    monkeypatch.setattr(several_fits.time, "perf_counter", lambda: next(seconds))
    fits = [Fit(f"part {n}", n, delayed(abs)(-n)) for n in (1, 2, 300)]
    assert run_fits(SpatialEnsemble([], verbose=1), fits) == [1, 2, 300]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "[SpatialEnsemble] fit 1 of 3 done (part 1): 30.0 s, about 2 h 31 min left",
        "[SpatialEnsemble] fit 2 of 3 done (part 2): 1 min 30 s, about 2 h 30 min left",
        "[SpatialEnsemble] fit 3 of 3 done (part 300): 1 h 56 min",
    ]


def test_a_pipeline_hands_its_verbosity_to_its_steps():
    silent, told = spatial_pipeline(), spatial_pipeline(verbose=1)
    assert [silent.verbose, silent["features"].verbose, silent["model"].verbose] == [0, 0, 0]
    assert [told.verbose, told["features"].verbose, told["model"].verbose] == [1, 1, 1]
    assert spatial_pipeline(Ridge(), verbose=1)["model"].verbose == 1
