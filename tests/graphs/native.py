"""The C of many models in one program of this machine.

`Native` generates the C of some models, builds one program from it and runs inputs through any
region; every input, output and arena it hands to a model is a heap block of the exact size.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from graphs.driver import (
    STRICT,
    Int8,
    Request,
    compile_c,
    numbered,
    read_trace,
    rendered,
    write_sources,
)
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed.ir.graph import Model

_HEAD = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void *block(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL) exit(9);
    return memory;
}
#define release free
static int take(void *data, size_t size) { return fread(data, 1, size, stdin) == size; }
static void give(const void *data, size_t size) { fwrite(data, 1, size, stdout); }
int serve(void);
int main(void) { return serve(); }
"""


class Native:
    """One program that holds the generated C of several models, compiled without a warning."""

    def __init__(
        self,
        models: Sequence[Model],
        folder: Path,
        compiler: Sequence[str],
        flags: Sequence[str],
        isa: Isa = Isa.PORTABLE,
        calls: Sequence[str] = (),
        optimize: Optimize = Optimize.BALANCED,
    ) -> None:
        """Compile with `flags`; the sequences of calls, not the kernels, also with `calls`."""
        self.models = numbered(models)
        self.program = folder / "program"
        units = write_sources(self.models, folder, _HEAD, rendered(self.models, isa, optimize))
        command = [*compiler, *STRICT, *flags, "-I", ".", "-c"]
        compile_c([*command, *units], folder)
        compile_c([*command, *calls, "driver.c"], folder)
        self._compiler = [*compiler, *flags]
        self._link([path.name for path in sorted(folder.glob("*.o"))], folder)

    def layers(self, requests: Sequence[Request]) -> list[list[Int8]]:
        """Per request the `[N, *shape]` results of every layer, then the output's own buffer."""
        done = self._run(b"".join(request.message for request in requests))
        assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr.decode()}"
        return read_trace(done.stdout, self.models, requests)

    def _link(self, objects: Sequence[str], folder: Path) -> None:
        compile_c([*self._compiler, *objects, "-o", "program"], folder)

    def _run(self, stream: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([self.program], input=stream, capture_output=True, check=False)
