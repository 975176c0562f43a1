"""Several training processes that act as one with a larger batch.

In: the environment that torchrun sets. Out: `Workers`, with the few exchanges that training needs.
Gradients are averaged once per step, after the backward passes of all tasks, instead of once per
pass as PyTorch's wrapper would; weights stay equal because every process takes the same step.
Batch norm normalises with each process's own batch, as PyTorch does by default.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from tesla_embed.errors import ConfigError
from tesla_embed.nn.norm import norms


@dataclass(frozen=True, slots=True)
class Workers:
    """This process is number `rank` of `count`; with others, it computes on `device`."""

    rank: int = 0
    count: int = 1
    device: torch.device | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def average_gradients(self, network: nn.Module, share: float) -> None:
        """Weighted mean over processes: gradients here count with `share`; the shares sum to 1.

        Parameters that have no gradient in any process are left without: they did not take part.
        """
        if self.count == 1:
            return
        parameters = [p for p in network.parameters() if p.requires_grad]
        used = self.totals([float(p.grad is not None) for p in parameters])
        parameters = [p for p, uses in zip(parameters, used, strict=True) if uses]
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients]) * share
        dist.all_reduce(flat)
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def totals(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes, the same everywhere."""
        if self.count == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        summed: list[float] = tensor.tolist()
        return summed

    def average_statistics(self, network: nn.Module) -> None:
        """Replace the statistics of batch norm by their mean over processes."""
        for layer in norms(network) if self.count > 1 else ():
            for tensor in (layer.means, layer.variances):
                dist.all_reduce(tensor)
                tensor /= self.count

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.totals([0.0])


@contextlib.contextmanager
def workers(device: torch.device) -> Iterator[Workers]:
    """Join the other processes of a torchrun, if this is one; alone otherwise."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or not dist.is_available():
        yield Workers(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), count, device)
    finally:
        dist.destroy_process_group()


def is_first_process() -> bool:
    """Whether this process shows progress and results, as far as torchrun's environment says."""
    return os.environ.get("RANK", "0") == "0"


def choose_device(name: str) -> torch.device:
    """The device of a recipe: "auto" is the graphics processor where there is one, else the CPU.

    Under torchrun every process of a machine gets a graphics processor of its own. Raises
    `ConfigError` where there is none and one is asked for.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device={name} needs CUDA, which PyTorch does not find; use device=cpu")
    if name == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(name)


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Let a graphics processor compute the same bits every time; a CPU does so anyway."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS wants for it
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
