"""The fully connected kernel for the DSP instructions: its packing, scratch and constants."""

from functools import partial

import numpy as np

from tesla_codegen.kernels.packed import PACKED, packed_rows, qualifies
from tesla_codegen.kernels.pairing import BLOCK, paired
from tesla_codegen.kernels.variant import Variant
from tesla_codegen.tables import Initializer
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import FullyConnected


def fully_connected(model: Model, index: int) -> Variant | None:
    """A variant of a fully connected layer, or `None` where it would not be exact."""
    op = model.graph.ops[index]
    if not isinstance(op, FullyConnected) or not qualifies(model, index, pairs=True):
        return None
    source = model.graph.tensors[op.input].type
    whole = all(region.types[op.input].channels == source.channels for region in model.regions)
    groups, channels = (1, source.size) if whole else (source.positions, source.channels)
    padded = -(-channels // BLOCK) * BLOCK
    weights = op.weights.data.reshape(-1, groups, channels).astype(np.int8)
    weights = np.pad(weights, ((0, 0), (0, 0), (0, padded - channels)))
    return Variant(
        kernel="tesla_fully_connected_dsp",
        row=PACKED,
        rows=partial(packed_rows, flat=whole),
        layer=Initializer(
            c_type="tesla_fully_connected_t",
            name=f"{op.name}_layer",
            fields=(f".groups = {groups}", f".group_channels = {channels}"),
        ),
        weights=paired(weights.reshape(len(weights), -1)),
        aligned=True,
        scratch_bytes=2 * groups * padded,
    )
