"""Which channels of an activation are active: groups that shrink together, and spans of them.

A `ChannelGroup` is one width that several tensors share: a residual addition ties its two sides, a
depthwise convolution ties input and output. A `Span` says what lies along the channel dimension of
one tensor: usually one group; after a concatenation several, of which each keeps its own leading
part; after flattening every channel stands for all its pixels. Groups are shared by reference
between layers, so setting one width sets it everywhere; copying a module copies its groups with it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import active_channels


@dataclass(slots=True, eq=False)
class ChannelGroup:
    """Channels that are active together.

    `size` counts them at full width, `active` those in use now. With `scalable` the leading `dp`
    percent are active, rounded up to a `multiple` (1 is the paper's rule, 4 suits SIMD kernels);
    otherwise always all.
    """

    name: str
    size: int
    scalable: bool = False
    multiple: int = 1
    active: int = field(init=False)

    def __post_init__(self) -> None:
        self.active = self.size

    def width(self, dp: int) -> int:
        """How many channels are active at `dp` percent."""
        return active_channels(self.size, dp, self.multiple) if self.scalable else self.size

    def checked(self, channels: int) -> int:
        """`channels`, if that many can be active; `ConfigError` otherwise."""
        if not 1 <= channels <= self.size:
            raise ConfigError(
                f"group {self.name} has {self.size} channels, {channels} cannot be active"
            )
        if not self.scalable and channels != self.size:
            raise ConfigError(f"group {self.name} does not scale; leave it at {self.size}")
        return channels


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A group inside a tensor, every channel of it standing for `repeat` entries in a row."""

    group: ChannelGroup
    repeat: int = 1

    @property
    def size(self) -> int:
        """Entries at full width."""
        return self.group.size * self.repeat

    @property
    def active(self) -> int:
        """Entries in use now."""
        return self.group.active * self.repeat


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """The entries along the channel dimension of a tensor, part after part."""

    parts: tuple[Part, ...]

    @staticmethod
    def of(size: int, *, scalable: bool = False, multiple: int = 1, name: str = "") -> "Span":
        """A span of one new group."""
        return Span((Part(ChannelGroup(name, size, scalable, multiple)),))

    @property
    def size(self) -> int:
        """Entries at full width."""
        return sum(part.size for part in self.parts)

    @property
    def active(self) -> int:
        """Entries in use now."""
        return sum(part.active for part in self.parts)

    @property
    def scalable(self) -> bool:
        """Whether the number of active entries can change."""
        return any(part.group.scalable for part in self.parts)

    def width(self, dp: int) -> int:
        """Active entries at `dp` percent."""
        return sum(part.group.width(dp) * part.repeat for part in self.parts)

    def repeated(self, times: int) -> "Span":
        """Every entry standing for `times` entries in a row, as flattening does to channels."""
        return Span(tuple(Part(part.group, part.repeat * times) for part in self.parts))

    def take(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """The active entries of a full-width `tensor` along `dim`; a view where that is possible.

        Gradients of the entries left out are exactly zero. Where all are active it is `tensor`
        itself: the gradient of a view would be copied into zeros first.
        """
        if self.active == tensor.shape[dim]:
            return tensor
        if len(self.parts) == 1:
            return tensor.narrow(dim, 0, self.parts[0].active)
        pieces, start = [], 0
        for part in self.parts:
            pieces.append(tensor.narrow(dim, start, part.active))
            start += part.size
        return torch.cat(pieces, dim)

    def split(self, values: Tensor) -> Iterator[tuple[ChannelGroup, Tensor]]:
        """The entries of a full-width vector by group, `[channels, entries per channel]` each."""
        start = 0
        for part in self.parts:
            yield part.group, values[start : start + part.size].reshape(-1, part.repeat)
            start += part.size

    def positions(self, orders: Mapping[ChannelGroup, Tensor]) -> Tensor:
        """Where each entry is found now, if `orders` says so for the channels of groups.

        An order is a permutation `[channels]`; groups without one stay as they are.
        """
        pieces = []
        for group, numbers in self.split(torch.arange(self.size)):
            pieces.append((numbers[orders[group]] if group in orders else numbers).flatten())
        return torch.cat(pieces)

    def put(self, target: Tensor, values: Tensor) -> None:
        """Write `values` of the active entries into a full-width vector `target`, in place."""
        start = taken = 0
        for part in self.parts:
            target[start : start + part.active] = values[taken : taken + part.active]
            start, taken = start + part.size, taken + part.active


def unique_groups(spans: Iterable[Span | None]) -> dict[str, ChannelGroup]:
    """The groups that spans refer to, by name, in order of appearance."""
    found: dict[str, ChannelGroup] = {}
    for span in spans:
        for part in span.parts if span else ():
            found.setdefault(part.group.name, part.group)
    return found
