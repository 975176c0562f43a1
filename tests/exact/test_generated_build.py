"""A generated project fits into a user's build: strict C, C++, CMake, and its own README."""

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from graphs import RICH, STRICT, compile_c, float_inputs, int8_inputs, quantized_model
from test_generated_layers import gcc, zig

import tesla_firmware
from tesla_codegen.project import generate
from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.requantization import quantize_input

FIRMWARE = Path(tesla_firmware.__file__).parent
Compiler = Callable[[], list[str]]


def gxx() -> list[str]:
    if shutil.which("g++") is None:
        raise ToolchainError("g++ is not installed; run: apt install g++")
    return ["g++"]


def zigxx() -> list[str]:
    return [*zig()[:-1], "c++"]


def cmake() -> str:
    if shutil.which("cmake") is None:
        raise ToolchainError("cmake is not installed; run: apt install cmake")
    return "cmake"


def named(seed: int, name: str) -> Model:
    return dataclasses.replace(quantized_model(seed), name=name)


def sources(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.rglob("src/**/*.c"))]


def run(program: Path) -> list[int]:
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def c_array(c_type: str, values: np.ndarray) -> str:
    numbers = ", ".join(repr(float(v)) + "f" if c_type == "float" else str(v) for v in values)
    return f"static const {c_type} values[] = {{{numbers}}};\n"


@pytest.mark.parametrize("compiler", [gcc, zig])
def test_firmware_binding_compiles(tmp_path: Path, compiler: Compiler) -> None:
    units = []
    for index, seed in enumerate((1, 3, 5)):
        folder = tmp_path / f"m{index}"
        generate(named(seed, f"m{index}"), folder)
        units += ["-I", str(folder / "include"), str(folder / "firmware/app_model.c")]
    for unit in [u for u in units if u.endswith(".c")]:
        includes = [u for u in units if not u.endswith(".c")]
        command = [*require(compiler), *STRICT, *includes, "-I", str(FIRMWARE / "app")]
        compile_c([*command, "-c", unit, "-o", "app_model.o"], tmp_path)


@pytest.mark.parametrize("compiler", [gcc, zig])
def test_every_header_stands_alone(tmp_path: Path, compiler: Compiler) -> None:
    generate(named(RICH, "net"), tmp_path)
    headers = sorted((tmp_path / "include").rglob("*.h"))
    assert len(headers) > 5
    for header in headers:
        include = f'#include "{header.relative_to(tmp_path / "include")}"\n'
        path = tmp_path / f"{header.stem}_alone.c"
        path.write_text(f"{include}{include}typedef int translation_unit_is_not_empty;\n")
    units = [path.name for path in tmp_path.glob("*_alone.c")]
    strict = [*STRICT, "-Wno-unused-function"]  # a header may bring functions of its own
    compile_c([*require(compiler), *strict, "-I", "include", "-c", *units], tmp_path)


CPP_FLAGS = ("-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", "include")
CPP = """
#include "tesla_net.h"
#include "tesla/kernels.h"
#include <cstdio>
#include <vector>

int main() {
    tesla_net_t net;
    std::vector<uint64_t> arena(TESLA_NET_ARENA_BYTES / sizeof(uint64_t));
    std::vector<int8_t> output(TESLA_NET_OUTPUT_BYTES);
    if (tesla_net_init(&net, arena.data()) != TESLA_OK) {
        return 1;
    }
    if (tesla_net_run(&net, values, output.data()) != TESLA_OK) {
        return 2;
    }
    for (int8_t value : output) {
        std::printf("%d ", value);
    }
    return tesla_status_name(TESLA_OK)[0] == 'T' ? 0 : 3;
}
"""


def test_cpp_program(tmp_path: Path) -> None:
    model = named(RICH, "net")
    generate(model, tmp_path)
    inputs = int8_inputs(model, 0, 3)[2:]
    (tmp_path / "main.cpp").write_text(
        "#include <cstdint>\n" + c_array("int8_t", inputs.reshape(-1)) + CPP
    )
    compile_c([*require(gcc), "-O1", "-I", "include", "-c", *sources(tmp_path)], tmp_path)
    objects = [path.name for path in tmp_path.glob("*.o")]
    compile_c([*require(gxx), *CPP_FLAGS, "main.cpp", *objects, "-o", "main"], tmp_path)
    expected = interpret(model, model.regions[-1], inputs).reshape(-1)
    assert run(tmp_path / "main") == expected.tolist()


