"""Coverage is counted by group, block and distance, and drawn beside what was promised."""

import matplotlib as mpl
import numpy as np
import pytest
from scipy.stats import beta
from sklearn.dummy import DummyClassifier, DummyRegressor

from skgeo_embed import SpatialConformalClassifier, SpatialConformalRegressor
from skgeo_embed.inspection import CoverageDisplay, coverage_by

mpl.use("Agg")
RNG = np.random.default_rng(0)
PLACES = RNG.uniform([5, 45], [15, 55], (300, 2))
Y = RNG.normal(size=300)


def test_shares_of_groups_with_their_ranges():
    group = np.where(PLACES[:, 0] < 8, "west", "east")
    half = np.where(group == "west", 0.5, 2.0)
    table = coverage_by(Y, np.column_stack([-half, half]), group)
    assert list(table.index) == ["east", "west"]
    for name in table.index:
        rows = group == name
        inside = int((np.abs(Y[rows]) <= half[rows]).sum())
        assert table.rows[name] == rows.sum()
        assert table.coverage[name] == pytest.approx(inside / rows.sum())
        assert table["size"][name] == 2 * half[rows][0]
        low = beta.ppf(0.025, inside, rows.sum() - inside + 1)  # Clopper and Pearson
        assert table.low[name] == pytest.approx(low)
    (one,) = coverage_by(Y, np.column_stack([-half, half])).coverage
    assert one == pytest.approx((np.abs(Y) <= half).mean())


def test_by_block_and_by_distance():
    intervals = np.tile([-1.0, 1.0], (300, 1))
    blocks = coverage_by(Y, intervals, "block", coords=PLACES, block_size=5)
    assert blocks.rows.sum() == 300
    assert len(blocks) == 4
    for block in blocks.itertuples():
        near = (np.abs(PLACES - [block.lon, block.lat]) < 3.5).all(axis=1)
        assert near.sum() >= block.rows
    train = np.array([[5.0, 45.0]])
    bands = coverage_by(Y, intervals, "distance", coords=PLACES, train_coords=train)
    assert (np.diff(bands.distance_km) > 0).all()
    assert bands.distance_km.max() < 1350
    first = np.argsort(np.hypot((PLACES[:, 0] - 5) * np.cos(np.deg2rad(50)), PLACES[:, 1] - 45))
    assert bands.coverage.iloc[0] == pytest.approx((np.abs(Y[first[:30]]) <= 1).mean(), abs=0.1)


def test_sets_of_classes():
    sets = np.array([[True, False], [True, True], [False, True]])
    table = coverage_by(["a", "a", "a"], sets, classes=["a", "b"])
    assert table.coverage.item() == pytest.approx(2 / 3)
    assert table["size"].item() == pytest.approx(4 / 3)
    with pytest.raises(ValueError, match="sets of 2 classes need `classes`"):
        coverage_by(["a", "a", "a"], sets)


def test_what_is_missing_or_of_another_shape_is_refused():
    intervals = np.tile([-1.0, 1.0], (300, 1))
    with pytest.raises(ValueError, match='by="distance" needs coords and train_coords'):
        coverage_by(Y, intervals, "distance", coords=PLACES)
    with pytest.raises(ValueError, match="by must be"):
        coverage_by(Y, intervals, "country")
    with pytest.raises(ValueError, match=r"got shape \(300,\)"):
        coverage_by(Y, Y)
    intervals[7, 0] = np.nan
    with pytest.raises(ValueError, match="first: row 7"):
        coverage_by(Y, intervals)


@pytest.mark.parametrize("classes", [False, True])
def test_the_display_draws_what_the_tables_say(classes):
    known, new = slice(0, 200), slice(200, 300)
    if classes:
        y = np.where(Y > 0, "up", "down")
        model = SpatialConformalClassifier(DummyClassifier(strategy="prior"))
    else:
        y, model = Y, SpatialConformalRegressor(DummyRegressor(), confidence_level=0.8)
    model.fit(PLACES[known], y[known])
    display = CoverageDisplay.from_estimator(
        model,
        PLACES[new],
        y[new],
        train_coords=PLACES[known],
        groups=np.where(PLACES[new, 0] < 10, "west", "east"),
    )
    assert [ax.get_title(loc="left") for ax in display.axes_] == [
        "Coverage by block", "Coverage by distance", "Coverage by group"
    ]  # fmt: skip
    for ax, (kind, table) in zip(display.axes_, display.tables.items(), strict=True):
        drawn, promised = ax.lines[0].get_ydata(), ax.lines[-1].get_ydata()
        expected = (
            table.coverage
            if kind == "distance"
            else (table.nlargest(40, "rows").coverage.sort_values())
        )
        np.testing.assert_allclose(drawn, 100 * expected)
        assert promised[0] == 100 * model.confidence_level
