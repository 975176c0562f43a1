"""What others need for the same kernels, as measured outside this project.

CMSIS-NN 99f736a6, int8, built with the compiler that is better for it on the core: GCC 12.2 on
Cortex-M4, clang 22 on Cortex-M55, both -O3; every architectural instruction counted under QEMU 7.2.
Cycles are estimates from published timings, on Cortex-M4 the same as ours (`emulator.timing`), and
formed from the executed instructions; where only the figure per multiply-accumulate was kept, they
are its product. At less than 100 % the peer computes dense, smaller tensors of the same widths.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another implementation of a kernel on the same shape and core."""

    name: str
    instructions: int
    cycles_estimate: int | None


@dataclass(frozen=True, slots=True)
class _Figures:
    """Multiply-accumulates (of a pool: comparisons) at 100 % DP, and instructions and cycles of
    each; then instructions per multiply-accumulate at 75, 50 and 25 % DP."""

    macs: int
    instructions: int
    cycles: float
    narrower: tuple[float, float, float] | None = None
    square: bool = True


_M4 = {
    "conv3x3-16x16x32-32": _Figures(2_359_296, 4_542_341, 2.396, (2.053, 2.328, 3.478)),
    "conv3x3-8x8x64-64": _Figures(2_359_296, 4_155_293, 2.176, (1.814, 1.926, 2.333)),
    "conv3x3-32x32x3-32": _Figures(884_736, 3_678_328, 5.257, (4.380, 4.824, 6.158), False),
    "conv1x1-25x5x64-64": _Figures(512_000, 1_068_926, 2.484, (2.301, 2.727, 4.009)),
    "fc-784-128": _Figures(100_352, 194_597, 2.457, (1.963, 2.010, 2.154)),
    "dw3x3-25x5x64": _Figures(72_000, 599_614, 10.016, (8.392, 8.519, 8.900), False),
    "maxpool2x2-16x16x32": _Figures(8_192, 79_585, 11.189, (10.14, 10.90, 13.36), False),
}
_M55 = {
    "conv3x3-16x16x32-32": _Figures(2_359_296, 585_105, 0.253),
    "conv3x3-8x8x64-64": _Figures(2_359_296, 481_296, 0.197),
    "conv3x3-32x32x3-32": _Figures(884_736, 875_004, 1.182),
    "conv1x1-25x5x64-64": _Figures(512_000, 196_608, 0.435),
    "fc-784-128": _Figures(100_352, 17_160, 0.191),
    "dw3x3-25x5x64": _Figures(72_000, 159_912, 2.910),
    "maxpool2x2-16x16x32": _Figures(8_192, 8_897, 1.296),
}
"""Instructions are products of the three digits that were kept for each multiply-accumulate."""
_PEERS = {
    "Cortex-M4": ("CMSIS-NN 99f736a6, GCC 12.2 -O3", _M4),
    "Cortex-M55": ("CMSIS-NN 99f736a6, clang 22 -O3", _M55),
}
_NARROWER = (75, 50, 25)


def find_peer(kernel: str, cpu: str, dp: int) -> Peer | None:
    """CMSIS-NN on a kernel of `cases` at a DP percentage; `None` if nobody measured it."""
    name, kernels = _PEERS.get(cpu, ("", {}))
    figures = kernels.get(kernel)
    if figures is None:
        return None
    if dp == 100:
        cycles = round(figures.cycles * figures.macs)
        return Peer(name=name, instructions=figures.instructions, cycles_estimate=cycles)
    if dp not in _NARROWER or figures.narrower is None:
        return None
    share = (dp / 100) ** (2 if figures.square else 1)
    per_mac = figures.narrower[_NARROWER.index(dp)]
    return Peer(name=name, instructions=round(figures.macs * share * per_mac), cycles_estimate=None)
