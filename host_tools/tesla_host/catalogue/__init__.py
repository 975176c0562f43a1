"""The catalogue of targets: one row of data per board, and nothing but data.

Out: `TARGETS`. A new board is a new row in the module of its family and, where no driver fits, a
small driver in the firmware's `boards/`.
"""

from tesla_host.catalogue.emulated import EMULATED
from tesla_host.catalogue.rows import Core, Memory, Qemu, Target

__all__ = ["TARGETS", "Core", "Memory", "Qemu", "Target"]

TARGETS: tuple[Target, ...] = (*EMULATED,)
