"""Model cards: the README.md beside saved weights."""

from __future__ import annotations

import json
import re
from typing import Any

_TEMPLATE = """\
---
library_name: skgeo-embed
license: {licence}
tags:
- location-encoder
- geospatial
- satclip
---

# {title}

A location encoder in the manner of SatCLIP (Klemmer et al., AAAI 2025, arXiv 2311.17179): it turns
longitude and latitude (degrees, WGS84) into {embed_dim} numbers that describe the place.

```python
from skgeo_embed import SatCLIPEncoder

encoder = SatCLIPEncoder({name!r})
```

| | |
| --- | --- |
{rows}{content}{body}"""

_CONTENT = """
## Content columns

`SatCLIPEncoder({name}, layer="content")` gives what a place looks like, unmixed, in {count}
columns. Each is the mean or the standard deviation of one layer over a box around the place, as
wide on the ground as it is high. Its name says layer, statistic and side of the box, such as
`{example}`.

| layer | unit | means over boxes of, km | deviations over boxes of, km |
| --- | --- | --- | --- |
{rows}"""


def model_card(
    *,
    title: str,
    name: str,
    licence: str,
    config: dict[str, Any],
    scores: dict[str, Any],
    body: str = "",
) -> str:
    """Write a card from the encoder's config and its training scores."""
    location = config["location"]
    facts = {
        "Trained on": config.get("trained_on"),
        "Positional encoding": _describe_encoding(location),
        "Network": _describe_network(location),
        **scores,
        "Licence": licence,
    }
    facts = {key: "not stated" if value is None else value for key, value in facts.items()}
    rows = "".join(f"| {key} | {_cell(value)} |\n" for key, value in facts.items())
    simple = re.fullmatch(r"[\w.+-]+", licence) is not None
    return _TEMPLATE.format(
        licence=licence.lower() if simple else "other",
        title=title,
        embed_dim=location["embed_dim"],
        name=name,
        rows=rows,
        content=content_section(config, name),
        body=f"\n{body}\n" if body else "\n",
    )


def content_section(config: dict[str, Any], name: str) -> str:
    """Describe an encoder's content columns from its config; return "" if it has none."""
    content = config.get("content")
    if not content:
        return ""
    lines, count, example = [], 0, ""
    for layer in content["layers"]:
        means, deviations = layer["means_km"], layer["deviations_km"]
        count += len(means) + len(deviations)
        statistic, first = ("mean", means[0]) if means else ("std", deviations[0])
        example = example or f"{layer['name']}_{statistic}_{first:g}km"
        lines.append((layer["name"], layer["unit"], means, deviations))
    sides = {layer["name"]: layer["means_km"] for layer in content["layers"]}
    for contrast, (first, second) in content["contrasts"].items():
        count += len(sides[first])
        unit = f"({first} - {second}) / ({first} + {second})"
        lines.append((contrast, unit, sides[first], []))
    rows = "".join(
        f"| `{_cell(layer)}` | {_cell(unit)} | {_sides(means)} | {_sides(deviations)} |\n"
        for layer, unit, means, deviations in lines
    )
    return _CONTENT.format(name=json.dumps(name), count=count, example=_cell(example), rows=rows)


def _sides(sides: list[float]) -> str:
    return ", ".join(f"{km:g}" for km in sides) or "none"


def _cell(value: Any) -> str:
    """A value on one line of a table."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _describe_network(location: dict[str, Any]) -> str:
    if "sine_dim" in location:
        depth, width = location["num_hidden_layers"] - 1, location["sine_dim"]
        sines = f"{location['network']}, {depth} hidden layer(s) of {width}"
        return f"{sines}, {location['hidden_dim']} components"
    depth, width = location["num_hidden_layers"], location["hidden_dim"]
    return f"{location['network']}, {depth} hidden layer(s) of {width}"


def _describe_encoding(location: dict[str, Any]) -> str:
    if location["positional_encoding"] == "sphericalharmonics":
        return (
            f"spherical harmonics, L = {location['legendre_polys']} "
            f"({location['harmonics_calculation']}, {location['harmonics']})"
        )
    return f"{location['positional_encoding']}, {location['n_frequencies']} frequencies"
