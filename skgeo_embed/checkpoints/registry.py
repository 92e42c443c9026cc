"""What can be named: data only."""

from __future__ import annotations

from pathlib import Path

WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "weights"

# name -> folder below skgeo_embed/weights
BUNDLED = {"bluemarble-l10": "bluemarble-l10"}
DEFAULT_MODEL = "bluemarble-l10"
