"""What error to expect at a dissimilarity index."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.isotonic import isotonic_regression
from sklearn.utils.validation import column_or_1d

PLACES_IN_A_BAND = 20  # at least
MOST_BANDS = 20


class ErrorProfile:
    """The error to expect at each dissimilarity index, from a cross-validation.

    :meth:`~skgeo_embed.AreaOfApplicability.error_profile` makes it. Places, each with the mean
    squared error and the mean index of its rows, are put into bands of equal size by their index.
    The root mean squared error of the bands is made to increase with the index, as in the error
    profiles of [1]_, and interpolated between the bands' medians.

    Parameters
    ----------
    index : ndarray of shape (n,)
        Dissimilarity index of the rows.
    errors : ndarray of shape (n,)
        Their errors.
    place : ndarray of shape (n,), int
        Number of the place of each row.

    Attributes
    ----------
    dissimilarity : ndarray of shape (n_bands,)
        Median index of each band.
    rmse : ndarray of shape (n_bands,)
        Root mean squared error there, in the units of the errors, never falling.
    largest : float
        Largest index of a place; no error is known beyond it.

    References
    ----------
    .. [1] H. Meyer, E. Pebesma (2021). "Predicting into unknown space? Estimating the area of
       applicability of spatial prediction models". Methods in Ecology and Evolution 12.
       doi 10.1111/2041-210X.13650.

    Examples
    --------
    >>> import numpy as np
    >>> from skgeo_embed.prediction.error_profile import ErrorProfile
    >>> index = np.linspace(0, 1, 100)
    >>> profile = ErrorProfile(index, np.where(index < 0.5, -1.0, 3.0), np.arange(100))
    >>> profile.predict([0.1, 0.9, 1.5]).round(2).tolist()
    [1.0, 3.0, nan]
    """

    def __init__(self, index: np.ndarray, errors: np.ndarray, place: np.ndarray) -> None:
        counts = np.bincount(place)
        index, squares = (np.bincount(place, some) / counts for some in (index, errors**2))
        order = np.lexsort([squares, index])
        n_bands = int(np.clip(len(order) // PLACES_IN_A_BAND, 1, MOST_BANDS))
        bands = np.array_split(order, n_bands)
        middles = [np.median(index[band]) for band in bands]
        self.dissimilarity, first = np.unique(middles, return_inverse=True)
        sizes = np.bincount(first, [len(band) for band in bands])
        means = np.bincount(first, [squares[band].sum() for band in bands]) / sizes
        self.rmse = np.sqrt(isotonic_regression(means, sample_weight=sizes))
        self.largest = float(index.max())

    def predict(self, index: Any) -> np.ndarray:
        """Return the root mean squared error to expect at dissimilarity indices.

        Parameters
        ----------
        index : array-like of shape (n,)
            As :meth:`~skgeo_embed.AreaOfApplicability.dissimilarity` returns it.

        Returns
        -------
        rmse : ndarray of shape (n,)
            In the units of the errors; NaN beyond the largest index of the cross-validation.
        """
        index = column_or_1d(index, dtype=np.float64)
        found = np.interp(index, self.dissimilarity, self.rmse)
        return np.where(index <= self.largest, found, np.nan)
