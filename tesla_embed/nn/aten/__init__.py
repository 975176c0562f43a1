"""Networks that `torch.export` describes, as float models of one operating region."""

from tesla_embed.nn.aten.model import float_model
from tesla_embed.nn.aten.program import export_program, load_program

__all__ = ["export_program", "float_model", "load_program"]
