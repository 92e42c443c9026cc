"""The location encoder: a positional encoding and a network on top of it."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.encodings.detailed import DetailedEncoding
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.nn.encodings.fine_waves import FineWaves
from skgeo_embed.nn.encodings.positional import make_encoding
from skgeo_embed.nn.location.networks import (
    MixedComponents,
    SirenNet,
    fewer_components,
    make_network,
)

Layer = Literal["embedding", "hidden", "content"]


class EncodedNetwork(nn.Module):
    """A positional encoding and a network on top of it.

    Parameters
    ----------
    posenc : torch.nn.Module
        Maps (n, 2) degrees in float64 to features.
    nnet : torch.nn.Module
        Maps features to an embedding; it may have a `hidden` method.
    config : dict
        Facts, `embed_dim` and, where there is a hidden layer, `hidden_dim` among them;
        `hidden_scale`, where there is one, is what the hidden layer is multiplied by when it is
        the output.
    """

    def __init__(self, posenc: nn.Module, nnet: nn.Module, config: dict[str, Any]) -> None:
        super().__init__()
        self.posenc = posenc
        self.nnet = nnet
        self.config = config
        self.hidden_scale = float(config.get("hidden_scale", 1.0))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, and of the output."""
        return next(self.nnet.parameters()).dtype

    def output_dim(self, layer: Layer) -> int:
        """Columns of the "embedding" or of the last "hidden" layer."""
        if layer == "content":
            raise ValueError("content columns are a ContentNetwork, not a layer of this network")
        if layer == "embedding":
            return int(self.config["embed_dim"])
        if not hasattr(self.nnet, "hidden"):
            raise ValueError(
                f'a {type(self.nnet).__name__} network has no hidden layer; use layer="embedding"'
            )
        return int(self.config["hidden_dim"])

    def forward(self, lonlat: Tensor, layer: Layer = "embedding") -> Tensor:
        """Encode (n, 2) degrees, longitude first, to (n, d)."""
        return self.run_network(encode_positions(self.posenc, lonlat, self.dtype), layer)

    def run_network(self, features: Tensor, layer: Layer = "embedding") -> Tensor:
        """Map encoded positions to (n, d)."""
        self.output_dim(layer)  # says whether there is such a layer
        if layer == "embedding":
            return self.nnet(features)
        return self.nnet.hidden(features) * self.hidden_scale  # type: ignore[operator]

    def fewer(self, values: Tensor, layer: Layer, columns: int | None) -> Tensor:
        """Make so many columns of a layer's output: the first, or those of as many components."""
        mixed = isinstance(self.nnet, SirenNet) and isinstance(
            self.nnet.layers[-1], MixedComponents
        )
        if columns is None or layer != "hidden" or not mixed:
            return values[:, :columns]
        return fewer_components(values, columns)

    def both_layers(self, lonlat: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden layer and the embedding of (n, 2) degrees."""
        self.output_dim("hidden")
        hidden = self.nnet.hidden(encode_positions(self.posenc, lonlat, self.dtype))  # type: ignore[operator]
        return hidden, self.nnet.embed(hidden)  # type: ignore[operator]


def encode_positions(posenc: nn.Module, lonlat: Tensor, dtype: torch.dtype) -> Tensor:
    """Run a positional encoding, in its own way where it knows how to save precision or time."""
    if getattr(posenc, "takes_dtype", False):
        return posenc(lonlat, dtype=dtype)
    return posenc(lonlat.double()).to(dtype)


class LocationEncoder(EncodedNetwork):
    """Encode longitude and latitude: a positional encoding, then a network.

    Parameters
    ----------
    legendre_polys : int, default=10
        L of the spherical harmonics; the encoding has L² columns.
    embed_dim : int, default=256
        Columns of the embedding.
    hidden_dim : int, default=512
        Width of the hidden layers.
    num_hidden_layers : int, default=2
        Number of hidden layers.
    harmonics_calculation : {"analytic", "closed-form", "discretized"}, default="analytic"
        Normalisation of the harmonics, see
        :class:`~skgeo_embed.nn.harmonics.SphericalHarmonics` and
        :class:`~skgeo_embed.nn.encodings.DiscretizedHarmonics`.
    harmonics : {"exact", "published"}, default="exact"
        Whether the harmonics carry the rounding of the original's printed coefficients.
    positional_encoding : str, default="sphericalharmonics"
        One of :data:`skgeo_embed.nn.encodings.KINDS`.
    network : {"siren", "mlp", "fcnet", "linear"}, default="siren"
        The network, by the original's names.
    n_frequencies, min_radius, max_radius : int, float, float, default=16, 1, 360
        Of the multi-scale encodings, see :class:`~skgeo_embed.nn.encodings.MultiScale`.
    content : dict, default=None
        The description of :class:`~skgeo_embed.nn.encodings.content_layers.ContentLayers` of which
        components are made beside those of the sines; it needs a `sine_dim`.
    sine_dim : int, default=None
        Width of a SIREN's hidden layers but the last, which is then linear and has principal
        components, see :class:`~skgeo_embed.nn.location.networks.MixedComponents`. None is
        `hidden_dim` for all, with a sine after each.
    dropout : float, default=0.5
        Dropout before each sine while training; no part of the saved architecture.
    feature_grid : dict, default=None
        A :class:`~skgeo_embed.nn.encodings.feature_grid.FeatureGrid` beside the positional
        encoding: its `height`, `width`, `channels` and, if it is not "int8" or not of the whole
        sphere, `storage` and `bounds`.
    fine_waves : dict, default=None
        :class:`~skgeo_embed.nn.encodings.fine_waves.FineWaves` beside them: their `count`,
        `longest_km` and `shortest_km`.
    w0 : float, default=30.0
        Frequency of a SIREN's first layer.
    spectral_decay : float, default=0.0
        How the first layer's initial weights fall with the degree l of the harmonics, as
        (1 + l / 2) to the power of minus this, at the same root mean square; no part of the
        saved architecture.
    hidden_scale : float, default=1.0
        What the hidden layer is multiplied by when it is the output, a matter of units.

    Examples
    --------
    >>> import torch
    >>> from skgeo_embed.nn.location import LocationEncoder
    >>> encoder = LocationEncoder(legendre_polys=10).eval()
    >>> encoder(torch.tensor([[7.8, 36.8], [3.3, 36.7]])).shape
    torch.Size([2, 256])
    """

    def __init__(
        self,
        legendre_polys: int = 10,
        embed_dim: int = 256,
        hidden_dim: int = 512,
        num_hidden_layers: int = 2,
        harmonics_calculation: str = "analytic",
        harmonics: str = "exact",
        positional_encoding: str = "sphericalharmonics",
        network: str = "siren",
        n_frequencies: int = 16,
        min_radius: float = 1.0,
        max_radius: float = 360.0,
        feature_grid: dict[str, Any] | None = None,
        fine_waves: dict[str, Any] | None = None,
        content: dict[str, Any] | None = None,
        sine_dim: int | None = None,
        dropout: float = 0.5,
        w0: float = 30.0,
        spectral_decay: float = 0.0,
        hidden_scale: float = 1.0,
    ) -> None:
        encoding: dict[str, Any] = {
            "legendre_polys": legendre_polys,
            "harmonics_calculation": harmonics_calculation,
            "harmonics": harmonics,
        }
        if positional_encoding != "sphericalharmonics":
            encoding = {
                "n_frequencies": n_frequencies,
                "min_radius": min_radius,
                "max_radius": max_radius,
            }
        posenc = make_encoding(positional_encoding, **encoding)
        layers = None if content is None else ContentLayers(**content)
        if feature_grid is not None or fine_waves is not None or layers is not None:
            posenc = DetailedEncoding(
                posenc,
                None if feature_grid is None else FeatureGrid(**feature_grid),
                None if fine_waves is None else FineWaves(**fine_waves),
                layers,
            )
        nnet = make_network(
            network,
            int(posenc.embedding_dim),  # type: ignore[arg-type]
            hidden_dim,
            embed_dim,
            num_hidden_layers,
            dropout,
            w0,
            sine_dim,
            0 if layers is None else layers.embedding_dim,
        )
        config = {
            "positional_encoding": positional_encoding,
            **encoding,
            "network": network,
            "embed_dim": embed_dim,
            "hidden_dim": hidden_dim,
            "num_hidden_layers": num_hidden_layers,
        }
        if feature_grid is not None:
            config["feature_grid"] = dict(feature_grid)
        if fine_waves is not None:
            config["fine_waves"] = dict(fine_waves)
        if content is not None:
            config["content"] = dict(content)
        if sine_dim is not None:
            config["sine_dim"] = sine_dim
        if w0 != 30:
            config["w0"] = w0
        if hidden_scale != 1:
            config["hidden_scale"] = hidden_scale
        super().__init__(posenc, nnet, config)
        if spectral_decay:
            self._scale_degrees(spectral_decay)

    @torch.no_grad()
    def _scale_degrees(self, decay: float) -> None:
        """Scale the first layer's weights by the degree of the harmonic they belong to."""
        size = self.config.get("legendre_polys")
        if size is None or self.config["network"] != "siren":
            raise ValueError("spectral_decay is for a siren network on spherical harmonics")
        degrees = torch.arange(size).repeat_interleave(2 * torch.arange(size) + 1)
        scale = (1 + degrees / 2) ** -decay
        weight = self.nnet.layers[0].weight[:, : size**2]  # type: ignore[index, union-attr]
        weight *= scale / (scale**2).mean().sqrt()

    @torch.no_grad()
    def mix_content(
        self,
        position: float = 0.85,
        content: float = 0.6,
        damping: float = 5.0,
        detail: float = 0.08,
        spread: float = 1.0,
    ) -> LocationEncoder:
        """Draw the first layer anew, so that it mixes position and content in known proportions.

        Angles get a normal distribution with deviation `position` from the harmonics, whose degree
        l is damped by (1 + l / damping)², `content` from a feature grid whose channels' variances
        add up to 1, and `detail` from fine waves, whose power is as their wavelength; biases cover
        a whole turn.

        Parameters
        ----------
        position, content, detail : float, default=0.85, 0.6, 0.08
            Deviations, radians.
        damping : float, default=5.0
            The degree at which harmonics count a quarter.
        spread : float, default=1.0
            Each unit has deviations of its own, `position` and `content` by factors at even
            ratios from 1 / `spread` to `spread`: some units vary over continents, some over
            counties.

        Returns
        -------
        self : LocationEncoder
            Itself.
        """
        size = self.config.get("legendre_polys")
        encoding: Any = self.posenc
        mixes = isinstance(encoding, DetailedEncoding)
        if size is None or not mixes or self.config["network"] != "siren":
            raise ValueError(
                "mix_content is for a siren network on harmonics and a feature grid or fine waves"
            )
        first: Any = self.nnet.layers[0]  # type: ignore[index]
        degrees = torch.arange(size).repeat_interleave(2 * torch.arange(size) + 1)
        damped = (1 + degrees / damping) ** -2.0
        lat = torch.rad2deg(torch.asin(torch.linspace(-0.99, 0.99, 201, dtype=torch.float64)))
        lonlat = torch.stack([lat * 3.7 % 360 - 180, lat], dim=1)
        probe = encoding.position(lonlat) * damped
        damped = damped * (position / probe.norm(dim=1).square().mean().sqrt())
        units = len(first.weight)
        of_position, of_content = torch.ones(2, units, 1)
        if spread != 1:
            of_position, of_content = spread ** (2 * torch.rand(2, units, 1) - 1)
        scales = [of_position * damped]
        if encoding.grid is not None:
            scales.append((of_content * content).expand(units, encoding.grid.embedding_dim))
        if encoding.waves is not None:
            scales.append((detail * encoding.waves.amplitudes()).expand(units, -1))
        first.weight.copy_(torch.randn_like(first.weight) * torch.cat(scales, dim=1) / first.w0)
        first.bias.copy_(torch.rand_like(first.bias) * (2 * math.pi) / first.w0)
        return self

    @torch.no_grad()
    def hold_waves(self) -> None:
        """Drop the gradient of what the first layer makes of fine waves.

        Images of kilometres a pixel say nothing of them: they stay as they were drawn.
        """
        waves = getattr(self.posenc, "waves", None)
        if waves is not None:
            first = next(self.nnet.parameters())  # (hidden, columns), the waves last
            if first.grad is not None:
                first.grad[:, -waves.embedding_dim :] = 0
