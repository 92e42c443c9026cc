"""Columns that the learners of a spatial pipeline read."""

import numpy as np
import pandas as pd
import pytest

from skgeo_embed.prediction.learners import (
    LearnerColumns,
    first_columns,
    first_components,
    tree_columns,
)


@pytest.mark.parametrize("few", [first_columns, first_components])
def test_the_last_digits_of_an_encoder_do_not_lead_trees(few):
    """They depend on how many places are encoded at once, and in which order."""
    values = np.random.default_rng(0).normal(size=(50, 4))
    names = [f"encoder__{number}" for number in range(4)]
    table = pd.DataFrame(values, columns=names).assign(price=np.arange(50) + 1e-9)
    columns = LearnerColumns(tree_columns, few, 3).fit(table)
    other = table.copy()
    other[names] = np.nextafter(values, np.inf)
    found = columns.transform(table)
    np.testing.assert_array_equal(columns.transform(other), found)
    np.testing.assert_allclose(found[:, :3], few(values, 3), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[:, 3], table["price"])  # the table's own keep theirs
