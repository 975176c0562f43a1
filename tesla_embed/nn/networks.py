"""The scalable networks that can be trained here, built from a configuration.

In: a configuration, the shape of one example and the number of classes. Out: a `Network` around a
scalable body. Refuses, with `ConfigError`, configurations that do not fit the data.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tesla_embed.errors import ConfigError
from tesla_embed.nn.layers import ChannelsFirst, IncompleteLayer
from tesla_embed.nn.norm import BatchNormOptions, IncompleteBatchNorm
from tesla_embed.nn.order import shrink
from tesla_embed.nn.scalable import make_scalable
from tesla_embed.nn.zoo.autoencoder import AutoencoderConfig
from tesla_embed.nn.zoo.cnn import CnnConfig
from tesla_embed.nn.zoo.dscnn import DscnnConfig
from tesla_embed.nn.zoo.mlp import MlpConfig
from tesla_embed.nn.zoo.mobilenet import MobileNetConfig
from tesla_embed.nn.zoo.plan import Count, Task
from tesla_embed.nn.zoo.resnet8 import ResNet8Config
from tesla_embed.nn.zoo.vgg16 import Vgg16Config

__all__ = [
    "ChannelsFirst", "CnnConfig", "Count", "MlpConfig", "Network", "NetworkConfig", "assemble",
    "build",
]  # fmt: skip

NetworkConfig = (
    MlpConfig
    | CnnConfig
    | Vgg16Config
    | ResNet8Config
    | DscnnConfig
    | MobileNetConfig
    | AutoencoderConfig
)


class Network(nn.Module):
    """A scalable `body` from examples `[B, *input_shape]` to its outputs `[B, outputs]`.

    `input_shape` is the shape of one example as the data set has it, `(H, W, C)` or `(features,)`.
    With `task` "classify" the outputs are logits of `classes` classes, with "reconstruct" the flat
    input again.
    """

    def __init__(
        self,
        body: nn.Module,
        input_shape: tuple[int, ...],
        classes: int,
        task: Task = "classify",
    ) -> None:
        super().__init__()
        self.body = body
        self.input_shape = input_shape
        self.classes = classes
        self.task = task

    def forward(self, x: Tensor) -> Tensor:
        """Map examples `[B, *input_shape]` to outputs `[B, outputs]`."""
        output: Tensor = self.body(x)
        return output

    def loss(self, output: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Mean loss of the outputs for examples `x` with labels `y` `[B]`.

        Cross-entropy for classes, the mean squared error against `x` for reconstruction.
        """
        if self.task == "classify":
            return F.cross_entropy(output, y)
        return F.mse_loss(output, x.flatten(1))

    def imitation(self, output: Tensor, teacher: Tensor) -> Tensor:
        """Mean loss of the outputs against a teacher's, which get no gradient.

        Cross-entropy with the teacher's probabilities, the mean squared error for reconstruction.
        """
        answers = teacher.detach()
        if self.task == "classify":
            return F.cross_entropy(output, answers.softmax(1))
        return F.mse_loss(output, answers)


def assemble(
    config: NetworkConfig,
    input_shape: tuple[int, ...],
    classes: int,
    profile: str,
    batch_norm: BatchNormOptions | None = None,
) -> Network:
    """Build a network for examples of `input_shape`, its weights all zero.

    Raises `ConfigError` when the configuration does not fit the data.
    """
    options = batch_norm or BatchNormOptions()
    with torch.device("meta"):  # shapes are enough, and nothing random is drawn
        plain = config.plain(input_shape, classes)
        example = torch.empty(2, *input_shape)
    body = make_scalable(
        plain,
        example,
        profile=profile,
        multiple=config.multiple,
        fixed=config.fixed(),
        preserve="weights",
        rows=options.rows,
        track=options.mode == "separate",
    )
    try:
        shrink(body, config.widths)
    except ConfigError as error:
        raise ConfigError(f"network.widths does not fit the network: {error}") from error
    for layer in body.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            zeros = torch.zeros(parameter.shape)  # on the default device
            setattr(layer, name, nn.Parameter(zeros))
        if isinstance(layer, IncompleteBatchNorm):
            layer.reset()
    return Network(body, input_shape, classes, config.task)


def build(
    config: NetworkConfig,
    input_shape: tuple[int, ...],
    classes: int,
    profile: str,
    seed: int,
    batch_norm: BatchNormOptions | None = None,
) -> Network:
    """Like `assemble`, with initial weights drawn from `seed`."""
    network = assemble(config, input_shape, classes, profile, batch_norm)
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, IncompleteLayer):
            layer.reset(generator, config.gain)
    return network
