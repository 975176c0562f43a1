"""Numbers as a reader wants them: grouped, short, with a unit, and a dash for what is unknown."""

UNKNOWN = "–"
NBSP = "\N{NO-BREAK SPACE}"


def grouped(value: int | float | None, digits: int = 0) -> str:
    """12345 → `12,345`."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def short(value: float) -> str:
    """Three significant digits and a magnitude: 12345 → `12.3 k`."""
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * scale:
            return f"{float(f'{value / scale:.3g}'):g}{NBSP}{letter}"
    return f"{value:.3g}"


def percent(fraction: float | None, digits: int = 2) -> str:
    """0.9761 → `97.61 %`."""
    return UNKNOWN if fraction is None else f"{100 * fraction:.{digits}f}{NBSP}%"


def ratio(part: float | None, whole: float) -> float | None:
    """`part / whole`, unknown where either is unknown or the whole is nothing."""
    return None if part is None or whole == 0 else part / whole


def in_bytes(count: int | None) -> str:
    """12345 → `12,345 B`."""
    return UNKNOWN if count is None else f"{count:,}{NBSP}B"


def frequency(hertz: int) -> str:
    """100000000 → `100 MHz`; nothing for a target without a clock of its own."""
    if hertz <= 0:
        return ""
    return f"{hertz / 1e6:g}{NBSP}MHz" if hertz >= 1e5 else f"{hertz:,}{NBSP}Hz"


def kibibytes(count: int) -> str:
    """45056 → `44.0 KiB`; below one KiB in bytes."""
    return f"{count / 1024:,.1f}{NBSP}KiB" if count >= 1024 else f"{count}{NBSP}B"
