"""What of a firmware's flash and RAM follows from the generated project alone.

In: a project, lowered and not built. Out: counts whose coefficients are measured, as instructions
are, beside the bytes that are known exactly.
"""

import re
from collections.abc import Mapping

from tesla_codegen.cost.counts import Counts
from tesla_codegen.lower import Project
from tesla_host.estimate.sizes import Code, code_bytes

_FUNCTION = re.compile(r"\btesla_\w+")
_CALL = re.compile(r"\b(tesla_\w+)\(")


def needed_functions(project: Project) -> list[str]:
    """The kernels that a project calls, what unpacks their tables, and what constants point to."""
    called = [name for step in project.steps for call in step.calls for name in _CALL.findall(call)]
    return sorted({*called, *pointed_by_layers(project)})


def pointed_by_layers(project: Project) -> set[str]:
    """The functions that constants of layers point to."""
    fields = (field for layer in project.layers for field in layer.fields)
    return {name for field in fields for name in _FUNCTION.findall(field)}


def exact_flash(project: Project, code: Mapping[str, Code]) -> int:
    """Bytes of weights, tables of regions and kernels."""
    kernels = code_bytes(code, needed_functions(project))
    return project.weights_bytes + project.region_table_bytes + kernels


def flash_counts(project: Project) -> Counts:
    """What else is in flash: the firmware, and of every layer its call and constants."""
    counts = Counts(firmware=1)
    counts.more("regions", len(project.regions))
    counts.more("layers", len(project.steps))
    for step in project.steps:
        counts.more("calls", len(step.calls))
        counts.more("arguments", sum(call.count(",") + 1 for call in step.calls))
        counts.more("addresses", sum(call.count("arena[") for call in step.calls))
    for layer in project.layers:
        counts.more(layer.c_type, 1)
    return counts


def ram_counts(project: Project) -> Counts:
    """What variables there are."""
    counts = Counts(firmware=1)
    counts.more("arena", project.arena_bytes)
    counts.more("input and output", project.input_bytes + project.output_bytes)
    counts.more("layers", len(project.steps))
    return counts
