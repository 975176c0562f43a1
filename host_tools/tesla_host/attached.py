"""What is plugged into this computer: serial ports, debug probes and other USB devices, drives.

In: what the system says of itself; no device is opened or asked. Out: lists, and hints where the
system keeps a device from this user. Raises nothing: an empty list is an answer, too.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from serial.tools import list_ports

from tesla_host.flash.drives import uf2_drives
from tesla_host.usb_ids import UsbId, identify

USB_DEVICES = Path("/sys/bus/usb/devices")
USB_NODES = Path("/dev/bus/usb")
_RULES = "/etc/udev/rules.d/70-tesla-embed.rules"


class SerialPort(msgspec.Struct, kw_only=True, frozen=True):
    """A serial port. `usb` is `vendor:product` in hexadecimal, `known` what that is called."""

    device: str
    description: str
    usb: str | None
    serial_number: str | None
    known: str | None
    accessible: bool


class UsbDevice(msgspec.Struct, kw_only=True, frozen=True):
    """A probe, board or boot loader on USB; `serial_number` is what `flash --probe` takes."""

    usb: str
    name: str
    kind: str
    serial_number: str | None
    accessible: bool


class Drive(msgspec.Struct, kw_only=True, frozen=True):
    """A mounted drive that takes UF2 files, and which of the boards to flash it is, if any."""

    path: str
    board_id: str
    boards: list[str]


class Attached(msgspec.Struct, kw_only=True, frozen=True):
    """Everything that is plugged in, and what to do where the system is in the way."""

    ports: list[SerialPort]
    devices: list[UsbDevice]
    drives: list[Drive]
    hints: list[str]


def look() -> Attached:
    """All of it."""
    ports, devices = list(_ports()), list(_devices())
    drives = [Drive(path=str(path), board_id=name, boards=b) for path, name, b in uf2_drives()]
    return Attached(ports=ports, devices=devices, drives=drives, hints=_hints(ports, devices))


def _ports() -> Iterator[SerialPort]:
    """Ports with hardware behind them."""
    for port in sorted(list_ports.comports(), key=lambda port: str(port.device)):
        if port.hwid == "n/a":
            continue
        row = None
        if port.vid is not None:
            row = identify(port.vid, port.pid or 0, f"{port.product} {port.interface}")
        yield SerialPort(
            device=port.device,
            description=port.description,
            usb=None if port.vid is None else _pair(port.vid, port.pid or 0),
            serial_number=port.serial_number,
            known=None if row is None else row.name,
            accessible=os.name != "posix" or os.access(port.device, os.R_OK | os.W_OK),
        )


def _devices() -> Iterator[UsbDevice]:
    """USB devices with a row. Where the system has no such files, those with a serial port."""
    if not USB_DEVICES.is_dir():
        for port in list_ports.comports():
            row = None if port.vid is None else identify(port.vid, port.pid or 0, str(port.product))
            if row is not None:
                yield _device(row, port.vid, port.pid, port.serial_number, accessible=True)
        return
    for folder in sorted(USB_DEVICES.iterdir()):
        numbers = [_text(folder / name) for name in ("idVendor", "idProduct")]
        try:
            vendor, product = (int(number, 16) for number in numbers)
        except ValueError:
            continue  # an interface, or a device that is just going
        interfaces = (_text(path) for path in folder.glob(f"{folder.name}:*/interface"))
        row = identify(vendor, product, " ".join((_text(folder / "product"), *interfaces)))
        if row is not None:
            serial_number = _text(folder / "serial") or None
            yield _device(row, vendor, product, serial_number, accessible=_may_use(folder))


def _device(
    row: UsbId, vendor: int, product: int, serial_number: str | None, *, accessible: bool
) -> UsbDevice:
    return UsbDevice(
        usb=_pair(vendor, product),
        name=row.name,
        kind=row.kind.value,
        serial_number=serial_number,
        accessible=accessible,
    )


def _may_use(folder: Path) -> bool:
    """Whether the file through which programs reach the device may be written."""
    try:
        bus, device = (int(_text(folder / name)) for name in ("busnum", "devnum"))
    except ValueError:
        return True
    node = USB_NODES / f"{bus:03}" / f"{device:03}"
    return not node.exists() or os.access(node, os.R_OK | os.W_OK)


def _hints(ports: Sequence[SerialPort], devices: Sequence[UsbDevice]) -> list[str]:
    """How to be let in."""
    hints: list[str] = []
    closed = [port.device for port in ports if not port.accessible]
    if closed:
        group = _group(Path(closed[0]))
        hints.append(
            f"{' and '.join(closed)}: not yours to open; run: sudo usermod -aG {group} $USER, and "
            "log in again"
        )
    for device in devices:
        if not device.accessible:
            vendor = device.usb.partition(":")[0]
            rule = f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{vendor}", TAG+="uaccess"'
            hints.append(
                f"{device.name}: not yours to open; write the line {rule} into {_RULES}, run: sudo "
                "udevadm control --reload, and plug it in again"
            )
    return list(dict.fromkeys(hints))


def _group(device: Path) -> str:
    """Whose members may open a port: as the system has it, or what it usually is."""
    with contextlib.suppress(OSError, KeyError, NotImplementedError):
        group = device.group()
        if group != "root":
            return group
    return "dialout"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _pair(vendor: int, product: int) -> str:
    return f"{vendor:04x}:{product:04x}"
