"""Positional encodings: features of longitude and latitude that a location network reads."""

HAS_SCALES = {  # name: whether it has wavelengths from min_radius to max_radius
    "sphericalharmonics": False,
    "direct": False,
    "cartesian3d": False,
    "wrap": False,
    "grid": True,
    "theory": True,
    "spherec": True,
    "spherecplus": True,
    "spherem": True,
    "spheremplus": True,
}
KINDS = tuple(HAS_SCALES)
