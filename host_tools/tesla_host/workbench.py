"""A model made ready to measure: generated, compiled for the host and for a target."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.lower import Project
from tesla_codegen.project import generate
from tesla_embed.ir.graph import Model
from tesla_embed.ir.store import digest
from tesla_host.build import BuildResult, build_firmware, choose_toolchain
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.targets import Target, find_target, is_connection, open_link

Observer = Callable[[str, float], None]
"""Told what is being done and how much of the whole is done, 0 to 1."""


def ignore(_what: str, _fraction: float) -> None:
    """An observer that shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """Everything that was built from one model, in one folder.

    `target` is a name of the catalogue, or a connection to a board that runs the firmware already;
    `device` is that target's build, `None` for a connection. `host` is the native build, which
    runs whole data sets; it is `device` where the target is the host itself.
    """

    model: Model
    project: Project
    target: str
    host: BuildResult
    device: BuildResult | None

    @property
    def is_host(self) -> bool:
        """Whether the target is this machine."""
        return self.device is self.host

    def connect(self) -> LinkClient:
        """A client of the target's firmware, running and checked to be of this model."""
        expected = ExpectedModel(name=self.model.name, digest=bytes.fromhex(digest(self.model)))
        client = open_link(self.target, self.device.elf if self.device else None, expected)
        try:
            client.hello()
        except BaseException:
            client.close()
            raise
        return client


def set_up(
    model: Model,
    target: str,
    folder: Path,
    toolchain: str | None = None,
    optimize: Optimize = Optimize.BALANCED,
) -> Workbench:
    """Generate the C project of `model` in `folder` and build it for the host and the target.

    `toolchain` is one of the target's; by default its usual one. A target whose instruction set has
    kernels of its own gets a project with these; the host's project then stands in `folder/host`.
    """
    row = None if is_connection(target) else find_target(target)
    if row is not None:
        choose_toolchain(row, toolchain)
    isa = Isa.PORTABLE if row is None else row.isa
    place = folder / "project"
    project = generate(model, place, isa=isa, optimize=optimize)
    if isa is not Isa.PORTABLE:
        place = folder / "host" / "project"
        generate(model, place, optimize=optimize)
    host = build_firmware(place, "host", folder / "host")
    device = None
    if row is not None:
        native = row.name == "host"
        device = host if native else _build(row, folder, toolchain, optimize)
    return Workbench(model=model, project=project, target=target, host=host, device=device)


def _build(row: Target, folder: Path, toolchain: str | None, optimize: Optimize) -> BuildResult:
    project = folder / "project"
    return build_firmware(project, row, folder, toolchain=toolchain, optimize=optimize)
