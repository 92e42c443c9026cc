"""Checkpoints with the layout of the published ones and weights from the recipe."""

import io

import torch

from tests.recipe import checkpoints_json, state_dict


def checkpoint(variant, *, keep=lambda key: True, dtype_of_visual=None, **hyper):
    """A Lightning checkpoint as a dict; `keep` chooses keys, None removes a hyper-parameter."""
    spec = checkpoints_json()["variants"][variant]
    kept = {key for key, *_ in spec["state_dict"] if keep(key)}
    kept |= {source for key, source in spec["aliases"].items() if keep(key)}
    # what is not kept is not drawn either: an image tower has a hundred times the numbers
    state = state_dict([entry for entry in spec["state_dict"] if entry[0] in kept], spec["aliases"])
    for key, source in spec["aliases"].items():
        if keep(key):
            state[key] = state[source]
    parameters = {**spec["hyper_parameters"], **hyper}
    return {
        "epoch": 1,
        "global_step": 2,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {key: value for key, value in state.items() if keep(key)},
        "hyper_parameters": {k: v for k, v in parameters.items() if v is not None},
        "optimizer_states": [],
    }


def without_vision(key):
    return not key.startswith("model.visual.")


def to_bytes(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
