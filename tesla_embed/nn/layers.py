"""Layers that compute only a leading part of their dot products.

In: activations whose inactive channels are simply absent. Out: the active channels of the result.
A layer reads its active input width off the tensor it gets and its active output width off the
`ChannelGroup` of its output, slices its weights accordingly and never masks, so the saving is real
and weights outside the active part receive gradients of exactly zero. `set_dp` and `set_widths`
refuse, with `ConfigError`, percentages outside 1 to 100 and widths that cannot be.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tesla_embed.errors import ConfigError
from tesla_embed.nn.channels import ChannelGroup, Span, unique_groups

Axis = Literal["source", "target", "other"]
"""What lies along a dimension of a layer's tensor: channels it reads, channels it makes, or else.
"""


class ScalableLayer(nn.Module):
    """A layer that knows which channels it reads (`source`) and makes (`target`).

    `dp` is the percentage that `set_dp` chose last.
    """

    source: Span
    target: Span
    profile: Tensor | None
    own: tuple[slice, ...] | None = None
    """Where the profile is this layer's to apply, part after part; `None`: all of it, one part."""

    def __init__(self, source: Span, target: Span) -> None:
        super().__init__()
        self.source, self.target = source, target
        self.dp = 100

    def axes(self) -> Mapping[str, tuple[Axis, ...]]:
        """The tensors that grow with the channels, by name, and what their dimensions are."""
        raise NotImplementedError

    def choose(self, choice: Callable[[Tensor, Span, int], Tensor]) -> None:
        """Replace every tensor by `choice(tensor, span, dim)` along each of its channel dimensions.

        The groups are the caller's to adapt.
        """
        spans = {"source": self.source, "target": self.target}
        for name, axes in self.axes().items():
            old: Tensor | None = getattr(self, name)
            if old is None:
                continue
            new = old.detach()
            for dim, axis in enumerate(axes):
                new = choice(new, spans[axis], dim) if axis in spans else new
            new = new.clone()
            is_parameter = isinstance(old, nn.Parameter)
            setattr(self, name, nn.Parameter(new, old.requires_grad) if is_parameter else new)

    def narrow(self) -> None:
        """Keep only the active part of every tensor; the groups are the caller's to adapt."""
        self.choose(lambda tensor, span, dim: span.take(tensor, dim))


class IncompleteLayer(ScalableLayer):
    """What layers with dot products share.

    `outputs` counts output channels; those of `target` that are active are computed. `profile`
    holds γ where this layer applies it, and `bias` is `None` where there is none.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    @property
    def outputs(self) -> int:
        """Output channels at full width."""
        return self.target.size

    def reset(self, generator: torch.Generator, gain: float = 1.0) -> None:
        """Draw weights and biases from U(-g/√fan_in, g/√fan_in); g = 1 is PyTorch's default.

        g = √6 is He's uniform initialisation, which keeps the variance through many ReLU layers
        (He et al., "Delving Deep into Rectifiers", ICCV 2015); biases are then zero.
        """
        bound = gain / math.sqrt(self.weight[0].numel())
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            if self.bias is not None and gain == 1.0:
                self.bias.uniform_(-bound, bound, generator=generator)
            elif self.bias is not None:
                self.bias.zero_()

    def _active(self, terms: int) -> tuple[Tensor, Tensor | None]:
        """Weights and biases for an input of `terms` active entries."""
        weight = self.target.take(self.weight)
        if terms < weight.shape[1]:
            whole = len(self.source.parts) == 1
            weight = weight.narrow(1, 0, terms) if whole else self.source.take(weight, 1)
        return weight, None if self.bias is None else self.target.take(self.bias)

    def _set_weights(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = nn.Parameter(weight)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias))


class IncompleteLinear(IncompleteLayer):
    """Fully connected layer with an incomplete dot product (the paper, Eq. 1).

    y_j = b_j + Σ_{i ≤ k} γ_i w_ji x_i, x `[B, k]`, y `[B, m]`: k is the active input width, found
    in the shape of x, m the active output width. `weight` is `[outputs, inputs]`; `profile` holds
    γ `[inputs]` or is `None` where the input is not scalable or its profile was already applied by
    a convolution (Eq. 2) before flattening.
    """

    def __init__(
        self,
        inputs: int | Span,
        outputs: int | Span,
        *,
        profile: Tensor | None = None,
        scalable: bool = False,
        multiple: int = 1,
    ) -> None:
        source, target = _spans(inputs, outputs, scalable, multiple)
        super().__init__(source, target)
        self._set_weights(torch.zeros(target.size, source.size), torch.zeros(target.size))
        self.register_buffer("profile", profile)

    @staticmethod
    def like(layer: nn.Linear, source: Span, target: Span) -> "IncompleteLinear":
        """The incomplete form of a plain layer, with copies of its weights."""
        with torch.device("meta"):
            made = IncompleteLinear(source, target)
        made._set_weights(*_copies(layer))
        return made

    def axes(self) -> Mapping[str, tuple[Axis, ...]]:
        """The profile lies along the inputs (Eq. 1)."""
        return {"weight": ("target", "source"), "bias": ("target",), "profile": ("source",)}

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, active inputs]` to `[B, active outputs]`."""
        if self.profile is not None:
            terms = x.shape[1]
            partial = len(self.source.parts) == 1 and terms < len(self.profile)
            x = x * (self.profile[:terms] if partial else self.source.take(self.profile))
        return F.linear(x, *self._active(x.shape[1]))


