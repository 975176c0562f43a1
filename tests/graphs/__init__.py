"""Random scalable models for tests, and the C of many models in one program.

`float_model`, `quantized_model`, `extreme_model` and `narrow_model` make verified models from a
seed alone.
"""

from graphs.benchmarks import BENCHMARK_INPUTS, benchmark_model
from graphs.extremes import extreme_model
from graphs.models import (
    RICH,
    every_operation,
    float_inputs,
    float_model,
    int8_inputs,
    quantized_model,
)
from graphs.narrow import narrow_model
from graphs.native import STRICT, Int8, Native, Request, compile_c, first_difference

__all__ = [
    "BENCHMARK_INPUTS",
    "RICH",
    "STRICT",
    "Int8",
    "Native",
    "Request",
    "benchmark_model",
    "compile_c",
    "every_operation",
    "extreme_model",
    "first_difference",
    "float_inputs",
    "float_model",
    "int8_inputs",
    "narrow_model",
    "quantized_model",
]
