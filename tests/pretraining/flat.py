"""A pretrainer from flat words: those of the recipe, of Lightning, and its own."""

import inspect

from skgeo_embed import Recipe, SatCLIPPretrainer

OF_RECIPE = set(inspect.signature(Recipe).parameters)
OF_LIGHTNING = {
    "accelerator", "devices", "num_nodes", "strategy", "precision", "callbacks", "logger",
}  # fmt: skip


def flat_pretrainer(**words):
    recipe = {k: v for k, v in words.items() if k in OF_RECIPE}
    options = {k: v for k, v in words.items() if k in OF_LIGHTNING}
    own = {k: v for k, v in words.items() if k not in OF_RECIPE | OF_LIGHTNING}
    return SatCLIPPretrainer(Recipe(**recipe), trainer_options=options or None, **own)
