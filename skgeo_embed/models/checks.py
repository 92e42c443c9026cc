"""Checks that all file formats share: damage becomes one error, and weights are finite numbers."""

from __future__ import annotations

import copy
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError, SkgeoEmbedError

if TYPE_CHECKING:
    from torch import Tensor, nn

LARGEST_LOGIT_SCALE = 50.0
LARGEST_REPEATED = 2**24  # bytes of a tensor that repeats (expands) the numbers in its file
LARGEST_WEIGHT = 1e30  # products of larger ones are infinite in single precision
READING_ERRORS = (  # what Python, zip and torch raise of a file of another structure than expected
    ArithmeticError,
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
def as_format_error(where: str | Path, what: str) -> Iterator[None]:
    """Turn what a damaged or foreign file raises while it is read into one error that names it."""
    try:
        yield
    except SkgeoEmbedError:
        raise
    except READING_ERRORS as error:
        cause = (str(error) or type(error).__name__).splitlines()[0][:400].rstrip(".")
        if isinstance(error, KeyError):
            cause = f"it has no {cause}"
        elif type(error) is not ValueError:
            cause = f"{type(error).__name__}: {cause}"
        raise ModelFormatError(
            f"{where} cannot be opened as {what} ({cause}); it is damaged or something else. If it "
            "was downloaded or copied, fetch it again."
        ) from error


def named_path(model: str | os.PathLike[str]) -> Path:
    """Return the path that a model's name may be; refuse a name that no path can have."""
    try:
        path = Path(model).expanduser()
        path.exists()  # refuses a name that is too long
    except (OSError, RuntimeError, ValueError) as error:
        shown = str(model) if len(str(model)) <= 80 else f"{str(model)[:60]}…"
        raise ModelNotFoundError(
            f"{shown!r} is neither a model's name nor a path: {str(error)[:80]}"
        ) from error
    return path


def check_finite(weights: Mapping[str, Tensor], where: str | Path) -> None:
    """Refuse weights that are NaN or infinite, since the outputs would be too."""
    for key, tensor in weights.items():
        if tensor.is_complex():
            raise ModelFormatError(f"{where}: {key!r} holds complex numbers; weights are real.")
        if tensor.is_floating_point() and not (tensor.abs() < LARGEST_WEIGHT).all():
            bad = int((~(tensor.abs() < LARGEST_WEIGHT)).sum())
            raise ModelFormatError(
                f"{where}: {bad} of {tensor.numel()} numbers of {key!r} are NaN or infinite, or "
                "too large to multiply; the training that wrote them diverged, or the file is "
                "damaged. Use another checkpoint of the run."
            )


def check_claims(content: Mapping[Any, Any], path: Path) -> None:
    """Refuse large tensors that repeat numbers which a torch file holds once.

    Such as ``torch.zeros(1).expand(10**6, 10**6)``: they take bytes in the file, and a copy of them
    all memory. Tensors in dicts inside of `content` are looked at, too.
    """
    from torch import Tensor

    for key, value in content.items():
        if isinstance(value, Mapping):
            check_claims(value, path)
        elif isinstance(value, Tensor) and not value.is_sparse:
            claimed, held = value.numel() * value.element_size(), value.untyped_storage().nbytes()
            if claimed > max(held, LARGEST_REPEATED):
                raise ModelFormatError(
                    f"{path} cannot be opened: its tensor {key!r} claims {claimed:,} bytes, and "
                    f"the file holds {held:,} of them; save it again after tensor.clone()."
                )


def check_zip(path: Path) -> None:
    """Compare what a zip file of torch holds with its checksums, which torch does not.

    Raises
    ------
    ValueError
        If a bit of it is not what was written, or if it is compressed: torch compresses nothing,
        and a megabyte might become a gigabyte.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename} in it is compressed, which torch never does")
            if entry.CRC:  # 0 if whoever wrote the file had switched check sums off
                _read_through(archive, entry)


def _read_through(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    try:
        with archive.open(entry) as stream:
            while stream.read(2**20):
                pass
    except zipfile.BadZipFile as error:
        raise ValueError(f"{entry.filename} in it does not match its checksum") from error


def check_output(network: nn.Module, outputs: Callable[[nn.Module], Any], where: Any) -> None:
    """Run a network in single precision, and raise if its output is not finite.

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    outputs : callable
        Runs it and returns its tensors.
    where : str or path-like
        Its file, for the error.
    """
    import torch

    if any(t.is_floating_point() and t.dtype != torch.float32 for t in network.parameters()):
        network = copy.deepcopy(network).float()
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        finite = all(bool(tensor.isfinite().all()) for tensor in outputs(network))
    network.train(was_training)
    if not finite:
        raise ModelFormatError(
            f"{where}: its weights are finite numbers, but so large that what is computed with "
            "them in single precision is NaN or infinite; the training that wrote them diverged, "
            "or the file is damaged. Use another checkpoint of the run, or fetch it again."
        )


def check_floating(weights: Mapping[str, Tensor]) -> None:
    """Refuse integers and booleans, which would be converted without a word."""
    for key, tensor in weights.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{key!r} holds {tensor.dtype}; weights are floating point")


def fill_network(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a network on the meta device its weights, which must be exactly those it expects.

    Raises
    ------
    ValueError
        If a tensor is unknown, missing, of another shape or no floating-point number.
    """
    own = network.state_dict()
    unknown, missing = sorted(weights.keys() - own.keys()), sorted(own.keys() - weights.keys())
    if unknown:
        raise ValueError(f"it has tensors that this network does not have: {unknown[:4]}")
    if missing:
        raise ValueError(f"these tensors are missing: {missing[:4]}")
    check_floating(weights)
    for key, tensor in weights.items():
        if tensor.shape != own[key].shape:
            raise ValueError(
                f"{key!r} has shape {tuple(tensor.shape)}; the sizes of the other tensors ask for "
                f"{tuple(own[key].shape)}"
            )
    network.load_state_dict(weights, assign=True)


def checked_logit_scale(scale: Tensor, where: str | Path) -> float:
    """Return a logit scale: one finite number with a temperature that is neither 0 nor infinite."""
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
    """Tell which location network the tensors ``nnet.*`` make, and its sizes with `dim_in`."""
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
