import numpy as np
from sklearn.utils.validation import validate_data

from skgeo_embed.places.reading import read_coordinates


class Folding:
    """Mixin that folds any numbers into longitude and latitude.

    With it scikit-learn's common checks, which feed tables of any width and range, reach the
    rest of an estimator.
    """

    def _read(self, source, *, reset):
        finite = "allow-nan" if self.on_invalid == "nan" else True
        X = validate_data(self, source.X, reset=reset, dtype=np.float64, ensure_all_finite=finite)
        mixed = np.column_stack([X.sum(axis=1), X @ np.arange(X.shape[1])])
        folded = np.column_stack([np.remainder(mixed[:, 0], 360), 90 * np.sin(mixed[:, 1])])
        return read_coordinates(folded, on_invalid=self.on_invalid)
