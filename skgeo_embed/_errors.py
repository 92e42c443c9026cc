"""Exceptions of skgeo_embed, each derived from the builtin that callers would catch."""

from __future__ import annotations

import sys
import warnings


class SkgeoEmbedError(Exception):
    """Base class of every error that skgeo_embed raises on purpose."""


class CoordinateError(SkgeoEmbedError, ValueError):
    """Longitudes or latitudes that cannot be read or lie outside their range."""


class UsageError(ValueError):
    """Arguments that cannot be used together or at all; a command then exits with code 2."""


class ImageError(SkgeoEmbedError, ValueError):
    """Images whose shape, type or values cannot be used."""


class ModelNotFoundError(SkgeoEmbedError, FileNotFoundError):
    """A model name, folder or file that does not exist."""

    # FileNotFoundError formats itself from errno; the message is all we carry.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ModelFormatError(SkgeoEmbedError, ValueError):
    """A model file whose content does not follow its format."""


class InvalidCoordinateWarning(UserWarning):
    """Rows left out (as NaN) because their coordinates are outside the valid range."""


class SwappedCoordinateWarning(InvalidCoordinateWarning):
    """Places in the sea that would be on land if longitude and latitude were exchanged."""


class ModelDownloadError(SkgeoEmbedError, ConnectionError):
    """A model file that could not be fetched, stored or verified."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ModelAccessError(SkgeoEmbedError, PermissionError):
    """A model that the hub refuses to give to this user."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class TrainingDivergedError(SkgeoEmbedError, ArithmeticError):
    """A loss or gradient that became NaN or infinite; the last good weights are kept."""


class TrainingWarning(UserWarning):
    """Training that was interrupted, or a checkpoint that could not be written."""


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the line of the user's code that led here, directly or through scikit-learn."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_internal(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_internal(module: str) -> bool:
    return module.partition(".")[0] in ("skgeo_embed", "sklearn", "contextlib", "torch", "joblib")
