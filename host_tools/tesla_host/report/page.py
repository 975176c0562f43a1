"""The page: views and figures of a profile, through the templates, to HTML.

Everything that comes from a profile is escaped by the templates; characters that no page should
hold (controls, direction overrides, halves of surrogates) become U+FFFD before that.
"""

import base64
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tesla_host.report import choice, comparison, figures, layers, memory, views
from tesla_host.report.canvas import Size, styled
from tesla_host.report.choice import Unit
from tesla_host.report.figures import Series
from tesla_host.report.numbers import frequency, grouped
from tesla_host.report.svg import Drawing, css, inline
from tesla_host.results import Profile

HALF = (Size(width=530, height=360, name="wide"), Size(width=330, height=300, name="narrow"))
FULL = (Size(width=920, height=340, name="wide"), Size(width=330, height=300, name="narrow"))
_KEYS = (
    "M6 1.5a4.5 4.5 0 1 0 .01 0z", "M2 2h8v8H2z", "M6 1.5 11 10.5H1z", "M6 .8 11.2 6 6 11.2 .8 6z",
    "M6 10.5 1 1.5H11z", "M6 1 11.2 4.9 9.2 11H2.8L.8 4.9z", 
    "M6 .8 10.6 3.4v5.2L6 11.2 1.4 8.6V3.4z",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An entry of a legend: a path in a 12 × 12 box, filled, outlined, or both empty for text."""

    path: str
    fill: str
    stroke: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure in its two sizes, with its words and its legend."""

    title: str
    caption: str
    wide: Markup
    narrow: Markup
    keys: tuple[Key, ...]


def render(profile: Profile, others: Sequence[Profile] = (), cam: bytes | None = None) -> str:
    """The HTML of `profile`, which and whose `others` must have regions; `cam` is a PNG file."""
    profiles = [_clean(entry) for entry in (profile, *others)]
    for entry in profiles:
        entry.regions.sort(key=lambda region: region.dp)
    profile = profiles[0]
    unit = choice.unit_of(profiles)
    own = choice.points(profile, unit)
    names = comparison.labels(profiles)
    with styled():
        context = {
            **_pictures(profiles, names, unit),
            **_layers(profile),
        }
    context |= _comparison(profiles, names, unit)
    environment = Environment(
        loader=PackageLoader("tesla_host.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
    )
    return environment.get_template("report.html.j2").render(
        model=profile.model,
        target=profile.target,
        clock=frequency(profile.target.clock_hz),
        unit=unit,
        badge=views.badge(profile.regions),
        headline=views.headline(own, unit),
        memory_facts=memory.memory_facts(profile),
        picks=views.pick_table(choice.picks(own), own, unit),
        regions=views.region_table(profile.regions, own),
        evidence=views.evidence_table(profile.regions),
        accuracy_note=views.accuracy_note(profile.regions),
        flash=memory.flash_parts(profile.memory, profile.model.weights_bytes),
        flash_known=bool(profile.memory.flash_bytes),
        ram_known=bool(profile.memory.ram_bytes),
        ram=memory.ram_parts(profile.memory),
        buffers=memory.buffer_table(profile.memory),
        peaks=memory.peak_table(profile),
        arena_note=memory.arena_note(profile.memory),
        arena_bytes=grouped(profile.memory.arena_bytes),
        made=views.made(profile),
        commands=views.commands(profile),
        cam=None if cam is None else base64.b64encode(cam).decode(),
        **context,
    )


def _pictures(profiles: Sequence[Profile], names: Sequence[str], unit: Unit) -> dict[str, object]:
    series = [
        Series(label=name, points=choice.points(profile, unit))
        for name, profile in zip(names, profiles, strict=True)
    ]
    points = [point for one in series for point in one.points]
    keys = _keys(series, any(point.accuracy_float is not None for point in points))
    crossed = Key(
        path="M2 2 10 10M10 2 2 10", fill="none", stroke="currentColor",
        text="dominated: another region costs no more and is no less accurate",
    )  # fmt: skip
    dominated = any(point.dominated for point in points)
    note = "Each point is one operating region, named by its DP percentage."
    if len(points) > figures.NARROW_LABELS:
        note += " Where they lie close, only some are named; the tables hold all."
    if unit == "MACs":
        which = (
            "This profile holds" if len(profiles) == 1 else "At least one of these profiles holds"
        )
        note += f" {which} no instruction counts, so the cost is in true MACs."
    held = profiles[0].memory
    return {
        "tradeoff": _picture(
            "tradeoff", f"Accuracy versus {unit} per inference", note, HALF,
            lambda size: figures.tradeoff(series, unit, size),
            (*keys, crossed) if dominated else keys,
        ),
        "by_dp": _picture(
            "by-dp", "Accuracy versus DP percentage",
            "The DP percentage is the share of dot-product terms that training aimed at.", HALF,
            lambda size: figures.by_percentage(series, unit, size),
            (*keys, crossed) if dominated else keys,
        ),
        "arena": _picture(
            "arena", "The arena, step by step",
            "One rectangle per buffer: width is the time it lives, height its bytes. Where two "
            "overlap, a layer writes over its input; scratch memory is dashed.", FULL,
            lambda size: figures.arena(held, size), (),
        ) if held.buffers else None,
    }  # fmt: skip


def _layers(profile: Profile) -> dict[str, object]:
    regions = profile.regions
    if not any(region.layers for region in regions):
        return {"layers": None, "rates": None, "costs": None, "layer_note": ""}
    unit = layers.layer_unit(regions)
    found = layers.bands(regions, unit)
    keys = tuple(
        Key(path=_KEYS[1], fill=css(b.ink), stroke="none",
            text=b.label)
        for i, b in enumerate(found)
    )  # fmt: skip
    dps = [region.dp for region in regions]
    return {
        "layers": _picture(
            "layers", f"{unit[0].upper()}{unit[1:]} per layer and region",
            "Each bar is one region; the first layer is at the bottom.", FULL,
            lambda size: figures.stacked(dps, found, unit, size), keys,
        ),
        "rates": layers.rate_table(regions, unit),
        "costs": layers.cost_table(regions),
        "layer_note": layers.cover_note(regions, unit),
    }  # fmt: skip


def _comparison(profiles: Sequence[Profile], names: Sequence[str], unit: Unit) -> dict[str, object]:
    if len(profiles) == 1:
        return {"compared": None, "origins": None}
    return {
        "compared": comparison.comparison_table(profiles, names, unit),
        "origins": comparison.origin_table(profiles, names),
    }


def _keys(series: Sequence[Series], with_float: bool) -> tuple[Key, ...]:
    found = []
    for index, one in enumerate(series):
        colour, path = f"var(--s{index % 7})", _KEYS[index % len(_KEYS)]
        prefix = f"{one.label}, " if len(series) > 1 else ""
        found.append(Key(path=path, fill=colour, stroke="none", text=f"{prefix}int8 on the device"))
        if with_float and any(point.accuracy_float is not None for point in one.points):
            text = f"{prefix}float reference"
            found.append(Key(path=path, fill="none", stroke=colour, text=text))
    return tuple(found)


def _picture(
    ident: str,
    title: str,
    caption: str,
    sizes: tuple[Size, Size],
    draw: Callable[[Size], Drawing],
    keys: tuple[Key, ...],
) -> Picture:
    wide, narrow = (inline(draw(size), f"{ident}-{size.name}", title, caption) for size in sizes)
    return Picture(title=title, caption=caption, wide=wide, narrow=narrow, keys=keys)


def _clean(profile: Profile) -> Profile:
    """A copy whose texts can stand in XML and HTML, and whose lists may be sorted."""

    def clean(value: object) -> object:
        if isinstance(value, str):
            return "".join(" " if c in "\t\r\n" else "\ufffd" if _odd(c) else c for c in value)
        if isinstance(value, list):
            return [clean(entry) for entry in value]
        if isinstance(value, dict):
            return {key: clean(entry) for key, entry in value.items()}
        return value

    return msgspec.convert(clean(msgspec.to_builtins(profile)), Profile)


def _odd(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Cs") or character in "\ufffe\uffff"
