"""Class activation maps: how much each place in an image adds to the score of a class.

In: a scalable network and images. Out: maps and predictions at a DP percentage. Refuses, with
`UnsupportedOp`, networks without a spatial activation, and with `ConfigError` layers that do not
exist.

With features f_k(p) at place p and the score s_c of class c, the map is
M_c(p) = Σ_k f_k(p) ∂s_c/∂f_k(p). Where only a mean over space and one fully connected layer follow
the features, this is w_ck f_k(p) / places, the map of Zhou et al., "Learning Deep Features for
Discriminative Localization", CVPR 2016, up to a constant. Average pools and a layer over the
flattened image are linear as well, so there too the map sums up to the score less its bias. Behind
any other layer it is a first-order estimate: the element-wise form of Grad-CAM (Selvaraju et al.,
ICCV 2017), as Draelos and Carin, "Use HiResCAM instead of Grad-CAM", 2020, recommend it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.copies import plain_at
from tesla_embed.nn.layers import IncompleteLinear, set_dp
from tesla_embed.nn.networks import Network
from tesla_embed.nn.steps import Kind, Step, Trace, step_name, symbolic, trace

FEWEST = 3
"""Places along a side of the image that a map shall at least have."""


@dataclass(frozen=True, slots=True, eq=False)
class ActivationMaps:
    """`maps` `[B, H', W']` float32 at the size of the layer's activation, for the predicted class.

    `predictions` `[B]` are those classes and `scores` `[B]` their logits.
    """

    maps: npt.NDArray[np.float32]
    predictions: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


class _Capture(fx.Interpreter):
    """Runs a graph and keeps one activation, as a leaf that gets a gradient."""

    def __init__(self, module: fx.GraphModule, wanted: str) -> None:
        super().__init__(module)
        self.wanted = wanted
        self.kept: Tensor | None = None

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if step_name(n) == self.wanted and self.kept is None:
            self.kept = result = result.detach().requires_grad_()
        return result


def activation_maps(
    network: Network, images: npt.NDArray[np.float32], dp: int, layer: str | None = None
) -> ActivationMaps:
    """Maps of the predicted classes for `images` `[B, H, W, C]` at `dp` percent.

    `layer` names the activation to look at, by default the last one that everything after it
    treats linearly or, where that has fewer than `FEWEST` places a side and thus shows nothing, the
    last one before it that has more. Raises `UnsupportedOp` and `ConfigError`.
    """
    x = torch.from_numpy(images).to(next(network.parameters()).device)
    network.eval()
    body = plain_at(network, dp).body
    set_dp(body, dp)
    capture = _Capture(symbolic(body), _choose(trace(body, x[:2]), layer))
    with torch.enable_grad():
        scores = capture.run(x)
        best = scores.argmax(1)
        kept = capture.kept
        assert kept is not None
        (gradient,) = torch.autograd.grad(scores.gather(1, best[:, None]).sum(), kept)
    maps = (kept * gradient).sum(1).detach().cpu().numpy()
    found = scores.detach().gather(1, best[:, None])[:, 0].cpu().numpy()
    return ActivationMaps(maps, best.cpu().numpy(), found)


def _choose(steps: Trace, layer: str | None) -> str:
    """The name of the step whose activation is looked at."""
    spatial = {step.name: step for step in steps.steps if len(step.shape) == 4}
    if layer is not None:
        if layer not in spatial:
            raise ConfigError(f"no image comes out of layer {layer!r}; use {', '.join(spatial)}")
        return layer
    index = steps.output
    while True:
        step = steps.steps[index]
        pools = step.kind is Kind.POOL and step.pooling is not None and step.pooling.average
        linear = pools or step.kind is Kind.FLATTEN or isinstance(step.module, IncompleteLinear)
        if not linear and "ropout" not in step.function and step.function != "Identity":
            break
        index = step.inputs[0]
    if step.name not in spatial or step.kind in (Kind.INPUT, Kind.REARRANGE):
        names = ", ".join(spatial) or "none here"
        raise UnsupportedOp(
            f"the classifier does not work on an image's features but on {step.name}; name a "
            f"layer that makes images: {names}"
        )
    return _large(steps, step).name


def _large(steps: Trace, last: Step) -> Step:
    """The last step up to `last` whose image has enough places, `last` if none has."""
    step = last
    while len(step.shape) == 4 and step.inputs:
        if min(step.shape[2:]) >= FEWEST and step.kind is not Kind.REARRANGE:
            return step
        step = steps.steps[step.inputs[0]]
    return last
