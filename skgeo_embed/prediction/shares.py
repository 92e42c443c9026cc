"""Shares of an ensemble's learners: some near training places, others far from them."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

EQUAL_SHARES = 0.02  # strength of the penalty that draws shares towards equal ones
FAR = 10.0  # typical distances between places over which nearness falls by a factor e


class HeldOut(NamedTuple):
    """Rows held out in one kind of folds, and the candidates' predictions of them.

    Targets have shape (n, columns), weights (n,), nearness to the rows that each fold was fitted on
    (n,), and predictions (candidates, n, columns).
    """

    target: np.ndarray
    weights: np.ndarray | None
    nearness: np.ndarray
    predicted: np.ndarray


def nearness_of(distance: np.ndarray) -> np.ndarray:
    """Return 1 at a training place, towards 0 far away, of typical distances between places."""
    return np.exp(-distance / FAR)


def blend(shares: np.ndarray, predicted: np.ndarray, nearness: np.ndarray) -> np.ndarray:
    """Average the candidates' predictions (candidates, n, columns) by shares (2, candidates).

    The first row holds the shares at training places, the second those far away; between them
    shares change with nearness, (n,).
    """
    near, far = np.tensordot(shares, predicted, 1)
    return far + nearness[:, None] * (near - far)


def choose_shares(held_out: list[HeldOut]) -> np.ndarray:
    """Choose shares (2, candidates), none negative and 1 in sum, of least error in all folds.

    The errors of each kind of folds count relative to those of its best candidate. From one kind of
    folds both rows are the same.
    """
    n_rows, n_candidates = min(2, len(held_out)), len(held_out[0].predicted)
    gram = np.zeros((n_rows, n_candidates, n_rows, n_candidates))
    for rows in held_out:
        errors = rows.target - rows.predicted
        if rows.weights is not None:
            errors *= np.sqrt(rows.weights)[:, None]
        flat = errors.reshape(n_candidates, -1)
        best = max(np.einsum("ij,ij->i", flat, flat).min(), 1e-300)
        parts = [rows.nearness, 1 - rows.nearness] if n_rows == 2 else [np.ones(len(errors[0]))]
        for (i, one), (j, other) in product(enumerate(parts), repeat=2):
            scaled = errors * (one * other)[:, None]
            gram[i, :, j] += scaled.reshape(n_candidates, -1) @ flat.T / best
    return _least(gram + EQUAL_SHARES * np.eye(n_rows * n_candidates).reshape(gram.shape))


def _least(gram: np.ndarray) -> np.ndarray:
    """Return the shares of least product with a matrix (rows, candidates, rows, candidates)."""
    n_rows, n_candidates = gram.shape[:2]
    gram = gram.reshape(n_rows * n_candidates, -1)
    values, vectors = np.linalg.eigh(gram)
    root = np.sqrt(values.clip(0))[:, None] * vectors.T
    sum_to_one = 1e3 * np.sqrt(values.max())
    sums = np.kron(np.eye(n_rows), np.full(n_candidates, sum_to_one))
    wanted = np.append(np.zeros(len(gram)), np.full(n_rows, sum_to_one))
    shares, _ = nnls(np.vstack([root, sums]), wanted)
    shares = shares.reshape(n_rows, n_candidates)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares if n_rows == 2 else np.repeat(shares, 2, axis=0)
