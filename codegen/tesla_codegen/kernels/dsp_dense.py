"""The fully connected kernel for the DSP instructions: its packing, scratch and constants."""

from functools import partial

import numpy as np

from tesla_codegen.kernels.channels import reads_all_channels
from tesla_codegen.kernels.packed import PACKED, packed_rows, qualifies
from tesla_codegen.kernels.pairing import BLOCK, halves_fit, paired_compactly, part_that_fits
from tesla_codegen.kernels.variant import Cuts, Variant
from tesla_codegen.tables import Initializer
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import FullyConnected
from tesla_embed.ir.requantization import quantization

_MOST = 2**16 - 1


def fully_connected(model: Model, cuts: Cuts, index: int) -> Variant | None:
    """A variant of a fully connected layer, or `None` where it would not be exact."""
    op = model.graph.ops[index]
    if not isinstance(op, FullyConnected) or not qualifies(model, cuts, index, pairs=False):
        return None
    source = model.graph.tensors[op.input].type
    whole = reads_all_channels(model, op)
    groups, channels = (1, source.size) if whole else (source.positions, source.channels)
    padded = -(-channels // BLOCK) * BLOCK
    weights = op.weights.data.reshape(-1, groups, channels).astype(np.int8)
    weights = np.pad(weights, ((0, 0), (0, 0), (0, padded - channels)))
    rows = weights.reshape(len(weights), -1)
    part = part_that_fits(rows, *_input_range(model, op))
    if part is None or not halves_fit(rows) or max(channels, len(rows)) > _MOST:
        return None
    fields = (groups, channels, len(rows), min(part, _MOST))
    names = ("groups", "group_channels", "outputs", "part")
    return Variant(
        kernel="tesla_fully_connected_dsp",
        helpers=("tesla_clamp_dsp",),
        row=PACKED,
        rows=partial(packed_rows, flat=whole),
        layer=Initializer(
            c_type="tesla_dsp_dense_t",
            name=f"{op.name}_layer",
            fields=tuple(f".{name} = {n}" for name, n in zip(names, fields, strict=True)),
        ),
        weights=paired_compactly(rows),
        aligned=True,
        scratch_bytes=2 * groups * padded,
    )


def _input_range(model: Model, op: FullyConnected) -> tuple[int, int]:
    """Smallest and largest input with its offset, in any region."""
    zeros = [quantization(region.types[op.input]).zero_point for region in model.regions]
    return -128 - max(zeros), 127 - min(zeros)