class IncompleteConv(IncompleteLayer):
    """Convolution with an incomplete dot product (the paper, Eq. 2), over time or images.

    y_j = γ_j (b_j + Σ_{i ≤ k} f_ji * x_i), x `[B, k, …]`, y `[B, m, …]`: k is the active input
    width, found in the shape of x, m the active output width. `weight` is
    `[outputs, inputs, *kernel]`; `profile` holds γ `[outputs]` or is `None` for all ones.
    With `depthwise` every input channel has filters of its own, `[outputs, 1, *kernel]`, and m
    follows k: the channels of the input carry their γ through, and none is applied here.
    `padding` counts zeros at both ends of each dimension, or is "same" or "valid".
    """

    def __init__(
        self,
        inputs: int | Span,
        outputs: int | Span,
        kernel: int | tuple[int, ...],
        *,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        depthwise: bool = False,
        profile: Tensor | None = None,
        scalable: bool = False,
        multiple: int = 1,
        dimensions: int = 2,
    ) -> None:
        source, target = _spans(inputs, outputs, scalable, multiple)
        super().__init__(source, target)
        self.kernel = (kernel,) * dimensions if isinstance(kernel, int) else kernel
        self.stride = (stride,) * dimensions if isinstance(stride, int) else stride
        self.padding = (padding,) * dimensions if isinstance(padding, int) else padding
        self.dilation = (dilation,) * dimensions if isinstance(dilation, int) else dilation
        self.depthwise = depthwise
        fan = 1 if depthwise else source.size
        self._set_weights(torch.zeros(target.size, fan, *self.kernel), torch.zeros(target.size))
        self.register_buffer("profile", profile)

    def axes(self) -> Mapping[str, tuple[Axis, ...]]:
        """The profile lies along the outputs (Eq. 2)."""
        weight: tuple[Axis, ...] = ("target",) if self.depthwise else ("target", "source")
        return {"weight": weight, "bias": ("target",), "profile": ("target",)}

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, active inputs, …]` to `[B, active outputs, …]`."""
        weight, bias = self._active(1 if self.depthwise else x.shape[1])
        if self.profile is not None:  # multiplying the result would take another pass over it
            gamma = self.target.take(self.profile)
            weight = weight * gamma.reshape(-1, *[1] * (weight.ndim - 1))
            bias = None if bias is None else bias * gamma
        convolve = F.conv2d if len(self.kernel) == 2 else F.conv1d
        y: Tensor = convolve(
            x,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            x.shape[1] if self.depthwise else 1,
        )
        return y

    def _active(self, terms: int) -> tuple[Tensor, Tensor | None]:
        if not self.depthwise:
            return super()._active(terms)
        bias = None if self.bias is None else self.target.take(self.bias)
        return self.target.take(self.weight), bias


class IncompleteConv2d(IncompleteConv):
    """`IncompleteConv` over images: x is `[B, k, H, W]`."""

    @staticmethod
    def like(layer: nn.Conv2d, source: Span, target: Span) -> "IncompleteConv2d":
        """The incomplete form of a plain layer, with copies of its weights."""
        with torch.device("meta"):
            made = IncompleteConv2d(source, target, layer.kernel_size, **_options(layer))
        made._set_weights(*_copies(layer))
        return made


class IncompleteConv1d(IncompleteConv):
    """`IncompleteConv` over time: x is `[B, k, L]`, kernel and stride have one number."""

    @staticmethod
    def like(layer: nn.Conv1d, source: Span, target: Span) -> "IncompleteConv1d":
        """The incomplete form of a plain layer, with copies of its weights."""
        with torch.device("meta"):
            made = IncompleteConv1d(source, target, layer.kernel_size, **_options(layer))
        made._set_weights(*_copies(layer))
        return made


class ChannelsFirst(nn.Module):
    """Turns images as data sets have them, `[B, H, W, C]`, into `[B, C, H, W]`.

    Likewise sequences `[B, L, C]` into `[B, C, L]`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Move the last dimension to the second place."""
        return x.movedim(-1, 1)


def set_dp(module: nn.Module, dp: int) -> None:
    """Let every scalable layer inside `module` compute at `dp` percent from now on."""
    if not 1 <= dp <= 100:
        raise ConfigError(f"{dp} % DP is out of range; use 1 to 100")
    for layer in module.modules():
        if isinstance(layer, ScalableLayer):
            layer.dp = dp
            for part in (*layer.source.parts, *layer.target.parts):
                part.group.active = part.group.width(dp)


def channel_groups(module: nn.Module) -> dict[str, ChannelGroup]:
    """The groups of channels that shrink together inside `module`, by name, in execution order."""
    layers = [layer for layer in module.modules() if isinstance(layer, ScalableLayer)]
    return unique_groups(span for layer in layers for span in (layer.source, layer.target))


def set_widths(module: nn.Module, widths: Mapping[str, int]) -> None:
    """Set the number of active channels of some groups; the others stay as they are.

    Names are those of `channel_groups`. Batch norm then uses the statistics for the smallest DP
    percentage that covers the mean share of active channels and all active ones of its own.
    Raises `ConfigError` for unknown groups and widths that cannot be, before changing anything.
    """
    groups = channel_groups(module)
    for name, channels in widths.items():
        if name not in groups:
            known = ", ".join(name for name, group in groups.items() if group.scalable)
            raise ConfigError(f"group {name!r} is not known; scalable groups are {known}")
        groups[name].checked(channels)
    for name, channels in widths.items():
        groups[name].active = channels
    scalable = [group for group in groups.values() if group.scalable]
    share = sum(group.active for group in scalable) / max(1, sum(g.size for g in scalable))
    for layer in module.modules():
        if isinstance(layer, ScalableLayer):
            layer.dp = math.ceil(100 * share) or 100


def _spans(
    inputs: int | Span, outputs: int | Span, scalable: bool, multiple: int
) -> tuple[Span, Span]:
    source = Span.of(inputs) if isinstance(inputs, int) else inputs
    if isinstance(outputs, Span):
        return source, outputs
    return source, Span.of(outputs, scalable=scalable, multiple=multiple)


def _copies(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    weight, bias = cast("Tensor", layer.weight), cast("Tensor | None", layer.bias)
    return weight.detach().clone(), None if bias is None else bias.detach().clone()


def _options(layer: nn.Conv1d | nn.Conv2d) -> dict[str, Any]:
    return {
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "depthwise": layer.groups > 1,
        "dimensions": len(layer.kernel_size),
    }
