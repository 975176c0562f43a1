"""The verb that looks at this computer: `doctor`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_host.attached import Attached
    from tesla_host.doctor import Finding

DOCTOR_SCHEMA = "tesla-embed/doctor/1"


def doctor(json_: JsonOption = None) -> None:
    """Tell what is installed and plugged in, what is missing, and the command that mends it.

    Nothing is opened: no serial port is asked which firmware answers. Ends with code 3 when
    something is missing that the usual way needs.

    Example: tesla-embed doctor

    Example: tesla-embed doctor --json | jq .ports
    """
    from tesla_host.attached import look
    from tesla_host.doctor import examine

    check_json(json_)
    findings, attached = examine(), look()

    def show() -> None:
        _print_findings(findings)
        _print_attached(attached)

    names = ("ports", "devices", "drives", "hints")
    document = {"schema": DOCTOR_SCHEMA, "findings": findings}
    present(json_, document | {name: getattr(attached, name) for name in names}, show)
    if any(finding.version is None and not finding.optional for finding in findings):
        raise typer.Exit(3)


def _print_findings(findings: "Sequence[Finding]") -> None:
    width = max(len(finding.name) for finding in findings)
    for section in dict.fromkeys(finding.section for finding in findings):
        print(f"{section}:")
        for finding in findings:
            if finding.section != section:
                continue
            state = finding.version or ("not installed" if finding.optional else "MISSING")
            mend = "" if finding.version else f"; {finding.mend}"
            print(f"  {finding.name:<{width}}  {state}  ({finding.purpose}){mend}")


def _print_attached(attached: "Attached") -> None:
    lines = {
        "serial ports": [
            f"{port.device}  {port.known or port.description}{_usb(port.usb, port.serial_number)}"
            for port in attached.ports
        ],
        "debug probes and boards on USB": [
            f"{device.name}  {device.kind}{_usb(device.usb, device.serial_number)}"
            for device in attached.devices
        ],
        "UF2 drives": [
            f"{drive.path}  {drive.board_id}  ({', '.join(drive.boards) or 'no board known here'})"
            for drive in attached.drives
        ],
    }
    for heading, entries in lines.items():
        print(f"{heading}:" if entries else f"{heading}: none")
        for entry in entries:
            print(f"  {entry}")
    for hint in attached.hints:
        print(f"hint: {hint}")


def _usb(pair: str | None, serial_number: str | None) -> str:
    if pair is None:
        return ""
    return f"  USB {pair}" + (f", serial number {serial_number}" if serial_number else "")
