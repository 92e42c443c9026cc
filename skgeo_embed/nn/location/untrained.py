"""Untrained location encoders with the architecture of trained ones."""

from __future__ import annotations

from typing import Any

import torch

from skgeo_embed.nn.encodings.detailed import DetailedEncoding
from skgeo_embed.nn.location.encoder import LocationEncoder

SPREAD = 2.7  # of the scales of networks that components are distilled into
SEED = 0


def draw_anew(
    trained: LocationEncoder, spread: float = 1.0, *, spectral_decay: float = 0.0, **sizes: Any
) -> LocationEncoder:
    """Draw a network with the inputs of a trained one, from torch's random state.

    It keeps the feature grid and the fine waves, which were filled and drawn before training. The
    network that reads them is drawn as for a new encoder.

    Parameters
    ----------
    trained : LocationEncoder
        Gives the architecture and the tables of its encoding.
    spread : float, default=1.0
        See :meth:`LocationEncoder.draw_first_layer`; for networks with a feature grid or fine
        waves.
    spectral_decay : float, default=0.0
        For networks on harmonics alone, see :class:`LocationEncoder`.
    **sizes
        Values that replace those of the trained network's `config`.

    Returns
    -------
    network : LocationEncoder
        Without dropout.
    """
    config = {**trained.config, **sizes}
    made = LocationEncoder(**config, dropout=0.0, spectral_decay=spectral_decay)
    if not isinstance(trained.posenc, DetailedEncoding):
        return made
    made.posenc.load_state_dict(trained.posenc.state_dict())
    return made.draw_first_layer(spread=spread)


def untrained_twin(trained: LocationEncoder, spectral_decay: float = 0.0) -> LocationEncoder:
    """Draw the network of a trained encoder with the same weights every time.

    Torch's random state does not change.

    Raises
    ------
    ValueError
        If the feature grid was learned, so that its untrained values are unknown.
    """
    grid = trained.config.get("feature_grid") or {}
    if grid.get("storage") == "float32":
        raise ValueError(
            "untrained=True, but the feature grid of this encoder was learned (its storage is "
            '"float32"), and its values before training are unknown; use an encoder without such a '
            "grid."
        )
    spread = SPREAD if "sine_dim" in trained.config else 1.0
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(SEED)  # torch.manual_seed would seed the cards too
        made = draw_anew(trained, spread, spectral_decay=spectral_decay)
    if trained.config.get("content") is not None:
        _take_content(made, trained)
    return made.eval()


@torch.no_grad()
def _take_content(made: LocationEncoder, trained: LocationEncoder) -> None:
    """Copy the components of content, which were computed and not trained."""
    own: Any = made.nnet.layers[-1]  # type: ignore[index]
    theirs: Any = trained.nnet.layers[-1]  # type: ignore[index]
    rows = theirs.content_weight.any(dim=1)
    own.content_weight.copy_(theirs.content_weight)
    own.weight[rows] = theirs.weight[rows].float()
    own.bias[rows] = theirs.bias[rows].float()
