"""Compact tables of channels hold what the kernels read, bit for bit."""

import numpy as np
import pytest
from graphs import extreme_model, layered_model, quantized_model

from tesla_codegen.kernels.channels import channel_table, scaled_table
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.packed import PACKED, SCALED
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.tables import TablePool
from tesla_embed.ir import specialize as cutting
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.specialize import specialize


class Kept(TablePool):
    """A pool that hands back what it was given."""

    def table(self, name: str) -> np.ndarray:
        return next(values for known, values in self._wanted if known == name)


def fields(row: tuple[str, ...], pool: Kept, widths: int) -> list[tuple[int, int, int]]:
    """Excess, bias and factor without sign of each channel."""
    biases, excess = widths % 64, widths // 64
    table = pool.table(row[-1])
    bits = int.from_bytes(table.tobytes(), "little")
    found = []
    for channel in range(int(row[1])):
        word = bits >> channel * (biases + excess + 30)
        bias = (word >> excess) & ((1 << biases) - 1)
        mantissa = (word >> (biases + excess)) & (2**30 - 1)
        sign = bias >> (biases - 1) << biases
        found.append((word & ((1 << excess) - 1), bias - sign, mantissa + 2**30))
        last = (channel * (biases + excess + 30) + biases + excess) // 8
        assert last + 5 <= len(table)  # which the C reads
    return found


def unpacked(row: tuple[str, ...], pool: Kept) -> list[list[int]]:
    """As tesla_unpack_dsp: `[out, 4]` of a row and its table."""
    zero, least, widths, once = map(int, row[5:9])
    channels = []
    for excess, bias, mantissa in fields(row, pool, widths):
        shift = least + excess
        multiplier = mantissa if once else 2 * mantissa - 2**32
        channels.append([bias, multiplier, (1 << (shift - 1)) + zero * (1 << shift), shift])
    return channels


def scaled(row: tuple[str, ...], pool: Kept) -> list[list[int]]:
    """As tesla_unpack_scaled_dsp: `[out, 3]` of a row and its table."""
    widths, scale = map(int, row[8:10])
    return [
        [bias, 2 * mantissa - 2**32, 1 << (scale - excess)]
        for excess, bias, mantissa in fields(row, pool, widths)
    ]


def test_every_channel_comes_back() -> None:
    widths: dict[str, set[int]] = {PACKED.c_type: set(), SCALED.c_type: set()}
    kept = set()
    makers = (layered_model, quantized_model, extreme_model)
    for model in (make(seed) for make in makers for seed in range(60)):
        for index, variant in enumerate(choose(model, Isa.DSP, Optimize.BALANCED)):
            if variant is None or not variant.unpack:
                kept.add(variant.row.c_type if variant is not None else "")
                continue
            for region in model.regions:
                dense, pool = specialize(model, region), Kept()
                (row,) = variant.rows(dense, index, pool)
                if variant.unpack == "tesla_unpack_scaled_dsp":
                    table = scaled_table(dense, index)
                    assert table is not None
                    assert scaled(row, pool) == table.channels.tolist()
                    assert variant.unpacked_bytes >= 24 + 12 * len(table.channels)
                    widths[SCALED.c_type].add(int(row[8]))
                else:
                    channels = channel_table(dense, index)
                    assert channels is not None
                    assert unpacked(row, pool) == channels.tolist()
                    assert variant.unpacked_bytes >= 16 + 16 * len(channels)
                    widths[PACKED.c_type].add(int(row[7]))
    for found in widths.values():
        assert {width // 64 for width in found} >= {0, 1, 2}
        assert {width % 64 // 8 for width in found} >= {0, 1, 2}
    assert kept >= {PACKED.c_type, SCALED.c_type}


def test_speed_keeps_tables_as_kernels_read_them() -> None:
    variants = choose(layered_model(3), Isa.DSP, Optimize.SPEED)
    assert not any(variant.unpack for variant in variants if variant is not None)


@pytest.mark.parametrize("isa", Isa)
@pytest.mark.parametrize("optimize", Optimize)
def test_weights_are_cut_once_for_each_region(
    isa: Isa, optimize: Optimize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choosing kernels cut all layers for each layer: the time grew with the square of them."""
    model, cut = layered_model(3), []
    original = cutting.active_weights
    monkeypatch.setattr(
        cutting, "active_weights", lambda *given: cut.append(given[0].name) or original(*given)
    )
    choose(model, isa, optimize)
    weighted = [op for op in model.graph.ops if isinstance(op, Weighted)]
    assert len(weighted) > 1
    assert len(cut) == (0 if isa is Isa.PORTABLE else len(weighted) * len(model.regions))
