"""The location encoder: a positional encoding and a network on top of it."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from skgeo_embed.nn.encodings.building import make_encoding
from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.encodings.detailed import DetailedEncoding, encode_positions
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.nn.encodings.fine_waves import FineWaves
from skgeo_embed.nn.harmonics import column_degrees
from skgeo_embed.nn.location.networks import (
    MixedComponents,
    SirenNet,
    first_components,
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
        Facts, among them `embed_dim`, `hidden_dim` if there is a hidden layer, and optionally
        `hidden_scale`, a factor for the hidden layer when it is the output.
    """

    def __init__(self, posenc: nn.Module, nnet: nn.Module, config: dict[str, Any]) -> None:
        super().__init__()
        self.posenc = posenc
        self.nnet = nnet
        self.config = config
        self.hidden_scale = float(config.get("hidden_scale", 1.0))

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the weights and of the output."""
        return next(self.nnet.parameters()).dtype

    def output_dim(self, layer: Layer) -> int:
        """Return the number of columns of the "embedding" or of the last "hidden" layer."""
        if layer == "content":
            raise ValueError("this network has no content columns; only a ContentNetwork has them")
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
        self.output_dim(layer)  # checks that there is such a layer
        if layer == "embedding":
            return self.nnet(features)
        return self.nnet.hidden(features) * self.hidden_scale  # type: ignore[operator]

    def first_columns(self, values: Tensor, layer: Layer, columns: int | None) -> Tensor:
        """Reduce a layer's output to its first columns, or to columns of as many components."""
        mixed = isinstance(self.nnet, SirenNet) and isinstance(
            self.nnet.layers[-1], MixedComponents
        )
        if columns is None or layer != "hidden" or not mixed:
            return values[:, :columns]
        return first_components(values, columns)

    def both_layers(self, lonlat: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden layer and the embedding of (n, 2) degrees."""
        self.output_dim("hidden")
        hidden = self.nnet.hidden(encode_positions(self.posenc, lonlat, self.dtype))  # type: ignore[operator]
        return hidden, self.nnet.embed(hidden)  # type: ignore[operator]


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
        :class:`~skgeo_embed.nn.encodings.positional.DiscretizedHarmonics`.
    harmonics : {"exact", "published"}, default="exact"
        "published" adds the rounding error of the harmonics that SatCLIP checkpoints were trained
        with.
    positional_encoding : str, default="sphericalharmonics"
        One of :data:`skgeo_embed.nn.encodings.KINDS`.
    network : {"siren", "mlp", "fcnet", "linear"}, default="siren"
        The network, by SatCLIP's names.
    n_frequencies, min_radius, max_radius : int, float, float, default=16, 1, 360
        Parameters of the multi-scale encodings, see
        :class:`~skgeo_embed.nn.encodings.positional.MultiScale`.
    feature_grid : dict, default=None
        A :class:`~skgeo_embed.nn.encodings.feature_grid.FeatureGrid` beside the positional
        encoding: its `height`, `width` and `channels`; `storage` if that is not "int8"; `bounds`
        if the grid does not cover the whole sphere.
    fine_waves : dict, default=None
        :class:`~skgeo_embed.nn.encodings.fine_waves.FineWaves` beside them: their `count`,
        `longest_km` and `shortest_km`.
    content : dict, default=None
        Description of :class:`~skgeo_embed.nn.encodings.content_layers.ContentLayers`, from which
        some components of the last hidden layer are computed; it needs a `sine_dim`.
    sine_dim : int, default=None
        Width of a SIREN's hidden layers except the last, which is then linear and holds principal
        components, see :class:`~skgeo_embed.nn.location.networks.MixedComponents`. With None all
        have `hidden_dim` columns and a sine.
    dropout : float, default=0.5
        Dropout before each sine while training; not part of the saved architecture.
    w0 : float, default=30.0
        Frequency of a SIREN's first layer.
    spectral_decay : float, default=0.0
        The first layer's initial weights fall with the degree l of the harmonics, as (1 + l / 2)
        to the power of minus this, at the same root mean square; not part of the saved
        architecture.
    hidden_scale : float, default=1.0
        Factor for the hidden layer when it is the output.

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
        grid = None if feature_grid is None else FeatureGrid(**feature_grid)
        waves = None if fine_waves is None else FineWaves(**fine_waves)
        layers = None if content is None else ContentLayers(**content)
        if grid is not None or waves is not None or layers is not None:
            posenc = DetailedEncoding(posenc, grid, waves, layers)
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
        details = {"feature_grid": feature_grid, "fine_waves": fine_waves, "content": content}
        config |= {name: dict(words) for name, words in details.items() if words is not None}
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
        """Scale the first layer's weights by the degrees of their harmonics."""
        size = self.config.get("legendre_polys")
        if size is None or self.config["network"] != "siren":
            raise ValueError("spectral_decay is for a siren network on spherical harmonics")
        degrees = column_degrees(size)
        scale = (1 + degrees / 2) ** -decay
        weight = self.nnet.layers[0].weight[:, : size**2]  # type: ignore[index, union-attr]
        weight *= scale / (scale**2).mean().sqrt()

    @property
    def mixes_position_and_content(self) -> bool:
        """Whether this is a SIREN on harmonics with a feature grid or fine waves."""
        return (
            isinstance(self.posenc, DetailedEncoding)
            and "legendre_polys" in self.config
            and self.config["network"] == "siren"
        )

    @torch.no_grad()
    def draw_first_layer(
        self,
        position: float = 0.85,
        content: float = 0.6,
        damping: float = 5.0,
        detail: float = 0.08,
        spread: float = 1.0,
    ) -> LocationEncoder:
        """Draw the first layer at random, to mix position and content in known proportions.

        The angles of the units are normally distributed. Their deviation is `position` from the
        harmonics, whose degree l is damped by (1 + l / damping)²; `content` from a feature grid
        whose channels' variances add up to 1; and `detail` from fine waves, whose power is
        proportional to their wavelength. Biases cover a whole turn.

        Parameters
        ----------
        position, content, detail : float, default=0.85, 0.6, 0.08
            Deviations, radians.
        damping : float, default=5.0
            Degree at which harmonics count a quarter.
        spread : float, default=1.0
            Largest factor by which `position` and `content` of a unit differ from the given ones.
            The factors are evenly distributed on a logarithmic scale from 1 / `spread` to
            `spread`: some units vary over continents, some over counties.

        Returns
        -------
        self : LocationEncoder
            The encoder itself.
        """
        if not self.mixes_position_and_content:
            raise ValueError(
                "draw_first_layer needs a siren network on harmonics with a feature grid or fine "
                "waves"
            )
        size, encoding = self.config["legendre_polys"], cast(DetailedEncoding, self.posenc)
        first: Any = self.nnet.layers[0]  # type: ignore[index]
        degrees = column_degrees(size)
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
    def freeze_fine_waves(self) -> None:
        """Set the gradient of the first layer's weights of fine waves to 0.

        Images with pixels of kilometres cannot train these weights, which stay as drawn.
        """
        waves = getattr(self.posenc, "waves", None)
        if waves is not None:
            first = next(self.nnet.parameters())  # (hidden, columns), the waves last
            if first.grad is not None:
                first.grad[:, -waves.embedding_dim :] = 0
