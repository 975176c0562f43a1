"""Compact tables of channels hold what the kernels read, bit for bit."""

import numpy as np
from graphs import extreme_model, layered_model, quantized_model

from tesla_codegen.kernels.channels import channel_table
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.tables import TablePool
from tesla_embed.ir.specialize import specialize


class Kept(TablePool):
    """A pool that hands back what it was given."""

    def table(self, name: str) -> np.ndarray:
        return next(values for known, values in self._wanted if known == name)


def unpacked(row: tuple[str, ...], pool: Kept) -> np.ndarray:
    """As tesla_unpack_dsp: `[out, 4]` of a row and its tables."""
    zero, least, width, once = map(int, row[5:9])
    factors = pool.table(row[9]).view(np.uint32).astype(np.int64)
    shift = least + (factors >> 30)
    mantissa = (factors & (2**30 - 1)) + 2**30
    bytes_ = pool.table(row[10]).reshape(-1, width).view(np.uint8).astype(np.int64)
    bias = (bytes_ << (8 * np.arange(width))).sum(axis=1)
    bias -= np.where(bytes_[:, -1] > 127, 1 << (8 * width), 0)
    multiplier = mantissa if once else 2 * mantissa - 2**32
    rounding = (1 << (shift - 1)) + zero * (1 << shift)
    return np.stack([bias, multiplier, rounding, shift], axis=1)


def test_every_channel_comes_back() -> None:
    widths: dict[int, int] = {}
    plain = 0
    makers = (layered_model, quantized_model, extreme_model)
    for model in (make(seed) for make in makers for seed in range(60)):
        for index, variant in enumerate(choose(model, Isa.DSP, Optimize.BALANCED)):
            plain += variant is not None and variant.row.c_type == "tesla_packed_region_t"
            if variant is None or variant.row.c_type != "tesla_compact_region_t":
                continue
            for region in model.regions:
                dense, pool = specialize(model, region), Kept()
                (row,) = variant.rows(dense, index, pool)
                table = channel_table(dense, index)
                assert table is not None
                assert unpacked(row, pool).tolist() == table.tolist()
                assert variant.unpacked_bytes >= 16 + 16 * len(table)
                widths[int(row[7])] = widths.get(int(row[7]), 0) + 1
    assert widths.keys() == {2, 3, 4}
    assert plain > 0


def test_speed_keeps_tables_as_kernels_read_them() -> None:
    variants = choose(layered_model(3), Isa.DSP, Optimize.SPEED)
    assert not any(variant.unpack for variant in variants if variant is not None)
