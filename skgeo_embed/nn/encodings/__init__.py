"""Positional encodings: what a location network is fed in the place of longitude and latitude."""

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
