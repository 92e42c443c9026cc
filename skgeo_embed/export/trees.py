"""Trees of scikit-learn in a graph, with thresholds in double precision."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn._loss.link import LogLink
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from skgeo_embed.export.columns import Columns
from skgeo_embed.export.graph import DOUBLE, FLOAT, Graph

FORESTS = (ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor)
SINGLE_TREES = (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)
BOOSTED = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)


class Tree(NamedTuple):
    """Nodes of a tree, each an array (n_nodes,), and what leaves add to each target."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    is_leaf: np.ndarray
    value: np.ndarray  # (n_nodes, n_targets)


def forest(model: Any, columns: Columns) -> str:
    """Return means of the leaves of all trees: predictions (n, k), or probabilities."""
    graph = columns.graph
    trees = [one.tree_ for one in getattr(model, "estimators_", [model])]
    values = [_leaf_values(model, tree) for tree in trees]
    centre = values[0][0]  # onnxruntime rounds the sum to single precision: a small one loses less
    parts = [
        Tree(
            feature=tree.feature.clip(0),
            threshold=tree.threshold,
            left=tree.children_left.clip(0),
            right=tree.children_right.clip(0),
            missing_left=tree.missing_go_to_left,
            is_leaf=tree.children_left < 0,
            value=(value - centre) / len(trees),
        )
        for tree, value in zip(trees, values, strict=True)
    ]
    single = graph.Cast(graph.Cast(columns.numbers(), to=FLOAT), to=DOUBLE)  # as scikit-learn does
    return graph.Add(_sum_of_trees(graph, parts, single), centre[None])


def _leaf_values(model: Any, tree: Any) -> np.ndarray:
    if not hasattr(model, "classes_"):
        return tree.value[:, :, 0]
    if model.n_outputs_ > 1:
        raise TypeError(
            f"to_onnx cannot export a {type(model).__name__} of several targets; fit one for each."
        )
    return tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True)


def boosted(model: Any, columns: Columns) -> str:
    """Return predictions (n, 1), or probabilities (n, k), of histogram gradient boosting.

    Its own encoder of categories has been applied to the columns.
    """
    graph, numbers = columns.graph, columns.numbers()
    members = _Memberships(columns.width)
    trees = []
    n_targets = len(model._predictors[0])
    for predictors in model._predictors:
        for target, predictor in enumerate(predictors):
            nodes = predictor.nodes
            value = np.zeros((len(nodes), n_targets))
            value[:, target] = nodes["value"]
            feature, threshold = (
                nodes["feature_idx"].astype(np.int64),
                nodes["num_threshold"].copy(),
            )
            for row in np.flatnonzero((nodes["is_categorical"] > 0) & (nodes["is_leaf"] == 0)):
                feature[row] = members.column(nodes[row], predictor.raw_left_cat_bitsets)
                threshold[row] = 0.5
            trees.append(
                Tree(
                    feature=feature,
                    threshold=threshold,
                    left=nodes["left"],
                    right=nodes["right"],
                    missing_left=nodes["missing_go_to_left"],
                    is_leaf=nodes["is_leaf"] > 0,
                    value=value,
                )
            )
    margin = _margins(trees, columns.rounding, members.width)
    for tree in trees:
        tree.threshold[:] += margin[tree.feature]
    summed = _sum_of_trees(graph, trees, members.add_to(graph, columns, numbers))
    raw = graph.Add(summed, model._baseline_prediction.reshape(1, -1))
    if not hasattr(model, "classes_"):
        return graph.Exp(raw) if isinstance(model._loss.link, LogLink) else raw
    if n_targets > 1:
        return graph.Softmax(raw, axis=1)
    positive = graph.Sigmoid(raw)
    return graph.Concat(graph.Sub(1.0, positive), positive, axis=1)


