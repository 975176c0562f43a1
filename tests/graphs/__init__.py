"""Random scalable models for tests, and the C of many models in one program.

`float_model`, `quantized_model`, `extreme_model` and `narrow_model` make verified models from a
seed alone.
"""

from graphs.benchmarks import BENCHMARK_INPUTS, benchmark_model
from graphs.compare import expected_layers
from graphs.driver import STRICT, Int8, Request, compile_c, first_difference
from graphs.emulated import Cross, Emulated, zig_m4
from graphs.extremes import extreme_model
from graphs.layered import filtered_model, layered_model
from graphs.models import (
    RICH,
    every_operation,
    float_inputs,
    float_model,
    int8_inputs,
    quantized_model,
)
from graphs.narrow import narrow_model
from graphs.native import Native
from graphs.vectored import Vectored
from graphs.wide import strip_model, wide_model
from graphs.zoo import ZOO, zoo_model

__all__ = [
    "BENCHMARK_INPUTS",
    "RICH",
    "STRICT",
    "ZOO",
    "Cross",
    "Emulated",
    "Int8",
    "Native",
    "Request",
    "Vectored",
    "benchmark_model",
    "compile_c",
    "every_operation",
    "expected_layers",
    "extreme_model",
    "filtered_model",
    "first_difference",
    "float_inputs",
    "float_model",
    "int8_inputs",
    "layered_model",
    "narrow_model",
    "quantized_model",
    "strip_model",
    "wide_model",
    "zig_m4",
    "zoo_model",
]
