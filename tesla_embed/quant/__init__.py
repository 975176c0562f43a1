"""From a float model to integers, calibrated for each operating region."""

from tesla_embed.quant.calibrate import Ranges, calibrate
from tesla_embed.quant.pipeline import quantize_checkpoint
from tesla_embed.quant.quantize import quantize

__all__ = ["Ranges", "calibrate", "quantize", "quantize_checkpoint"]
