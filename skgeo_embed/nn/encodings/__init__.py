"""Positional encodings: features of longitude and latitude that a location network reads."""

KINDS = (
    "sphericalharmonics",
    "direct",
    "cartesian3d",
    "wrap",
    "grid",
    "theory",
    "spherec",
    "spherecplus",
    "spherem",
    "spheremplus",
)
