"""From a float model to integers, calibrated for each operating region."""

from tesla_embed.quant.calibrate import Ranges, calibrate
from tesla_embed.quant.imported import quantize_floats, quantize_module, quantize_program
from tesla_embed.quant.options import Calibration, QatOptions, QuantizeOptions, Reduction
from tesla_embed.quant.pipeline import quantize_checkpoint, quantize_network
from tesla_embed.quant.quantize import quantize

__all__ = [
    "Calibration", "QatOptions", "QuantizeOptions", "Ranges", "Reduction", "calibrate", "quantize",
    "quantize_checkpoint", "quantize_floats", "quantize_module", "quantize_network",
    "quantize_program",
]  # fmt: skip
