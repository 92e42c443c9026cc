"""What a pretraining run optimises: the location network, the losses and how they are descended."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import Interval, StrOptions

if TYPE_CHECKING:
    from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
    from skgeo_embed.nn.location import LocationEncoder

_NATURAL = Interval(Integral, 1, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")


class Recipe(BaseEstimator):
    """What a pretraining run optimises.

    It is nested in :class:`SatCLIPPretrainer`, so ``recipe__temperature`` is a name for
    `GridSearchCV`. As it stands it is the published recipe, SatCLIP's; the pretrainer knows this
    one and "episodes" by name.

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
        Dropout before each sine of the location network while training. With a few hundred
        pairs use 0: the sine does not average over dropout, so the network that is trained
        and the one that is used differ.
    positional_encoding : str, default="sphericalharmonics"
        What the location network is given: "sphericalharmonics", or another kind of
        :class:`PositionalEncoder`, for which `legendre_polys` does not matter.
    harmonics_calculation : {"analytic", "closed-form", "discretized"}, default="analytic"
        Normalisation of the harmonics.
    n_frequencies, min_radius, max_radius : int, float, float, default=16, 1, 360
        Of the multi-scale encodings ("grid", "theory", "spherec", ...), degrees.
    network : {"siren", "mlp", "fcnet", "linear"}, default="siren"
        The location network.
    feature_grid : FeatureGrid, default=None
        A table of features over the sphere that the location network reads beside the harmonics:
        what a place looks like, where harmonics know only roughly where it is. For instance
        :func:`skgeo_embed.pretraining.content.earth_grid`; with ``storage="float32"`` it is
        learned. It is copied; the network's first layer then starts as
        :meth:`skgeo_embed.nn.location.LocationEncoder.mix_content` draws it.
    fine_waves : dict, default=None
        Waves beside the harmonics that tell places of one city apart, where imagery cannot:
        ``{"count": 128, "longest_km": 156, "shortest_km": 5}``. They count little, and are not
        trained: see :class:`~skgeo_embed.nn.encodings.fine_waves.FineWaves`.
    spectral_decay : float, default=0.0
        How the first layer's initial weights fall with the degree l of the harmonics:
        (1 + l / 2) to the power of minus this. A smooth start that fine detail can grow on.
    hidden_scale : float, default=1.0
        What the hidden layer is multiplied by when it is given out as features. It does not
        change the training, but what a penalty of fixed strength does: a thousand features of
        size 1 make ``Ridge()`` overfit a few thousand rows, of size 0.1 they do not.
    temperature : float, default=0.07
        What similarities are divided by in the loss, at first.
    learn_temperature : bool, default=True
        Whether it is learned, or stays.
    auxiliary_weight : float, default=0.0
        Weight of the auxiliary regressions: ridges fitted in closed form on the hidden layer to
        few or many points of a batch, to predict image summaries, kinds of image, latitude and
        cells of the sphere at others, half of the time in caps that were held out
        (:class:`~skgeo_embed.nn.objectives.auxiliary.RidgeEpisodes`). The hidden layer becomes
        the better feature by it. Batches of 1,000 and more are worth it.
    learning_rate : float, default=1e-4
        Step size of AdamW.
    weight_decay : float, default=0.01
        Decay of AdamW; none on one-dimensional parameters, biases, norms and the temperature.
    warmup_epochs : float, default=0
        Over which the learning rate rises from 0.
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
        """Check the values, and that each is read by something.

        Raises
        ------
        ValueError
            If a value cannot be, or belongs to another network or encoding than the one chosen.
        """
        self._validate_params()
        mixed = self.feature_grid is not None or self.fine_waves is not None
        unread = {
            "legendre_polys": self.positional_encoding != "sphericalharmonics",
            "harmonics_calculation": self.positional_encoding != "sphericalharmonics",
            "spectral_decay": mixed or self.positional_encoding != "sphericalharmonics",
            "n_frequencies": self.positional_encoding in _WITHOUT_SCALES,
            "min_radius": self.positional_encoding in _WITHOUT_SCALES,
            "max_radius": self.positional_encoding in _WITHOUT_SCALES,
            "dropout": self.network != "siren",
        }
        defaults = type(self)().get_params()
        idle = [
            name
            for name, without in unread.items()
            if without and getattr(self, name) != defaults[name]
        ]
        if idle:
            raise ValueError(
                f"{', '.join(f'{name}={getattr(self, name)!r}' for name in idle)} would be ignored "
                f"with positional_encoding={self.positional_encoding!r}, network={self.network!r} "
                f"and {'a' if mixed else 'no'} feature grid or fine waves; leave out what does not "
                "apply."
            )

    def build_location(self) -> LocationEncoder:
        """Build the location network, drawn from torch's random state."""
        from skgeo_embed.nn.location import LocationEncoder

        grid = self.feature_grid
        mixed = grid is not None or self.fine_waves is not None
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
            w0=1.0 if mixed else 30.0,
            spectral_decay=self.spectral_decay,
            hidden_scale=self.hidden_scale,
        )
        if grid is not None:
            own: Any = location.posenc.grid
            own.load_state_dict(grid.state_dict())
            own.keep_content(grid.content)
        return location.mix_content() if mixed else location

    def describe(self) -> dict[str, Any]:
        """Return every setting in plain words, for checkpoints and model cards."""
        words = self.get_params(deep=False)
        grid = words["feature_grid"]
        return {**words, "feature_grid": None if grid is None else grid.description()}


_WITHOUT_SCALES = ("sphericalharmonics", "direct", "cartesian3d", "wrap")

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
    """Return the recipe of a name, or a copy of the given one, checked.

    Parameters
    ----------
    recipe : {"episodes", "satclip"} or Recipe
        "satclip" is the published one (Klemmer et al. 2025); "episodes", which measures best
        (`docs/which_encoder.md`), adds ridge episodes to it.

    Raises
    ------
    ValueError
        If there is no recipe of that name, or a value of it cannot be.
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
    return made.set_params(**numbers)  # files hold plain ones
