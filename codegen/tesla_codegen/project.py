"""Write the C project of a model: rendered files beside the static sources they need."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.lower import Project, lower
from tesla_embed.atomic import replacing_folder
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model

MARKER = ".tesla-embed"
"""A file that lists what was generated: only that may be replaced."""


def generate(
    model: Model,
    folder: Path,
    *,
    isa: Isa = Isa.PORTABLE,
    optimize: Optimize = Optimize.BALANCED,
) -> Project:
    """Write the library of `model` into `folder`, replacing an earlier generated one.

    Kernels are those of an instruction set; see `kernels.variant` for both choices.

    The folder holds `include/`, `src/`, `firmware/`, `CMakeLists.txt` and `README.md`. Raises
    `CodegenError` if it exists and was not generated, `ConfigError` if it cannot be written.
    """
    project = lower(model, isa=isa, optimize=optimize)
    if folder.exists() and not folder.is_dir():
        raise CodegenError(f"{folder} is a file; choose an empty or a new --out")
    foreign = _foreign_file(folder)
    if foreign is not None:
        raise CodegenError(
            f"{folder} holds {foreign}, which was not generated; choose an empty or a new --out"
        )
    texts = render(project)
    with replacing_folder(folder.resolve()) as temporary:
        for name, text in texts.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    return project


def render(project: Project) -> dict[str, str]:
    """Every file of the project, by its path relative to the folder."""
    prefix = project.prefix
    rendered = {
        f"include/{prefix}.h": "model.h.j2",
        f"src/{prefix}.c": "model.c.j2",
        f"src/{prefix}_weights.h": "weights.h.j2",
        f"src/{prefix}_regions.h": "regions.h.j2",
        f"src/{prefix}_quantize.c": "quantize.c.j2",
        "firmware/app_model.c": "app_model.c.j2",
        "CMakeLists.txt": "CMakeLists.txt.j2",
        "README.md": "README.md.j2",
    }
    environment = _environment()
    texts = {
        name: environment.get_template(template).render(p=project)
        for name, template in rendered.items()
    }
    sources = files("tesla_firmware")
    for kernel in project.kernels:
        texts[f"src/kernels/{kernel}.c"] = sources.joinpath("kernels", f"{kernel}.c").read_text()
    for header in _headers(sources):
        texts[f"include/tesla/{header.name}"] = header.read_text()
    texts[MARKER] = "".join(f"{name}\n" for name in sorted(texts))
    return texts


@cache
def _environment() -> Environment:
    """Made once: compiling the templates costs more than rendering a small model."""
    return Environment(
        loader=PackageLoader("tesla_codegen"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        line_statement_prefix="//%",
    )


def _foreign_file(folder: Path) -> Path | None:
    """A file below `folder` that no earlier generation wrote."""
    marker = folder / MARKER
    known = {MARKER}
    if marker.is_file():
        known |= set(marker.read_text(encoding="utf-8", errors="replace").splitlines())
    below = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return next((path for path in sorted(below) if path.as_posix() not in known), None)


def _headers(sources: Traversable) -> list[Traversable]:
    entries = sources.joinpath("include", "tesla").iterdir()
    return sorted((e for e in entries if e.name.endswith(".h")), key=lambda entry: entry.name)
