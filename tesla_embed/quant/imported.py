"""From somebody's network of floats and data to an integer model of one operating region.

In: a PyTorch module, an exported program, or the float model that an importer made, and examples
that calibrate. Out: the integer `Model`, 100 %.
Refuses, with `UnsupportedOp`, operations that have no counterpart, and with `ConfigError` options
that need labels or several regions: for those, make the module scalable and train it.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.export import ExportedProgram

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model
from tesla_embed.nn.aten import export_program, float_model
from tesla_embed.quant.calibrate import calibrate
from tesla_embed.quant.equalize import equalize
from tesla_embed.quant.options import QuantizeOptions
from tesla_embed.quant.quantize import quantize
from tesla_embed.quant.refine import Refinement, narrowable, refine

Float32 = npt.NDArray[np.float32]


def quantize_module(
    module: nn.Module,
    example: torch.Tensor,
    inputs: Float32,
    name: str,
    options: QuantizeOptions = QuantizeOptions(),  # noqa: B008 - immutable
    *,
    input_range: tuple[float, float] | None = None,
    channels_last: bool = False,
) -> Model:
    """The integers of `module`, which takes inputs like `example` `[B, …]`.

    `inputs`, `input_range` and `channels_last` are those of `quantize_program`. Raises as it does,
    and `UnsupportedOp` for a module that torch.export cannot export.
    """
    program = export_program(module, example)
    return quantize_program(
        program, inputs, name, options, input_range=input_range, channels_last=channels_last
    )


def quantize_program(
    program: ExportedProgram,
    inputs: Float32,
    name: str,
    options: QuantizeOptions = QuantizeOptions(),  # noqa: B008 - immutable
    *,
    input_range: tuple[float, float] | None = None,
    channels_last: bool = False,
    source: str = "module",
) -> Model:
    """The integer model `name` of an exported program, calibrated on `inputs`.

    `inputs` are `[N, height, width, channels]` for images, as data sets have them and as the device
    takes them, although the program takes channels first (unless `channels_last`), and
    `[N, features]` for vectors. `input_range` is the range that inputs are known to have, 0 to 1
    for images. `source` names where the program comes from.
    Raises `UnsupportedOp`, `ConfigError` where the inputs do not fit, `QuantizationError`.
    """
    _check_options(options)
    plain = float_model(program, name, channels_last=channels_last, source=source)
    return quantize_floats(plain, inputs, options, input_range=input_range)


def quantize_floats(
    plain: Model,
    inputs: Float32,
    options: QuantizeOptions = QuantizeOptions(),  # noqa: B008 - immutable
    *,
    input_range: tuple[float, float] | None = None,
) -> Model:
    """The integers of a float model, calibrated on `inputs` `[N, *input shape]`.

    `input_range` is that of `quantize_program`. Raises `ConfigError` where the inputs do not fit,
    and `QuantizationError`.
    """
    _check_options(options)
    shape = plain.graph.tensors[plain.graph.input].type.shape
    whole = inputs[: options.samples]
    if not len(whole) or whole.ndim < 2 or whole[0].size != int(np.prod(shape)):
        raise ConfigError(
            f"the network takes examples {shape}, the data have {inputs.shape[1:]}; give data "
            "with channels last"
        )
    if whole.ndim == 4 and whole.shape[1:] != shape and len(shape) == 3:
        raise ConfigError(
            f"the network takes examples {shape} (height, width, channels), the data have "
            f"{whole.shape[1:]}; give data with channels last"
        )
    examples = np.ascontiguousarray(whole, np.float32).reshape(len(whole), *shape)
    plain = equalize(plain, examples)
    model = quantize(plain, calibrate(plain, examples, input_range, options.calibration))
    choice = Refinement(
        narrow=narrowable(model) if options.reduction.bits == "int4" else (),
        rounding=options.reduction.rounding,
        own_scales=options.calibration.tables == "region",
        bias_correction=options.bias_correction,
    )
    return refine(plain, model, examples, choice)


def _check_options(options: QuantizeOptions) -> None:
    if options.qat is not None or options.reduction.bits == "mixed":
        raise ConfigError(
            "an imported module can be int8 or int4; for training and mixed weights, make it "
            "scalable (make_scalable) and quantise the network"
        )
