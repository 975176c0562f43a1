"""The marker that a current probe watches: up around each measured inference, and at no cost."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FAKE_MODEL, require, tools_of

from tesla_host.board import MARKER, machine_flags
from tesla_host.build import BuildResult, build_firmware
from tesla_host.jobs import Job, marked_runs, measure
from tesla_host.link.client import LinkClient
from tesla_host.targets import find_target, open_target

PIN = """
#include "tesla_board.h"
#include <stdio.h>
void tesla_board_marker(bool running) {
    FILE *log = fopen(MARKER_LOG, "a");
    if (log != NULL) {
        (void)fputc(running ? '1' : '0', log);
        (void)fclose(log);
    }
}
"""


def test_it_rises_once_for_each_inference_of_a_profile(tmp_path: Path) -> None:
    require(lambda: tools_of("host"))
    project, log = tmp_path / "project", tmp_path / "log"
    shutil.copytree(FAKE_MODEL, project)
    (project / "src" / "pin.c").write_text(PIN)
    flags = ("-Werror", "-DTESLA_BOARD_MARKER", f'-DMARKER_LOG="{log}"')
    elf = build_firmware(project, "host", tmp_path, extra_flags=flags).elf
    with LinkClient(open_target("host", elf)) as client:
        size = client.hello().input_bytes
        dps = [region.dp for region in client.hello().regions]
        inputs = tuple(bytes([n]) * size for n in range(3))
        for dp in dps:
            for job in (
                Job(dp=dp, indices=(0,), inputs=(inputs[0], inputs[-1]), probe=True),
                Job(dp=dp, indices=(0, 1, 2), inputs=inputs, runs=2),
            ):
                list(measure(client, job))
    runs = marked_runs([(dp, len(inputs)) for dp in dps], 2)
    assert len(runs) == len(dps) * (2 + 3 * 2)
    assert log.read_text() == "10" * len(runs)


def test_a_board_without_it_has_no_trace_of_it(
    fake_firmware: Callable[[str], BuildResult],
) -> None:
    content = fake_firmware("host").elf.read_bytes()
    assert b"tesla_board_marker" not in content


@pytest.mark.parametrize("name", ["emulator", "host"])
def test_a_row_with_a_pin_says_so_to_all_sources(name: str) -> None:
    row = find_target(name)
    kind = row.toolchains[0]
    assert "-DTESLA_BOARD_MARKER" not in machine_flags(row, kind)
    pinned = replace(row, constants=(*row.constants, (MARKER, 5)))
    assert "-DTESLA_BOARD_MARKER" in machine_flags(pinned, kind)
