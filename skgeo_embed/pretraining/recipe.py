"""`Recipe`: what a pretraining run optimises."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import Interval, StrOptions

from skgeo_embed.nn.encodings import PARAMETERS

if TYPE_CHECKING:
    from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
    from skgeo_embed.nn.location import LocationEncoder

_NATURAL = Interval(Integral, 1, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")


class Recipe(BaseEstimator):
    """Choose what a pretraining run optimises: the location network, the losses, the optimiser.

    A recipe is the first parameter of :class:`SatCLIPPretrainer`, so ``recipe__temperature`` is a
    name for `GridSearchCV`. The defaults are the recipe of SatCLIP, which the pretrainer also
    knows as "satclip".

    Parameters
    ----------
    legendre_polys : int, default=10
        L, the number of Legendre polynomials of the spherical harmonics; the finest detail is
        about 180° / L.
    embed_dim : int, default=256
        Columns of the embedding.
    hidden_dim : int, default=512
        Width of the location network's hidden layers.
    num_hidden_layers : int, default=2
        Hidden layers of the location network.
    dropout : float, default=0.5
        Dropout before each sine of the location network while training. With a few hundred pairs
        use 0: a sine of a mean is not the mean of sines, so the network without dropout differs
        from the one that was trained.
    positional_encoding : str, default="sphericalharmonics"
        Input of the location network: "sphericalharmonics", or another kind of
        :class:`PositionalEncoder`, which does not use `legendre_polys`.
    harmonics_calculation : {"analytic", "closed-form", "discretized"}, default="analytic"
        Normalisation of the harmonics.
    n_frequencies, min_radius, max_radius : int, float, float, default=16, 1, 360
        Parameters of the multi-scale encodings ("grid", "theory", "spherec", ...), degrees.
    network : {"siren", "mlp", "fcnet", "linear"}, default="siren"
        The location network.
    feature_grid : FeatureGrid, default=None
        A table of features over the sphere that the location network reads beside the harmonics:
        harmonics know roughly where a place is, the grid knows what it looks like. Build it with
        :func:`skgeo_embed.pretraining.content.earth_grid` or
        :func:`~skgeo_embed.pretraining.content.content_grid`; a FeatureGrid with
        ``storage="float32"`` is learned. The grid is copied, and the network's first layer is
        drawn by :meth:`skgeo_embed.nn.location.LocationEncoder.draw_first_layer`.
    fine_waves : dict, default=None
        Waves in addition to the harmonics that distinguish places of one city, which images cannot:
        ``{"count": 128, "longest_km": 156, "shortest_km": 5}``. They have small weights, which are
        not trained: see :class:`~skgeo_embed.nn.encodings.fine_waves.FineWaves`.
    spectral_decay : float, default=0.0
        The first layer's initial weights fall with the degree l of the harmonics as (1 + l / 2) to
        the power of minus this, so that training starts from a smooth function.
    hidden_scale : float, default=1.0
        Factor for the hidden layer when it is the output. It does not change the training, but
        the effect of a fixed penalty: with a thousand features of size 1 ``Ridge()`` overfits a few
        thousand rows, with features of size 0.1 it does not.
    temperature : float, default=0.07
        Initial divisor of similarities in the loss.
    learn_temperature : bool, default=True
        Whether the temperature is learned.
    auxiliary_weight : float, default=0.0
        Weight of the auxiliary regressions, which make the hidden layer a better feature: ridges
        are fitted in closed form on it to few or many points of a batch, and predict image
        summaries, kinds of image, latitude and cells of the sphere at others, half of the time in
        caps that were held out
        (:class:`~skgeo_embed.nn.objectives.auxiliary.RidgeEpisodes`). They work best with batches
        of 1,000 or more.
    learning_rate : float, default=1e-4
        Step size of AdamW.
    weight_decay : float, default=0.01
        Decay of AdamW; one-dimensional parameters, biases, norms and the temperature do not decay.
    warmup_epochs : float, default=0
        Epochs in which the learning rate rises from 0.
    lr_schedule : {"constant", "cosine"}, default="constant"
        The learning rate after the warm-up; "cosine" ends at 0.
    augment : bool, default=True
        Crop, flip and blur training images at random.
    coord_jitter : float, default=0.01
        Largest random shift of training coordinates in degrees (0.01° is about 1 km).

    Examples
    --------
    >>> from skgeo_embed import Recipe
    >>> Recipe(legendre_polys=20, temperature=0.2, learn_temperature=False)
    Recipe(learn_temperature=False, legendre_polys=20, temperature=0.2)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "legendre_polys": [_NATURAL],
        "embed_dim": [_NATURAL],
        "hidden_dim": [_NATURAL],
        "num_hidden_layers": [_NATURAL],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "positional_encoding": [str],
        "harmonics_calculation": [StrOptions({"analytic", "closed-form", "discretized"})],
        "n_frequencies": [_NATURAL],
        "min_radius": [_POSITIVE],
        "max_radius": [_POSITIVE],
        "network": [StrOptions({"siren", "mlp", "fcnet", "linear"})],
        "feature_grid": "no_validation",  # a torch module: not imported for a check
        "fine_waves": [dict, None],
        "spectral_decay": [_NOT_NEGATIVE],
        "hidden_scale": [_POSITIVE],
        "temperature": [_POSITIVE],
        "learn_temperature": ["boolean"],
        "auxiliary_weight": [_NOT_NEGATIVE],
        "learning_rate": [_POSITIVE],
        "weight_decay": [_NOT_NEGATIVE],
        "warmup_epochs": [_NOT_NEGATIVE],
        "lr_schedule": [StrOptions({"constant", "cosine"})],
        "augment": ["boolean"],
        "coord_jitter": [_NOT_NEGATIVE],
    }

    def __init__(
        self,
        *,
        legendre_polys: int = 10,
        embed_dim: int = 256,
        hidden_dim: int = 512,
        num_hidden_layers: int = 2,
        dropout: float = 0.5,
        positional_encoding: str = "sphericalharmonics",
        harmonics_calculation: Literal["analytic", "closed-form", "discretized"] = "analytic",
        n_frequencies: int = 16,
        min_radius: float = 1.0,
        max_radius: float = 360.0,
        network: Literal["siren", "mlp", "fcnet", "linear"] = "siren",
        feature_grid: FeatureGrid | None = None,
        fine_waves: dict[str, Any] | None = None,
        spectral_decay: float = 0.0,
        hidden_scale: float = 1.0,
        temperature: float = 0.07,
        learn_temperature: bool = True,
        auxiliary_weight: float = 0.0,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.01,
        warmup_epochs: float = 0.0,
        lr_schedule: Literal["constant", "cosine"] = "constant",
        augment: bool = True,
        coord_jitter: float = 0.01,
    ) -> None:
        self.legendre_polys = legendre_polys
        self.embed_dim = embed_dim
        self.hidden_dim = hidden_dim
        self.num_hidden_layers = num_hidden_layers
        self.dropout = dropout
        self.positional_encoding = positional_encoding
        self.harmonics_calculation = harmonics_calculation
        self.n_frequencies = n_frequencies
        self.min_radius = min_radius
        self.max_radius = max_radius
        self.network = network
        self.feature_grid = feature_grid
        self.fine_waves = fine_waves
        self.spectral_decay = spectral_decay
        self.hidden_scale = hidden_scale
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.auxiliary_weight = auxiliary_weight
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.lr_schedule = lr_schedule
        self.augment = augment
        self.coord_jitter = coord_jitter

    def check(self) -> None:
        """Check all values, and that the chosen network and encoding use them.

        Raises
        ------
        ValueError
            If a value is invalid, or belongs to another network or encoding.
        """
        self._validate_params()
        details = self.feature_grid is not None or self.fine_waves is not None
        harmonics = self.positional_encoding == "sphericalharmonics"
        known = PARAMETERS.get(self.positional_encoding)  # an unknown one has an error of its own
        used = {
            "legendre_polys": harmonics,
            "harmonics_calculation": harmonics,
            "spectral_decay": harmonics and not details,
            **{
                name: known is None or name in known
                for name in ("n_frequencies", "min_radius", "max_radius")
            },
            "dropout": self.network == "siren",
        }
        defaults = type(self)().get_params()
        ignored = [
            f"{name}={getattr(self, name)!r}"
            for name, is_used in used.items()
            if not is_used and getattr(self, name) != defaults[name]
        ]
        if ignored:
            raise ValueError(
                f"{', '.join(ignored)} would be ignored with positional_encoding="
                f"{self.positional_encoding!r}, network={self.network!r} and "
                f"{'a' if details else 'no'} feature grid or fine waves; omit what does not apply."
            )

    def build_location(self) -> LocationEncoder:
        """Build the location network, with weights drawn from torch's random state."""
        from skgeo_embed.nn.location import LocationEncoder

        grid = self.feature_grid
        details = grid is not None or self.fine_waves is not None
        location = LocationEncoder(
            legendre_polys=self.legendre_polys,
            embed_dim=self.embed_dim,
            hidden_dim=self.hidden_dim,
            num_hidden_layers=self.num_hidden_layers,
            harmonics_calculation=self.harmonics_calculation,
            positional_encoding=self.positional_encoding,
            network=self.network,
            n_frequencies=self.n_frequencies,
            min_radius=self.min_radius,
            max_radius=self.max_radius,
            feature_grid=None if grid is None else grid.description(),
            fine_waves=self.fine_waves,
            dropout=self.dropout,
            w0=1.0 if details else 30.0,
            spectral_decay=self.spectral_decay,
            hidden_scale=self.hidden_scale,
        )
        if grid is not None:
            own: Any = location.posenc.grid
            own.load_state_dict(grid.state_dict())
            own.keep_content(grid.content)
        if details:
            location.draw_first_layer()
        return location

    def describe(self) -> dict[str, Any]:
        """Return all settings as numbers and text, for checkpoints and model cards."""
        settings = self.get_params(deep=False)
        grid = settings["feature_grid"]
        return {**settings, "feature_grid": None if grid is None else grid.description()}


