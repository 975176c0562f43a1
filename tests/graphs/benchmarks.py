"""Small models with the inputs of MLPerf Tiny's benchmarks; what they compute means nothing."""

from dataclasses import replace

import numpy as np

from graphs.grow import Builder, Cell
from graphs.models import finish, float_inputs
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Activation, FullyConnected
from tesla_embed.ir.verify import verify
from tesla_embed.quant import calibrate, quantize

BENCHMARK_INPUTS = {
    "kws01": (49, 10, 1),
    "ic01": (32, 32, 3),
    "vww01": (96, 96, 3),
    "ad01": (640,),
}
"""The shape of an input, by the benchmark's name."""

_CLASSES = {"kws01": 12, "ic01": 10, "vww01": 2}


def benchmark_model(name: str) -> Model:
    """A quantised model of the benchmark `name`, in the regions of 20, 60 and 100 %."""
    builder = Builder(np.random.default_rng(len(name)), portable=True)
    builder.begin(BENCHMARK_INPUTS[name])
    if name == "ad01":
        builder.fully_connected(scalable=True, size=16)
        builder.fully_connected(scalable=True, size=8)
        builder.fully_connected(scalable=False, size=640)
    else:
        builder.conv(Cell(6, scalable=True), style="valid")
        builder.mean()
        builder.reshape((builder.last.size,))
        builder.fully_connected(scalable=False, size=_CLASSES[name])
    last = builder.ops[-1]
    assert isinstance(last, FullyConnected)
    builder.ops[-1] = replace(last, activation=Activation.NONE)  # negative outputs, too
    model = verify(finish(builder, f"{name}_like", dps=(20, 60, 100)))
    return quantize(model, calibrate(model, float_inputs(model, 0, 8)))
