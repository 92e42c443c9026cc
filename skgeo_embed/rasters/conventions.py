"""What files say about embeddings: the ``geoemb:`` convention of Zarr, and STAC's ``emb:``.

The conventions are those of github.com/geo-embeddings: embeddings-zarr-convention (v1) and
embeddings-stac-specification (v0.0.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.products import Product, scaled

PREFIX = "geoemb:"
CONVENTION = {
    "schema_url": "https://raw.githubusercontent.com/geo-embeddings/embeddings-zarr-convention/"
    "refs/tags/v1/schema.json",
    "spec_url": "https://github.com/geo-embeddings/embeddings-zarr-convention/blob/v1/README.md",
    "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    "name": PREFIX,
    "description": "Geoembeddings convention for geospatial embedding arrays with model provenance",
}
PLAIN = {"none", "raw", "identity"}  # methods that change nothing


@dataclass(frozen=True)
class Described:
    """What a file says about its embeddings.

    Attributes
    ----------
    model : str or None
        The model that made them, in a spelling by which two files can be compared.
    dimensions : int or None
        Number of columns.
    product : Product or None
        How stored numbers are decoded, if each pixel has a scale.
    scales, offsets : tuple of float, or None
        By which stored numbers are multiplied and what is added, one or one for each column.
    """

    model: str | None = None
    dimensions: int | None = None
    product: Product | None = None
    scales: tuple[float, ...] | None = None
    offsets: tuple[float, ...] | None = None

    def of_bands(self, bands: int, path: str) -> Described:
        """Check the number of columns, and give each its scale and offset."""
        if self.dimensions not in (None, bands):
            raise ImageError(
                f"{path} says that it has {self.dimensions} dimensions, and holds {bands}; the "
                "description belongs to another array."
            )
        spread = []
        for what, numbers in (("scales", self.scales), ("offsets", self.offsets)):
            if numbers is not None and len(numbers) not in (1, bands):
                raise ImageError(f"{path} states {len(numbers)} {what} for {bands} columns.")
            spread.append(numbers if numbers is None or len(numbers) > 1 else numbers * bands)
        return Described(self.model, self.dimensions, self.product, *spread)


def from_attributes(
    attributes: Mapping[str, Any], path: str, chosen: Product | None = None
) -> Described:
    """Read the attributes of a Zarr group; a product that the user chose replaces the file's."""
    dimensions = attributes.get(f"{PREFIX}dimensions")
    if dimensions is not None and (not isinstance(dimensions, int) or dimensions < 1):
        raise ImageError(f"{path}: {PREFIX}dimensions is {dimensions!r}, not a number of columns.")
    found = _quantization(attributes.get(f"{PREFIX}quantization"), path, chosen)
    return Described(comparable(attributes.get(f"{PREFIX}model")), dimensions, *found)


def from_stac(item: Mapping[str, Any], path: str, chosen: Product | None = None) -> Described:
    """Read the properties and links of a STAC item."""
    properties = item.get("properties") or {}
    links = [link for link in item.get("links") or [] if isinstance(link, dict)]
    model = next((link.get("href") for link in links if link.get("rel") == "emb:model"), None)
    found = _quantization(properties.get("emb:quantization"), path, chosen)
    return Described(comparable(model), properties.get("emb:dimensions"), *found)


def comparable(model: Any) -> str | None:
    """Spell a model so that two files of it agree; Tessera's files have several spellings."""
    if model is None:
        return None
    text = str(model).strip()
    tessera = re.fullmatch(r"(?:https?://(?:www\.)?geotessera\.org/model/|tessera )v?([\d.]+)/?",
                           text, re.IGNORECASE)  # fmt: skip
    if tessera is None:
        return text
    return f"Tessera {re.sub(r'(.0)+$', '', tessera[1].strip('.'))}"


def _quantization(
    said: Any, path: str, chosen: Product | None
) -> tuple[Product | None, tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return the product, the scales and the offsets of a quantization object."""
    if chosen is not None:
        return chosen, None, None
    if said is None:
        return None, None, None
    if not isinstance(said, dict) or not isinstance(said.get("method"), str):
        raise ImageError(f"{path}: its quantization is {str(said)[:80]}, without a method.")
    scale: Any = said.get("scale")
    offset: Any = said.get("offset", 0.0)
    if isinstance(scale, dict):
        if scale.get("type") == "array":
            return _per_pixel(said, scale, path), None, None
        scale, offset = scale.get("scale"), scale.get("offset", 0.0)
    if scale is None and said["method"] in PLAIN:
        return None, None, None
    if scale is None:
        raise ImageError(
            f"{path} was quantised by {said['method']!r}, but the file states no scale"
            + (f" (it is described at {said['link']})" if isinstance(said.get("link"), str) else "")
            + ". Pass quantization= a name or a skgeo_embed.rasters.Product that decodes it."
        )
    return None, _numbers(scale, "scale", path), _numbers(offset, "offset", path)


def _per_pixel(said: dict[str, Any], scale: dict[str, Any], path: str) -> Product:
    name, dtype = scale.get("array_name"), said.get("quantized_dtype", "int8")
    if not isinstance(name, str):
        raise ImageError(f"{path}: its quantization names no array of scales.")
    try:
        missing = float(scale.get("nodata", "inf"))
        decode = partial(scaled, missing=missing) if np.isfinite(missing) else scaled
        return Product("per_pixel_scale", dtype, None, name, decode)
    except (TypeError, ValueError) as error:
        raise ImageError(f"{path}: its quantization cannot be read: {error}") from error


def _numbers(said: Any, what: str, path: str) -> tuple[float, ...]:
    listed = said if isinstance(said, (list, tuple)) else [said]
    good = [isinstance(n, (int, float)) and not isinstance(n, bool) and np.isfinite(n)
            for n in listed]  # fmt: skip
    if not listed or not all(good):
        raise ImageError(f"{path}: the {what} of its quantization is {str(said)[:60]}.")
    return tuple(map(float, listed))
