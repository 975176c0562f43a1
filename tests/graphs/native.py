"""The C of many models in one program.

`Native` generates the C of some models, builds one program from it and runs inputs through any
region; every input, output and arena it hands to a model is a heap block of the exact size.
"""

import dataclasses
import math
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tesla_codegen.kernels.variant import Isa
from tesla_codegen.project import generate
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Reshape

Int8 = npt.NDArray[np.int8]

STRICT = (
    *("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"),
    *("-Wmissing-prototypes", "-Werror"),
)
"""What every generated and static C file must pass without a warning."""


_DRIVER_HEAD = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int8_t *block(size_t size) {
    int8_t *memory = malloc(size);
    if (memory == NULL) exit(9);
    return memory;
}
static void record(void *user, uint16_t layer, const int8_t *output, uint32_t size) {
    uint32_t head[2] = { layer, size };
    fwrite(head, 4, 2, (FILE *)user);
    fwrite(output, 1, size, (FILE *)user);
}
"""

_DRIVER_MODEL = """
#include "tesla_{n}.h"
static int run_{n}(uint8_t dp, unsigned count) {{
    tesla_{n}_t ctx;
    int8_t *input = block(TESLA_{N}_INPUT_BYTES), *output = block(TESLA_{N}_OUTPUT_BYTES);
    int8_t *before = block(TESLA_{N}_INPUT_BYTES);
    void *arena = block(TESLA_{N}_ARENA_BYTES);
    if (tesla_{n}_init(&ctx, arena) != TESLA_OK || tesla_{n}_set_dp(&ctx, dp) != TESLA_OK) return 1;
    tesla_{n}_set_callback(&ctx, record, stdout);
    while (count-- > 0u) {{
        if (fread(input, 1, TESLA_{N}_INPUT_BYTES, stdin) != TESLA_{N}_INPUT_BYTES) return 2;
        memcpy(before, input, TESLA_{N}_INPUT_BYTES);
        memset(arena, 0xA5, TESLA_{N}_ARENA_BYTES);
        memset(output, 0x5A, TESLA_{N}_OUTPUT_BYTES);
        if (tesla_{n}_run(&ctx, input, output) != TESLA_OK) return 3;
        if (memcmp(before, input, TESLA_{N}_INPUT_BYTES) != 0) return 4;
        fwrite(output, 1, TESLA_{N}_OUTPUT_BYTES, stdout);
    }}
    free(input); free(output); free(before); free(arena);
    return 0;
}}
"""

_DRIVER_MAIN = """
int main(void) {
    uint32_t head[3]; /* model, DP percentage, samples */
    while (fread(head, 4, 3, stdin) == 3) {
        const int status = runs[head[0]]((uint8_t)head[1], head[2]);
        if (status != 0) return 10 + status;
    }
    return 0;
}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """Samples `[N, *input shape]` for one region of the model at index `model`."""

    model: int
    dp: int
    inputs: Int8


class Native:
    """One program that holds the generated C of several models, compiled without a warning."""

    def __init__(
        self,
        models: Sequence[Model],
        folder: Path,
        compiler: Sequence[str],
        flags: Sequence[str],
        isa: Isa = Isa.PORTABLE,
    ) -> None:
        self.models = [dataclasses.replace(m, name=f"m{i}") for i, m in enumerate(models)]
        self.program = folder / "program"
        kernels: dict[str, Path] = {}
        sources: list[Path] = []
        includes: list[str] = []
        for model in self.models:
            root = folder / model.name
            generate(model, root, isa=isa)
            kernels |= {path.name: path for path in (root / "src/kernels").glob("*.c")}
            sources.append(root / "src" / f"tesla_{model.name}.c")
            includes += ["-I", str(root / "include")]
        (folder / "driver.c").write_text(self._driver())
        units = [str(path) for path in (*kernels.values(), *sources)]
        compile_c([*compiler, *STRICT, *flags, *includes, "-c", *units], folder)
        made = [path.name for path in sorted(folder.glob("*.o"))]
        compile_c([*compiler, *flags, *includes, "-c", "driver.c"], folder)
        self._compiler = [*compiler, *flags]
        self._link([*made, "driver.o"], folder)

    def _link(self, objects: Sequence[str], folder: Path) -> None:
        compile_c([*self._compiler, *objects, "-o", "program"], folder)

    def _driver(self) -> str:
        bodies = [_DRIVER_MODEL.format(n=m.name, N=m.name.upper()) for m in self.models]
        runs = ", ".join(f"run_{model.name}" for model in self.models)
        table = f"static int (*const runs[])(uint8_t, unsigned) = {{ {runs} }};\n"
        return "".join([_DRIVER_HEAD, *bodies, table, _DRIVER_MAIN])

    def layers(self, requests: Sequence[Request]) -> list[list[Int8]]:
        """Per request the `[N, *shape]` results of every layer, then the output's own buffer."""
        stream = b"".join(
            np.array([r.model, r.dp, len(r.inputs)], "<u4").tobytes() + r.inputs.tobytes()
            for r in requests
        )
        done = self._run(stream)
        assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr.decode()}"
        trace = _Trace(done.stdout)
        results = [trace.read(self.models[request.model], request) for request in requests]
        assert trace.position == len(done.stdout)
        return results

    def _run(self, stream: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([self.program], input=stream, capture_output=True, check=False)


@dataclass(slots=True)
class _Trace:
    content: bytes
    position: int = 0

    def take(self, size: int) -> bytes:
        self.position += size
        return self.content[self.position - size : self.position]

    def read(self, model: Model, request: Request) -> list[Int8]:
        region = model.region(request.dp)
        ops = [op for op in model.graph.ops if not isinstance(op, Reshape)]
        shapes = [region.types[op.output].shape for op in ops]
        shapes.append(region.types[model.graph.output].shape)
        samples: list[list[Int8]] = [[] for _ in shapes]
        for _ in range(len(request.inputs)):
            for index, shape in enumerate(shapes):
                size = math.prod(shape)
                if index < len(ops):
                    head = np.frombuffer(self.take(8), "<u4").tolist()
                    assert head == [index, size], f"{ops[index].name} reports layer, size {head}"
                samples[index].append(np.frombuffer(self.take(size), np.int8).reshape(shape))
        return [np.stack(layer) for layer in samples]


def compile_c(command: Sequence[str], folder: Path) -> None:
    """Run a compiler in `folder`; fails with what it said."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[:12])} ...\n{done.stdout}{done.stderr}"


def first_difference(name: str, actual: Int8, expected: Int8) -> str:
    """Empty if equal; otherwise where two results differ first, and by what."""
    if actual.shape != expected.shape:
        return f"{name}: shape {actual.shape} instead of {expected.shape}"
    where = np.argwhere(actual != expected)
    if not len(where):
        return ""
    index = tuple(int(i) for i in where[0])
    return f"{name}{list(index)}: {actual[index]} instead of {expected[index]}"
