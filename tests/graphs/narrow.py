"""Quantised models some of whose layers have weights of four bits."""

import dataclasses

import numpy as np

from graphs.extremes import extreme_model
from graphs.models import quantized_model
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Op, Weighted
from tesla_embed.ir.verify import verify
from tesla_embed.quant.refine import narrowable


def narrow_model(seed: int, name: str = "net", portable: bool = False) -> Model:
    """An ordinary model or one at the edges; most layers that can have them, of four bits.

    Smaller weights make smaller sums, so that every table still fits.
    """
    rng = np.random.default_rng([seed, 2])
    model = (extreme_model if seed % 2 else quantized_model)(seed, name, portable)
    able = narrowable(model)
    chosen = {*map(int, rng.permutation(able)[:1]), *(i for i in able if rng.random() < 0.7)}
    ops = tuple(_narrow(op, rng) if i in chosen else op for i, op in enumerate(model.graph.ops))
    return verify(dataclasses.replace(model, graph=dataclasses.replace(model.graph, ops=ops)))


def _narrow(op: Op, rng: np.random.Generator) -> Op:
    assert isinstance(op, Weighted)
    whole = op.weights.data.astype(np.int64)
    noise = rng.integers(-1, 2, whole.shape) * (whole != 0)
    small = np.clip(np.rint(whole / 18) + noise, -7, 7)
    data = np.where(np.abs(small) <= np.abs(whole), small, np.sign(whole)).astype(np.int8)
    return dataclasses.replace(op, weights=dataclasses.replace(op.weights, data=data, bits=4))