@pytest.mark.parametrize("compiler", [gxx, zigxx])
def test_headers_are_cpp(tmp_path: Path, compiler: Compiler) -> None:
    generate(named(RICH, "net"), tmp_path)
    (tmp_path / "main.cpp").write_text('#include "tesla_net.h"\n#include "tesla/kernels.h"\n')
    compile_c([*require(compiler), *CPP_FLAGS, "-c", "main.cpp"], tmp_path)


def test_readme_example_compiles_and_classifies(tmp_path: Path) -> None:
    model = named(RICH, "net")
    generate(model, tmp_path)
    blocks = re.findall(r"```c\n(.*?)```", (tmp_path / "README.md").read_text(), re.S)
    assert len(blocks) == 1
    prototype = "#include <stdint.h>\nint classify(const float *real, uint8_t percent);\n"
    real = float_inputs(model, 1, 1)
    calls = "".join(
        f'    printf("%d ", classify(values, {dp}));\n'
        for dp in [*(region.dp for region in model.regions), 2, 0, 255]
    )
    main = f"#include <stdio.h>\nint main(void) {{\n{calls}    return 0;\n}}\n"
    text = prototype + blocks[0] + c_array("float", real.reshape(-1)) + main
    (tmp_path / "main.c").write_text(text)
    command = [*require(gcc), *STRICT, "-O1", "-I", "include", "main.c", *sources(tmp_path)]
    compile_c([*command, "-o", "main"], tmp_path)
    type_ = model.regions[0].types[model.graph.input]
    outputs = [interpret(model, r, quantize_input(type_, real)) for r in model.regions]
    expected = [int(output.reshape(-1).argmax()) for output in outputs]
    assert run(tmp_path / "main") == [*expected, -1, -1, -1]


CMAKE = """
cmake_minimum_required(VERSION 3.13)
project(two_networks C)
add_subdirectory(first)
add_subdirectory(second)
add_executable(main main.c)
target_link_libraries(main PRIVATE tesla_first tesla_second)
"""

TWO = """
#include "tesla_first.h"
#include "tesla_second.h"
#include <stdio.h>

static uint64_t arena[(TESLA_FIRST_ARENA_BYTES + TESLA_SECOND_ARENA_BYTES) / sizeof(uint64_t)];
static int8_t zeros[TESLA_FIRST_INPUT_BYTES + TESLA_SECOND_INPUT_BYTES];

int main(void) {
    tesla_first_t first;
    tesla_second_t second;
    int8_t out[TESLA_FIRST_OUTPUT_BYTES + TESLA_SECOND_OUTPUT_BYTES];
    if (tesla_first_init(&first, arena) != TESLA_OK ||
        tesla_second_init(&second, &arena[TESLA_FIRST_ARENA_BYTES / 8u]) != TESLA_OK ||
        tesla_first_run(&first, zeros, out) != TESLA_OK ||
        tesla_second_run(&second, zeros, &out[TESLA_FIRST_OUTPUT_BYTES]) != TESLA_OK) {
        return 1;
    }
    for (unsigned i = 0; i < sizeof out; ++i) {
        printf("%d ", out[i]);
    }
    return 0;
}
"""


def build_with_cmake(folder: Path) -> None:
    flags = "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror"
    compile_c([require(cmake), "-S", ".", "-B", "build", flags], folder)
    compile_c([require(cmake), "--build", "build", "--parallel", "2"], folder)


def test_cmake_builds_the_library(tmp_path: Path) -> None:
    generate(named(RICH, "net"), tmp_path)
    build_with_cmake(tmp_path)
    assert list((tmp_path / "build").rglob("*tesla_net.*"))


def test_cmake_builds_two_models_into_one_program(tmp_path: Path) -> None:
    """They share kernels; each is built once."""
    models = [named(RICH, "first"), named(5, "second")]
    for model in models:
        generate(model, tmp_path / model.name)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    (tmp_path / "main.c").write_text(TWO)
    build_with_cmake(tmp_path)
    expected: list[int] = []
    for model in models:
        zeros = np.zeros_like(int8_inputs(model, 0, 1))
        expected += interpret(model, model.regions[-1], zeros).reshape(-1).tolist()
    assert run(tmp_path / "build" / "main") == expected
