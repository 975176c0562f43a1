"""Kernels for the DSP instructions where sums are split, blocks are short and shifts are long."""

import dataclasses
from pathlib import Path

import numpy as np
from conftest import require
from graphs import Emulated, Native, layered_model, zig_m4
from test_generated_layers import QUICKLY, SANITIZERS, differences, gcc

from tesla_codegen.kernels.channels import scaled_table
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import Conv2D, FullyConnected
from tesla_embed.ir.specialize import specialize
from tesla_embed.ir.types import Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify


def dense_model(outputs: int, inputs: int, *, large: bool) -> Model:
    """One fully connected layer; with `large`, odd channels' sums exceed what a pair holds."""
    rng = np.random.default_rng([outputs, inputs])
    weights = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    if large:
        weights[1::2] = rng.integers(100, 128, weights[1::2].shape)
    sizes = (inputs, outputs)
    tensors = tuple(
        Tensor(name=name, type=TensorType(shape=(size,), channels=size))
        for name, size in zip(("input", "output"), sizes, strict=True)
    )
    spread = float(np.abs(weights.astype(np.int64)).sum(axis=1).max())
    scales = (1.0, float(np.float32(spread)))
    types = tuple(
        dataclasses.replace(tensor.type, quantization=Quantization(scale=scale, zero_point=zero))
        for tensor, scale, zero in zip(tensors, scales, (-128, -100), strict=True)
    )
    scale = np.ones(outputs)
    op = FullyConnected(
        name="fc", inputs=(0,), output=1, weights=Weights(data=weights, scale=scale)
    )
    bias = rng.integers(-1000, 1000, outputs).astype(np.int32)
    region = Region(dp=100, types=types, tables=(Table(bias=bias, weight_scale=scale.copy()),))
    graph = Graph(tensors=tensors, ops=(op,), input=0, output=1)
    return verify(Model(name="net", graph=graph, regions=(region,)))


def spread_model(seed: int) -> Model:
    """A layered model, one output channel of whose convolutions has a scale 2^8 times smaller."""
    model = layered_model(seed)
    regions = []
    for region in model.regions:
        tables = list(region.tables)
        for index, op in enumerate(model.graph.ops):
            table = tables[index]
            if isinstance(op, Conv2D) and table is not None:
                scale = table.weight_scale.copy()
                scale[-1] /= 2.0**8
                tables[index] = dataclasses.replace(table, weight_scale=scale)
        regions.append(dataclasses.replace(region, tables=tuple(tables)))
    return verify(dataclasses.replace(model, regions=tuple(regions)))


def dense_models() -> list[Model]:
    short = [dense_model(outputs, 37, large=False) for outputs in (1, 2, 3, 4, 5, 6, 10)]
    split = [
        dense_model(outputs, inputs, large=True) for outputs in (2, 7) for inputs in (300, 901)
    ]
    for model in (*short, *split):
        (variant,) = choose(model, Isa.DSP, Optimize.BALANCED)
        assert variant is not None and variant.layer is not None
        assert variant.kernel == "tesla_fully_connected_dsp"
        part = int(variant.layer.fields[-1].split()[-1])
        assert (part * 4 < model.graph.tensors[0].type.size) == (model in split)
    return [*short, *split]


def spread_models(seeds: range) -> list[Model]:
    """Models; asserts that their tables have all kinds of rounding."""
    models = [*map(spread_model, seeds)]
    kinds = set()
    for model in models:
        for region in model.regions:
            dense = specialize(model, region)
            for index, op in enumerate(dense.graph.ops):
                table = scaled_table(dense, index) if isinstance(op, Conv2D) else None
                if table is not None:
                    kinds.add((table.away, table.early > 0))
    assert kinds == {(False, False), (True, False), (True, True)}
    return models


def test_plain_c(tmp_path: Path) -> None:
    models = [*dense_models(), *spread_models(range(30))]
    native = Native(models, tmp_path, require(gcc), ["-O1", *SANITIZERS], Isa.DSP, QUICKLY)
    assert differences(native, models, samples=4) == []


def test_assembly(tmp_path: Path) -> None:
    models = [*dense_models(), *spread_models(range(30, 60))]
    native = Emulated(models, tmp_path, require(zig_m4), ["-O2"], Isa.DSP)
    assert differences(native, models, samples=4) == []
