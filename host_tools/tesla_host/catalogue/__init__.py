"""The catalogue of targets: one row of data per board, and nothing but data.

Out: `TARGETS`. A new board is a new row in the module of its family and, where no driver fits, a
small driver in the firmware's `boards/`.
"""

from tesla_host.catalogue.arm_mps import ARM_MPS
from tesla_host.catalogue.emulated import EMULATED
from tesla_host.catalogue.nordic import NORDIC
from tesla_host.catalogue.raspberrypi import RASPBERRY_PI
from tesla_host.catalogue.riscv import RISCV_BOARDS
from tesla_host.catalogue.rows import Core, Memory, Qemu, Target
from tesla_host.catalogue.stm32 import STM32
from tesla_host.catalogue.ti import TI

__all__ = ["TARGETS", "Core", "Memory", "Qemu", "Target"]

TARGETS: tuple[Target, ...] = (
    *(*EMULATED, *ARM_MPS, *STM32, *NORDIC, *TI, *RASPBERRY_PI),
    *RISCV_BOARDS,
)
