"""Layers that compute only a leading part of their dot products.

In: activations whose inactive channels are simply absent. Out: the active channels of the result.
A layer reads its active input width off the tensor it gets and its active output width off its
DP percentage, slices its weights accordingly and never masks, so the saving is real and weights
outside the active part receive gradients of exactly zero. Refuses DP percentages outside 1 to 100.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import active_channels


class IncompleteLayer(nn.Module):
    """What scalable layers share: the DP percentage and the active width of their output.

    `outputs` counts output channels. With `scalable` only the leading `dp` percent of them, rounded
    up to a `multiple` (1 is the paper's rule), are computed; otherwise always all.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    profile: Tensor | None

    def __init__(self, outputs: int, *, scalable: bool, multiple: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.scalable = scalable
        self.multiple = multiple
        self.dp = 100

    def active_outputs(self, dp: int | None = None) -> int:
        """Number of output channels computed at `dp` percent, by default at the present one."""
        if not self.scalable:
            return self.outputs
        return active_channels(self.outputs, self.dp if dp is None else dp, self.multiple)

    def reset(self, generator: torch.Generator) -> None:
        """Draw weights and biases from U(-1/√fan_in, 1/√fan_in), PyTorch's own default."""
        bound = 1 / math.sqrt(self.weight[0].numel())
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)


class IncompleteLinear(IncompleteLayer):
    """Fully connected layer with an incomplete dot product (the paper, Eq. 1).

    y_j = b_j + Σ_{i ≤ k} γ_i w_ji x_i, x `[B, k]`, y `[B, m]`: k is the active input width, found
    in the shape of x, m the active output width. `weight` is `[outputs, inputs]`; `profile` holds
    γ `[inputs]` or is `None` where the input is not scalable or its profile was already applied by
    a convolution (Eq. 2) before flattening.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        profile: Tensor | None = None,
        scalable: bool = False,
        multiple: int = 1,
    ) -> None:
        super().__init__(outputs, scalable=scalable, multiple=multiple)
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("profile", profile)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, active inputs]` to `[B, active outputs]`."""
        terms, rows = x.shape[1], self.active_outputs()
        if self.profile is not None:
            x = x * self.profile[:terms]
        return F.linear(x, self.weight[:rows, :terms], self.bias[:rows])


class IncompleteConv2d(IncompleteLayer):
    """Convolution with an incomplete dot product (the paper, Eq. 2).

    y_j = γ_j (b_j + Σ_{i ≤ k} f_ji * x_i), x `[B, k, H, W]`, y `[B, m, H', W']`: k is the active
    input width, found in the shape of x, m the active output width. `weight` is
    `[outputs, inputs, kernel, kernel]`; `profile` holds γ `[outputs]` or is `None` for all ones.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        profile: Tensor | None = None,
        scalable: bool = False,
        multiple: int = 1,
    ) -> None:
        super().__init__(outputs, scalable=scalable, multiple=multiple)
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("profile", profile)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, active inputs, H, W]` to `[B, active outputs, H', W']`."""
        terms, rows = x.shape[1], self.active_outputs()
        weight, bias = self.weight[:rows, :terms], self.bias[:rows]
        y = F.conv2d(x, weight, bias, stride=self.stride, padding=self.padding)
        return y if self.profile is None else y * self.profile[:rows, None, None]


def set_dp(module: nn.Module, dp: int) -> None:
    """Let every scalable layer inside `module` compute at `dp` percent from now on."""
    if not 1 <= dp <= 100:
        raise ConfigError(f"{dp} % DP is out of range; use 1 to 100")
    for layer in module.modules():
        if isinstance(layer, IncompleteLayer):
            layer.dp = dp
