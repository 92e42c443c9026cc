"""What towers start from."""

from __future__ import annotations

import torch
from torch import nn


def normal_parameter(*shape: int, std: float) -> nn.Parameter:
    """Draw a parameter; not on the device meta, where its weights are loaded later.

    There every operation of torch's takes two seconds of imports the first time.
    """
    value = torch.empty(shape)
    return nn.Parameter(value if value.is_meta else value.normal_().mul_(std))