def _margins(trees: list[Tree], rounding: np.ndarray, width: int) -> np.ndarray:
    """Return what to add to the thresholds of each column, (width,).

    Values of training rows are thresholds, and a row that lies on one goes to the left, also if a
    graph computes its feature a little larger.
    """
    size = np.zeros(width)
    for tree in trees:
        finite = ~tree.is_leaf & np.isfinite(tree.threshold)
        np.maximum.at(size, tree.feature[finite], np.abs(tree.threshold[finite]))
    size[: len(rounding)] *= rounding
    size[len(rounding) :] = 0  # memberships
    return size


class _Memberships:
    """Columns that are 0 where a category goes to the left of a split, and 1 where to the right.

    Trees of a graph compare numbers alone. Splits with the same categories share a column.
    """

    def __init__(self, n_columns: int) -> None:
        self._first = n_columns
        self._tables: dict[tuple[int, bytes], int] = {}

    @property
    def width(self) -> int:
        """Number of columns of the table with these at its end."""
        return self._first + len(self._tables)

    def column(self, node: np.void, bitsets: np.ndarray) -> int:
        """Return the number of the column for a split."""
        goes_left = np.unpackbits(bitsets[node["bitset_idx"]].view(np.uint8), bitorder="little")
        right = 1 - np.append(goes_left, node["missing_go_to_left"])  # the last: missing or unknown
        key = int(node["feature_idx"]), right.tobytes()
        return self._tables.setdefault(key, self._first + len(self._tables))

    def add_to(self, graph: Graph, columns: Columns, numbers: str) -> str:
        """Return the table with these columns at its end."""
        parts = [numbers]
        for feature in sorted({feature for feature, _ in self._tables}):
            code = columns.take([feature]).numbers()
            missing = graph.IsNaN(code)
            row = graph.Cast(graph.Where(missing, 256.0, code), to=7)
            tables = [
                np.frombuffer(table, dtype=np.uint8)
                for key, table in self._tables
                if key == feature
            ]
            found = graph.Gather(np.column_stack(tables).astype(np.float64), row, axis=0)
            parts.append(graph.Squeeze(found, np.array([1])))
        if len(parts) == 1:
            return numbers
        order = [0] * len(self._tables)
        by_feature = sorted(self._tables.items(), key=lambda item: item[0][0])
        for place, (_, column) in enumerate(by_feature):
            order[column - self._first] = self._first + place
        joined = graph.Concat(*parts, axis=1)
        return graph.Gather(joined, np.array([*range(self._first), *order]), axis=1)


def _sum_of_trees(graph: Graph, trees: list[Tree], numbers: str) -> str:
    """Add up the leaves (n, n_targets) that rows fall into."""
    from onnx.numpy_helper import from_array

    sizes = [len(tree.feature) for tree in trees]
    number = np.repeat(np.arange(len(trees)), sizes)
    node = np.concatenate([np.arange(size) for size in sizes])
    whole = Tree(*(np.concatenate(parts) for parts in zip(*trees, strict=True)))
    n_targets = whole.value.shape[1]
    counts = (whole.value != 0) & whole.is_leaf[:, None]
    counts[:, 0] |= whole.is_leaf & ~counts.any(axis=1)  # a leaf of a graph has a weight
    row, target = np.nonzero(counts)
    summed = graph.TreeEnsembleRegressor(
        numbers,
        n_targets=n_targets,
        aggregate_function="SUM",
        nodes_treeids=number.tolist(),
        nodes_nodeids=node.tolist(),
        nodes_featureids=whole.feature.astype(np.int64).tolist(),
        nodes_modes=np.where(whole.is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_values_as_tensor=from_array(
            np.where(whole.is_leaf, 0, whole.threshold).astype(np.float64), "thresholds"
        ),
        nodes_truenodeids=whole.left.astype(np.int64).tolist(),
        nodes_falsenodeids=whole.right.astype(np.int64).tolist(),
        nodes_missing_value_tracks_true=whole.missing_left.astype(np.int64).tolist(),
        target_treeids=number[row].tolist(),
        target_nodeids=node[row].tolist(),
        target_ids=target.tolist(),
        target_weights_as_tensor=from_array(whole.value[row, target], "weights"),
    )
    return graph.Cast(summed, to=DOUBLE)
