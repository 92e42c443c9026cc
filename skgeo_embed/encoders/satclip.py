"""SatCLIP encoders as scikit-learn transformers."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skgeo_embed.encoders.model_mixin import HUB_CONSTRAINTS, ModelMixin, PushMixin
from skgeo_embed.encoders.network import NETWORK_CONSTRAINTS, NetworkTransformer
from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.models.registry import DEFAULT_MODEL

if TYPE_CHECKING:
    import torch

    from skgeo_embed.nn.location import LocationEncoder


@share_docs
class SatCLIPEncoder(ModelMixin, PushMixin, NetworkTransformer):
    """Encode longitude and latitude with a SatCLIP location encoder.

    The encoder was pretrained by matching satellite images with the coordinates where they
    were taken [1]_; afterwards a coordinate alone gives a description of the place. The
    default ships inside the package and needs no network.

    Parameters
    ----------
    model : str, path-like or LocationEncoder, default="earth-l20"
        Which encoder: the name of a bundled one; a SatCLIP checkpoint on the hub by repository
        ("microsoft/SatCLIP-ViT16-L40") or short name ("satclip-vit16-l40"), ResNet18,
        ResNet50 or ViT16 with L10 or L40; any hub repository or folder written by
        `save_pretrained`; the path of a SatCLIP checkpoint; or a
        :class:`~skgeo_embed.nn.location.LocationEncoder` module. Of a checkpoint only the
        location tower is kept.
    layer : {"auto", "embedding", "hidden", "content"}, default="auto"
        The output: "embedding" is the contrastive space, needed to compare with images;
        "hidden" is the representation before it, usually the better feature for a linear
        model. "content" gives what the place looks like: means and standard deviations of the
        layers that the encoder was trained with, over boxes of several sizes. Each column's name
        says layer, statistic and scale, such as "lights_mean_10km"; `encoder_info_` has the
        units. Use these columns for trees, for far regions, and for models that people should read.
        "auto" takes the default of the encoder.
    n_components : int, default=None
        Number of columns; None takes all. The columns of the default encoder's hidden layer are
        768 principal components, rotated so that all columns matter equally; fewer columns are
        the first components, rotated in the same way. 256 columns score almost as well as 768, and
        64 lose more (the guide's page "Which encoder" has the figures). Other layers return their
        first columns.
    harmonics : {"auto", "exact", "published"}, default="auto"
        "published" reproduces the rounding of SatCLIP's own harmonics, which its L = 40 weights
        were trained with; "exact" does not. "auto" takes "published" for SatCLIP's L = 40
        checkpoints and "exact" for everything else (see Notes).
    untrained : bool, default=False
        Use random weights, always the same ones, as before training. This baseline shows how much
        training improves a model. A feature grid is kept.
    {normalize}
    {device}
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network and of the output. Harmonics are always float64.
    batch_size : int, default=None
        Number of points encoded at a time, which limits the memory of the hidden layers. None
        takes 2,048 on a CPU and 65,536 elsewhere; if a GPU runs out of memory, the batch is halved,
        with a warning.
    {places}
    revision : str, default=None
        Branch, tag or commit of a hub repository.
    cache_dir : str or path-like, default=None
        Folder of the hub's files; None takes the hub's own cache.
    token : str or bool, default=None
        Access token for the hub; None takes the one that is logged in. Never pickled.
    local_files_only : bool, default=False
        Never use the network.
    allow_pickle : bool, default=False
        Open checkpoints whose unpickling can run code. Only for files from people you trust.

    Attributes
    ----------
    encoder_info_ : dict
        What was loaded: name, source, path, revision, sha256 of the weights, licence,
        training data, sizes, and the layer that is returned; with "content" the units of the
        columns. For an untrained encoder "untrained" is True; licence and training data are then
        those of its feature grid, or None if it has no grid.
    n_features_in_ : int
        Number of input columns, always 2.
    feature_names_in_ : ndarray of shape (2,)
        Column names seen in `fit`, where the input had string names.

    See Also
    --------
    SatCLIPImageEncoder : The other tower, for images.
    SatCLIPPretrainer : Train both on your own imagery.

    Notes
    -----
    SatCLIP's code evaluates expanded polynomials whose coefficients were printed with 15 digits.
    The table gives the largest difference of its harmonics at L = 40 from exact harmonics, and from
    ``harmonics="published"``, by latitude. The differences from "published" are floating-point
    noise of SatCLIP's code:

    ==========  ========  ===========
    latitude    exact     "published"
    ==========  ========  ===========
    0° - 30°    2e-8      2e-9
    30° - 60°   8e-3      1.4e-4
    60° - 70°   7e-2      2.9e-3
    70° - 90°   6e-1      1.7e-2
    ==========  ========  ===========

    At L = 10 SatCLIP's code is right to 1e-12 (1e-7 within 0.01° of a pole).

    References
    ----------
    .. [1] K. Klemmer, E. Rolf, C. Robinson, L. Mackey, M. Rußwurm (2025). "SatCLIP: Global,
       General-Purpose Location Embeddings with Satellite Imagery". AAAI. arXiv 2311.17179.

    Examples
    --------
    >>> from skgeo_embed import SatCLIPEncoder
    >>> encoder = SatCLIPEncoder(layer="embedding").fit()
    >>> encoder.transform([[7.83, 36.83], [-122.3, 38.5]]).shape
    (2, 256)

    What the place looks like, in columns with names:

    >>> content = SatCLIPEncoder(layer="content").set_output(transform="pandas").fit()
    >>> places = content.transform([[2.35, 48.86], [7.76, 46.02]])  # Paris, and Zermatt
    >>> chosen = places[["lights_mean_10km", "elevation_mean_40km"]].astype(float)
    >>> chosen.round(1).to_numpy().tolist()
    [[5.5, 81.2], [2.6, 2163.5]]

    In a pipeline:

    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import Pipeline
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> model = Pipeline([("emb", SatCLIPEncoder()), ("reg", Ridge())]).fit(X, y)
    >>> bool(model.score(X, y) > 0.8)
    True
    """

    _feature_prefix = "satclip"
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": "no_validation",  # everything about it is said while opening it
        "layer": [StrOptions({"auto", "embedding", "hidden", "content"})],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "harmonics": [StrOptions({"auto", "exact", "published"})],
        "untrained": ["boolean"],
        **NETWORK_CONSTRAINTS,
        **HUB_CONSTRAINTS,
        "allow_pickle": ["boolean"],
    }

    def __init__(
        self,
        model: str | Path | LocationEncoder = DEFAULT_MODEL,
        *,
        layer: Literal["auto", "embedding", "hidden", "content"] = "auto",
        n_components: int | None = None,
        harmonics: Literal["auto", "exact", "published"] = "auto",
        untrained: bool = False,
        normalize: bool = False,
        device: str | torch.device | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        batch_size: int | None = None,
        on_invalid: Literal["raise", "nan"] = "raise",
        lon: str | int | None = None,
        lat: str | int | None = None,
        area_points: int | str = 64,
        area_statistic: Literal["mean", "std"] = "mean",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        allow_pickle: bool = False,
    ) -> None:
        self.model = model
        self.layer = layer
        self.n_components = n_components
        self.harmonics = harmonics
        self.untrained = untrained
        self.normalize = normalize
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.on_invalid = on_invalid
        self.lon = lon
        self.lat = lat
        self.area_points = area_points
        self.area_statistic = area_statistic
        self.revision = revision
        self.cache_dir = cache_dir
        self.token = token
        self.local_files_only = local_files_only
        self.allow_pickle = allow_pickle

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        licence: str | None = None,
        trained_on: str | None = None,
        hub_id: str | None = None,
    ) -> Path:
        """Write the location tower, its config and a model card to a folder.

        A SatCLIP checkpoint of 100 MB becomes a few MB that anybody opens without pickle.

        Parameters
        ----------
        save_directory : str or path-like
            The folder, which is made if it does not exist.
        licence : str, default=None
            SPDX name of the weights' licence; None keeps what is known.
        trained_on : str, default=None
            What the images were; None keeps what is known.
        hub_id : str, default=None
            The repository that the model card names, where it is going to the hub.

        Returns
        -------
        folder : Path
            Where the files are.

        Raises
        ------
        ValueError
            If there is no trained network to save, or the folder holds an image tower.
        TypeError
            If the network is a module of a class of your own.
        """
        from skgeo_embed.models.card import model_card
        from skgeo_embed.models.folder import write_folder
        from skgeo_embed.models.model_file import content_of, location_tensors

        check_is_fitted(self)
        path = Path(save_directory).expanduser()
        _refuse_image_tower(path)
        for name, text in (("licence", licence), ("trained_on", trained_on)):
            if not isinstance(text, (str, type(None))):
                raise TypeError(f"{name} must be text or None, got {text!r}")
        module = self._trained_module()
        content = None if self._encoder.content is None else self._encoder.content()
        if content is None:
            content = content_of(module)
        licence = licence or self.encoder_info_["licence"] or "other"
        config = {
            **self._encoder.details,
            "name": path.name,
            "licence": licence,
            "trained_on": trained_on or self.encoder_info_["trained_on"],
            "default_layer": self._encoder.default_layer,
            "location": dict(module.config),
            "image": None,
            "content": None if content is None else content.description(),
            "made_from": self._origin(),
        }
        card = model_card(
            title=path.name, name=hub_id or path.name, licence=licence, config=config, scores={}
        )
        write_folder(path, config, location_tensors(module, content), card)
        return path

    def _trained_module(self) -> LocationEncoder:
        """Return the trained network, or raise if there is none to save."""
        from skgeo_embed.nn.location import LocationEncoder

        if self._options.layer == "content":
            raise ValueError(
                'layer="content" has no network to save. Fit the encoder with another layer and '
                "save that one: its folder includes the content columns."
            )
        if self.encoder_info_.get("untrained"):
            raise ValueError(
                f"{self.encoder_info_['name']}: untrained weights are not saved. Pass "
                "untrained=True wherever you need them; they are always the same."
            )
        module = self._encoder.engine.module
        if type(module) is not LocationEncoder:
            raise TypeError(
                f"a {type(module).__name__} is a class of your own, which cannot be rebuilt from a "
                "file; save it with torch.save, or make it a LocationEncoder."
            )
        return module

    def _origin(self) -> dict[str, Any]:
        """Say from which model, and from which models before it, the network was made."""
        origin = {key: self.encoder_info_[key] for key in ("name", "revision", "sha256")}
        if "made_from" in self._encoder.details:
            origin["made_from"] = self._encoder.details["made_from"]
        return origin

    def prepare(self) -> None:
        from skgeo_embed.models.opening import open_content, open_location_encoder

        if self.layer == "content":
            if self.untrained:
                raise ValueError(
                    'untrained=True has no effect on layer="content", whose columns are not '
                    'trained; use untrained=True with layer="hidden".'
                )
            content = open_content(
                self.model, options=self._hub_options(), allow_pickle=self.allow_pickle
            )
            self._use_network(content, "content", self.n_components)
            return
        encoder = open_location_encoder(
            self.model,
            harmonics=self.harmonics,
            untrained=self.untrained,
            options=self._hub_options(),
            allow_pickle=self.allow_pickle,
        )
        layer = encoder.default_layer if self.layer == "auto" else self.layer
        self._use_network(encoder, layer, self.n_components)

    def feature_names(self) -> list[str]:
        if self._options.layer != "content":
            return super().feature_names()
        return self._encoder.engine.module.posenc.column_names()[: self.n_features_out]


def _refuse_image_tower(path: Path) -> None:
    """Raise if a folder holds an image tower, which writing there would drop."""
    from skgeo_embed.models.folder import is_model_folder, read_config

    if is_model_folder(path) and read_config(path).get("image"):
        raise ValueError(
            f"{path} holds an image tower too, which saving the location tower there would "
            "drop; choose another folder."
        )