RECIPES: dict[str, dict[str, Any]] = {
    "satclip": {},
    "episodes": {
        "legendre_polys": 20,
        "hidden_dim": 1024,
        "dropout": 0.0,
        "spectral_decay": 1.0,
        "hidden_scale": 0.1,
        "temperature": 0.2,
        "learn_temperature": False,
        "auxiliary_weight": 30.0,
        "learning_rate": 1e-3,
        "warmup_epochs": 1,
        "lr_schedule": "cosine",
    },
}


def named_recipe(recipe: str | Recipe) -> Recipe:
    """Return the recipe of a name, or a checked copy of a recipe.

    Parameters
    ----------
    recipe : {"episodes", "satclip"} or Recipe
        As for the pretrainer.

    Raises
    ------
    ValueError
        If there is no recipe of that name, or one of its values is invalid.
    """
    if isinstance(recipe, Recipe):
        made = clone(recipe)
    elif isinstance(recipe, str) and recipe in RECIPES:
        made = Recipe(**RECIPES[recipe])
    else:
        raise ValueError(
            f"recipe must be {' or '.join(map(repr, RECIPES))}, or a Recipe, got {recipe!r}"
        )
    made.check()
    numbers = {k: v.item() for k, v in made.get_params().items() if isinstance(v, np.generic)}
    return made.set_params(**numbers)  # files hold plain numbers
