"""Positional encodings: features of longitude and latitude that a location network reads."""

_HARMONICS = ("legendre_polys", "harmonics_calculation")
_SCALES = ("n_frequencies", "min_radius", "max_radius")

PARAMETERS: dict[str, tuple[str, ...]] = {  # name: the parameters that change it
    "sphericalharmonics": _HARMONICS,
    "direct": (),
    "cartesian3d": (),
    "wrap": (),
    "grid": _SCALES,
    "theory": _SCALES,
    "spherec": _SCALES,
    "spherecplus": _SCALES,
    "spherem": _SCALES,
    "spheremplus": _SCALES,
    # TorchSpatial's, by its names in lower case
    "space2vec-theory": _SCALES,
    "sphere2vec-spherec": _SCALES,
    "sphere2vec-spherec+": _SCALES,
    "sphere2vec-spherem": _SCALES,
    "sphere2vec-spherem+": _SCALES,
    "sphere2vec-dfs": _SCALES,
    "nerf": ("n_frequencies",),
    "wrap_ffn": (),
    "rff": ("n_frequencies",),
}
KINDS = tuple(PARAMETERS)
