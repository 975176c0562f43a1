"""What a training step with several tasks costs, compared with a plain step. No test: it measures.

    python tests/bench/training_step.py cifar10-resnet8 32,32,3 100,70,40,20

prints, for each DP percentage, the time of a forward and backward pass as a share of the plain
module's, next to its share of the multiply-accumulates and to the time of a plain module that is as
narrow: small channel counts are slow by themselves. Then the same for the sum over all tasks.
"""

import functools
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import torch

from tesla_embed.nn.cost import count_macs
from tesla_embed.nn.layers import set_dp
from tesla_embed.nn.networks import build
from tesla_embed.train.recipe import load_recipe

ROUNDS = 15


def timed(step: Callable[[], object]) -> float:
    """Seconds; of this process alone where it does the work, so that other load counts less."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    start = clock()
    step()
    return clock() - start


def main(name: str, shape_text: str, dps_text: str) -> None:
    torch.set_num_threads(1)
    recipe = load_recipe(name)
    shape = tuple(int(size) for size in shape_text.split(","))
    dps = [int(dp) for dp in dps_text.split(",")]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = build(recipe.network, shape, 10, recipe.profile, 0, recipe.batch_norm)
    network.to(device).train()
    plain = {dp: narrow(recipe.network, dp).plain(shape, 10).to(device).train() for dp in dps}
    plain[100] = recipe.network.plain(shape, 10).to(device).train()
    x = torch.rand(recipe.optimizer.batch, *shape, device=device)
    y = torch.zeros(len(x), dtype=torch.int64, device=device)

    def run(module: torch.nn.Module) -> None:
        module.zero_grad()
        network.loss(module(x), x, y).backward()  # type: ignore[no-untyped-call]
        if device == "cuda":
            torch.cuda.synchronize()

    ours: dict[int, float] = {}
    theirs: dict[int, float] = {}
    for _ in range(ROUNDS):  # interleaved, so that other load hits all alike
        for dp, module in plain.items():
            set_dp(network, dp)
            ours[dp] = min(ours.get(dp, math.inf), timed(functools.partial(run, network)))
            theirs[dp] = min(theirs.get(dp, math.inf), timed(functools.partial(run, module)))
    macs = {dp: count_macs(network, dp) for dp in {*dps, 100}}
    base = theirs[100]
    print(f"{name}, batch {len(x)}, plain step {base * 1e3:.1f} ms; all in shares of it")
    for dp in dps:
        print(
            f"{dp:4d} %  MACs {macs[dp] / macs[100]:.3f}  time {ours[dp] / base:.3f}  "
            f"plain module of this width {theirs[dp] / base:.3f}"
        )
    share, cost = sum(macs[dp] for dp in dps) / macs[100], sum(ours[dp] for dp in dps) / base
    alone = sum(theirs[dp] for dp in dps) / base
    print(f" sum    MACs {share:.3f}  time {cost:.3f}  plain modules {alone:.3f}")
    print(f"time over MACs {cost / share:.2f}, time over plain modules {cost / alone:.2f}")


def narrow(config: Any, dp: int) -> Any:
    """A plain network of about the same widths, where the recipe can be told a width."""
    if not hasattr(config, "width"):
        return config
    return msgspec.structs.replace(config, width=config.width * dp / 100)


if __name__ == "__main__":
    main(*sys.argv[1:])
