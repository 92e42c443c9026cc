"""What every file format has in common: damage becomes one error, and weights are numbers."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError, SkgeoEmbedError

if TYPE_CHECKING:
    from torch import Tensor, nn

# what reading a file of another structure than expected raises, in Python, zip and torch
LARGEST_LOGIT_SCALE = 50.0
LARGEST_WEIGHT = 1e30  # products of larger ones are infinite in single precision
DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,  # RecursionError and NotImplementedError among them
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def parsing(where: str | Path, what: str) -> Iterator[None]:
    """Turn whatever a damaged or foreign file raises into one error that names it."""
    try:
        yield
    except ModelFormatError as error:
        if str(where) not in str(error):
            error.args = (f"{where}: {error}",)
        raise
    except SkgeoEmbedError:
        raise
    except DAMAGE as error:
        cause = (str(error) or type(error).__name__).splitlines()[0][:300]
        raise ModelFormatError(
            f"{where} cannot be opened as {what} ({type(error).__name__}: {cause}); it is damaged "
            "or something else. If it was downloaded or copied, fetch it again."
        ) from error


def named_path(model: str | os.PathLike[str]) -> Path:
    """Return the path that a model's name may be, or say that the system can have none such."""
    try:
        path = Path(model).expanduser()
        path.exists()  # a name that is too long is said here
    except (OSError, RuntimeError, ValueError) as error:
        shown = str(model) if len(str(model)) <= 80 else f"{str(model)[:60]}…"
        raise ModelNotFoundError(
            f"{shown!r} is neither a model's name nor a path: {str(error)[:80]}"
        ) from error
    return path


def check_finite(weights: Mapping[str, Tensor], where: str | Path) -> None:
    """Refuse weights that are NaN or infinite, whose outputs would be too."""
    for key, tensor in weights.items():
        if tensor.is_complex():
            raise ModelFormatError(f"{where}: {key!r} holds complex numbers, which no layer takes.")
        if tensor.is_floating_point() and not (tensor.abs() < LARGEST_WEIGHT).all():
            bad = int((~(tensor.abs() < LARGEST_WEIGHT)).sum())
            raise ModelFormatError(
                f"{where}: {bad} of {tensor.numel()} numbers of {key!r} are NaN or infinite, or "
                "as good as that; the training that wrote them diverged, or the file is damaged. "
                "Use another checkpoint of the run."
            )


def check_floating(weights: Mapping[str, Tensor]) -> None:
    """Refuse integers and booleans, which are no weights, whatever they could be converted to."""
    for key, tensor in weights.items():
        if not tensor.is_floating_point():
            raise ModelFormatError(f"{key!r} holds {tensor.dtype}; weights are floating point.")


def fill_network(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a network on the meta device its weights, which must be those that it has."""
    own = network.state_dict()
    unknown, missing = sorted(weights.keys() - own.keys()), sorted(own.keys() - weights.keys())
    if unknown:
        raise ModelFormatError(f"there are tensors that no such network has: {unknown[:4]}.")
    if missing:
        raise ModelFormatError(f"there is no {', no '.join(map(repr, missing[:4]))}.")
    check_floating(weights)
    for key, tensor in weights.items():
        if tensor.shape != own[key].shape:
            raise ModelFormatError(
                f"{key!r} has shape {tuple(tensor.shape)}; a network of the other tensors' sizes "
                f"has {tuple(own[key].shape)} there."
            )
    network.load_state_dict(weights, assign=True)


def checked_logit_scale(scale: Tensor, where: str | Path) -> float:
    """Return a logit scale, one finite number whose temperature is none of 0 and infinity."""
    if scale.numel() != 1:
        raise ModelFormatError(
            f"{where}: 'logit_scale' has shape {tuple(scale.shape)}, not one value."
        )
    check_finite({"logit_scale": scale}, where)
    if abs(float(scale)) > LARGEST_LOGIT_SCALE:
        raise ModelFormatError(
            f"{where}: 'logit_scale' is {float(scale):g}, a temperature of "
            f"exp({-float(scale):g}); the training that wrote it diverged."
        )
    return float(scale)


def network_sizes(weights: Mapping[str, Tensor], where: str | Path) -> dict[str, Any]:
    """Which location network the tensors ``nnet.*`` make, and its sizes, `dim_in` among them."""
    if "nnet.last_layer.weight" in weights:
        n_layers = len({k.split(".")[2] for k in weights if k.startswith("nnet.layers.")})
        name, first, last = "siren", "nnet.layers.0.weight", "nnet.last_layer.weight"
    elif "nnet.class_emb.weight" in weights:
        name, first, last, n_layers = "fcnet", "nnet.feats.0.weight", "nnet.class_emb.weight", 4
    elif "nnet.features.0.weight" in weights:
        linear = sorted({int(k.split(".")[2]) for k in weights if k.startswith("nnet.features.")})
        name, n_layers = "mlp", len(linear) - 2
        first, last = "nnet.features.0.weight", f"nnet.features.{linear[-1]}.weight"
    elif "nnet.weight" in weights:
        name, first, last, n_layers = "linear", "nnet.weight", "nnet.weight", 0
    else:
        raise ModelFormatError(f"{where}: unknown location network with keys {list(weights)[:4]}.")
    width, dim_in = weights[first].shape
    sizes = {"network": name, "dim_in": dim_in, "embed_dim": weights[last].shape[0]}
    hidden = weights[last].shape[1] if name == "siren" else width
    if hidden != width:
        sizes["sine_dim"] = width
    return {**sizes, "hidden_dim": hidden, "num_hidden_layers": n_layers}
