"""Initial values of towers."""

from __future__ import annotations

import torch
from torch import nn


def normal_parameter(*shape: int, std: float) -> nn.Parameter:
    """Draw a parameter, except on the device meta, for which weights are loaded later.

    The first operation of torch on that device imports packages for two seconds.
    """
    value = torch.empty(shape)
    return nn.Parameter(value if value.is_meta else value.normal_().mul_(std))
