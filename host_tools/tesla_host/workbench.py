"""A model made ready to measure: generated, compiled for the host and for a target."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tesla_codegen.kernels.variant import Optimize
from tesla_codegen.lower import Project
from tesla_codegen.project import generate
from tesla_embed.atomic import remove_file
from tesla_embed.ir.graph import Model
from tesla_embed.ir.store import digest
from tesla_host.apps import LINK, App
from tesla_host.build import (
    FIRMWARE,
    BuildResult,
    build_firmware,
    choose_toolchain,
    compiler_for,
)
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.targets import Target, check_target, find_target, is_connection, open_link

HOST = "host"
"""The target that is this machine."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """A model's C project, and what was compiled of it."""

    project: Project
    build: BuildResult


def make_firmware(
    model: Model,
    target: Target,
    folder: Path,
    *,
    toolchain: str | None = None,
    optimize: Optimize = Optimize.BALANCED,
    app: App = LINK,
    out: Path | None = None,
    beside: tuple[str, ...] = (),
    observer: Observer = ignore,
) -> Firmware:
    """Generate the C project of `model`, with the kernels of the target's core, and compile it.

    Every verb that builds does it here, so that all of them make the same firmware: the project in
    `folder/project`, `firmware.elf` in `out`, by default in `folder`. Raises what generating and
    building raise; an unknown or missing toolchain is refused before anything is written. The
    firmware of an earlier project goes when that does, and with it the files `beside` it.
    """
    compiler_for(target, choose_toolchain(target, toolchain))
    observer("generating", 0.0)
    place = folder / "project"
    project = generate(model, place, isa=target.isa, optimize=optimize)
    for name in (FIRMWARE, *beside):
        remove_file((out or folder) / name)
    observer(f"for {target.name}", 0.2)
    build = build_firmware(
        place, target, out or folder, toolchain=toolchain, app=app, optimize=optimize
    )
    return Firmware(project=project, build=build)


def set_up(
    model: Model,
    target: str,
    folder: Path,
    toolchain: str | None = None,
    optimize: Optimize = Optimize.BALANCED,
) -> Workbench:
    """Generate the C project of `model` in `folder` and build it for the host and the target.

    `toolchain` is one of the target's; by default its usual one. The host's build, of portable
    kernels, stands in `folder/host`; it is the only one where the target is the host itself, or a
    connection to a board that runs already. Without the host's compiler nothing is written.
    """
    check_target(target)
    row = None if is_connection(target) else find_target(target)
    here, place = find_target(HOST), folder / HOST
    compiler_for(here)
    if row is None or row == here:
        made = make_firmware(
            model, here, folder, toolchain=toolchain if row else None, optimize=optimize, out=place
        )
        host, device = made.build, None if row is None else made.build
    else:
        made = make_firmware(model, row, folder, toolchain=toolchain, optimize=optimize)
        device = made.build
        host = make_firmware(model, here, place, optimize=optimize).build
    return Workbench(model=model, project=made.project, target=target, host=host, device=device)
