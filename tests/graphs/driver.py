"""What native and emulated programs of many models have in common.

Each is one program with the generated C of some models and a driver that takes requests, runs them
and gives back every layer. A driver begins with a head that says where bytes come from and go to
(`take`, `give`) and how memory is made (`block`, `release`).
"""

import dataclasses
import math
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.lower import lower
from tesla_codegen.project import render
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Reshape

Int8 = npt.NDArray[np.int8]
Texts = dict[str, str]
"""The files of a generated project."""

STRICT = (
    *("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"),
    *("-Wmissing-prototypes", "-Werror"),
)
"""What every generated and static C file must pass without a warning."""

_RECORD = """
static void record(void *user, uint16_t layer, const int8_t *output, uint32_t size) {
    uint32_t head[2] = { layer, size };
    (void)user;
    give(head, sizeof head);
    give(output, size);
}
"""

_MODEL = """
static int run_{n}(uint8_t dp, unsigned count) {{
    tesla_{n}_t ctx;
    int8_t *input = block(TESLA_{N}_INPUT_BYTES), *output = block(TESLA_{N}_OUTPUT_BYTES);
    int8_t *before = block(TESLA_{N}_INPUT_BYTES);
    void *arena = block(TESLA_{N}_ARENA_BYTES);
    if (tesla_{n}_init(&ctx, arena) != TESLA_OK || tesla_{n}_set_dp(&ctx, dp) != TESLA_OK) return 1;
    tesla_{n}_set_callback(&ctx, record, NULL);
    while (count-- > 0u) {{
        if (!take(input, TESLA_{N}_INPUT_BYTES)) return 2;
        memcpy(before, input, TESLA_{N}_INPUT_BYTES);
        memset(arena, 0xA5, TESLA_{N}_ARENA_BYTES);
        memset(output, 0x5A, TESLA_{N}_OUTPUT_BYTES);
        if (tesla_{n}_run(&ctx, input, output) != TESLA_OK) return 3;
        if (memcmp(before, input, TESLA_{N}_INPUT_BYTES) != 0) return 4;
        give(output, TESLA_{N}_OUTPUT_BYTES);
    }}
    release(input); release(output); release(before); release(arena);
    return 0;
}}
"""

_SERVE = """
int serve(void);
int serve(void) {
    uint32_t head[3]; /* model, DP percentage, samples */
    while (take(head, sizeof head)) {
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

    @property
    def message(self) -> bytes:
        """What the driver takes."""
        head = np.array([self.model, self.dp, len(self.inputs)], "<u4")
        return head.tobytes() + self.inputs.tobytes()


def numbered(models: Sequence[Model]) -> list[Model]:
    """The models with names that a driver knows them by."""
    return [dataclasses.replace(model, name=f"m{i}") for i, model in enumerate(models)]


def rendered(
    models: Sequence[Model],
    isa: Isa = Isa.PORTABLE,
    optimize: Optimize = Optimize.BALANCED,
) -> list[Texts]:
    """The generated files of all models, which are `numbered`."""
    return [render(lower(model, isa=isa, optimize=optimize)) for model in models]


def write_sources(
    models: Sequence[Model], folder: Path, head: str, texts: Sequence[Texts]
) -> list[str]:
    """Write all models and `driver.c` into `folder`; the kernels to compile with it.

    The models are one unit with the driver: starting a compiler for each would take longer than
    compiling them all. Their static names are told apart by macros.
    """
    bodies: list[str] = []
    units: set[str] = set()
    for model, files in zip(models, texts, strict=True):
        for name, text in files.items():
            path = Path(name)
            if path.suffix in (".c", ".h") and path.parts[0] in ("include", "src"):
                units |= {path.name} if path.parent.name == "kernels" else set()
                _write(folder / ("tesla" if path.parent.name == "tesla" else "") / path.name, text)
        names = _static_names(files[f"src/tesla_{model.name}{end}"] for end in _OWN)
        defined = "".join(f"#define {name} {model.name}_{name}\n" for name in names)
        undone = "".join(f"#undef {name}\n" for name in names)
        bodies.append(f'{defined}#include "tesla_{model.name}.c"\n{undone}')
        bodies.append(_MODEL.format(n=model.name, N=model.name.upper()))
    runs = ", ".join(f"run_{model.name}" for model in models)
    table = f"static int (*const runs[])(uint8_t, unsigned) = {{ {runs} }};\n"
    _write(folder / "driver.c", "".join([head, _RECORD, *bodies, table, _SERVE]))
    return sorted(units)


_OWN = (".c", "_weights.h", "_regions.h")
"""Ends of the files that hold what only one model uses."""


def _static_names(texts: Iterable[str]) -> list[str]:
    pattern = re.compile(r"^static (?:inline )?(?:const )?\w+ (\w+)[\[(; =]", re.MULTILINE)
    return sorted({name for text in texts for name in pattern.findall(text)})


def _write(path: Path, text: str) -> None:
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def read_trace(
    content: bytes, models: Sequence[Model], requests: Sequence[Request]
) -> list[list[Int8]]:
    """Per request the `[N, *shape]` results of every layer, then the output's own buffer."""
    trace = _Trace(content)
    results = [trace.read(models[request.model], request) for request in requests]
    assert trace.position == len(content)
    return results


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
