"""What others need for the same kernels and networks, as measured outside this project.

Kernels: CMSIS-NN 99f736a6, int8, built with the compiler that is better for it on the core: GCC
12.2 on Cortex-M4, clang 22 on Cortex-M55, both -O3; every architectural instruction counted under
QEMU 7.2. Cycles are estimates from published timings, on Cortex-M4 the same as ours
(`emulator.timing`), and formed from the executed instructions; where only the figure per
multiply-accumulate was kept, they are its product. At less than 100 % the peer computes dense,
smaller tensors of the same widths.

Networks: TensorFlow Lite Micro 90b983c2 with CMSIS-NN 4ab83cc3, GCC 12.2, its release flags,
counted in the same way on the four int8 files of MLPerf Tiny's shapes. Instructions were kept to
three digits. Nobody estimated its cycles. Flash is model file and everything else in the ELF, RAM
the arena that was used and the stack's high-water mark, both on Cortex-M4.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another implementation on the same shape and core; bytes where somebody measured them."""

    name: str
    instructions: int
    cycles_estimate: int | None
    flash_bytes: int | None = None
    ram_bytes: int | None = None


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
    "Cortex-M4": ("CMSIS-NN 99f736a6, GCC 12.2 -O3, counted under QEMU 7.2", _M4),
    "Cortex-M55": ("CMSIS-NN 99f736a6, clang 22 -O3, counted under QEMU 7.2", _M55),
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


@dataclass(frozen=True, slots=True)
class _NetworkFigures:
    """Millions of instructions on Cortex-M4 and M55, bytes, and the shares of the instructions
    that a network with 75, 50 and 25 % of all channels takes."""

    m4: float
    m55: float
    flash_bytes: int
    ram_bytes: int
    narrower_m4: tuple[float, float, float] | None = None
    narrower_m55: tuple[float, float, float] | None = None


_NETWORKS = {
    "kws": _NetworkFigures(7.70, 1.81, 53_936 + 61_128, 22_820 + 844),
    "ic": _NetworkFigures(
        29.86, 4.91, 98_496 + 58_904, 54_996 + 844, (0.637, 0.358, 0.168), (0.730, 0.505, 0.342)
    ),
    "vww": _NetworkFigures(24.10, 6.56, 333_288 + 61_128, 100_708 + 844),
    "ad": _NetworkFigures(0.583, 0.150, 276_976 + 36_024, 2_580 + 556),
}
_TFLM = "TFLM 90b983c2 with CMSIS-NN 4ab83cc3, GCC 12.2, counted under QEMU 7.2"


def find_network_peer(network: str, cpu: str, dp: int) -> Peer | None:
    """TensorFlow Lite Micro on a network of `networks` at a DP percentage; `None` as above."""
    figures = _NETWORKS.get(network)
    if figures is None or cpu not in ("Cortex-M4", "Cortex-M55"):
        return None
    light = cpu == "Cortex-M4"
    full = (figures.m4 if light else figures.m55) * 1e6
    if dp == 100:
        return Peer(
            name=_TFLM,
            instructions=round(full),
            cycles_estimate=None,
            flash_bytes=figures.flash_bytes if light else None,
            ram_bytes=figures.ram_bytes if light else None,
        )
    shares = figures.narrower_m4 if light else figures.narrower_m55
    if dp not in _NARROWER or shares is None:
        return None
    share = shares[_NARROWER.index(dp)]
    return Peer(name=_TFLM, instructions=round(full * share / 1e4) * 10_000, cycles_estimate=None)
