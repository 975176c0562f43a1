"""From a matplotlib figure to SVG that can stand inside an HTML page.

Matplotlib writes a file of its own: fixed colours, ids that repeat from figure to figure, a style
sheet for everything, name spaces. Out comes an `svg` element that follows the page's colours (the
inks below become CSS variables), whose ids start with the figure's, and that a screen reader names.
"""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from markupsafe import Markup
from matplotlib.figure import Figure

SERIES = tuple(f"#0101{index:02x}" for index in range(8))
"""Inks of up to eight series; the style sheet defines `--s0` to `--s7`."""
TEXT, MUTED, RULE, PAPER = "#020200", "#020201", "#020202", "#020203"

_CSS = {
    **{ink: f"var(--s{index})" for index, ink in enumerate(SERIES)},
    TEXT: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
}
_INK = re.compile("|".join(_CSS))
_FONT = re.compile(r"font: ((?:\w+ )*?)([\d.]+px) [^;]*")
_FAMILY = re.compile(r"font-family: [^;]*(; )?")
_LONG = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure, and per artist id (`gid`) the tool tips of its marks in drawing order."""

    figure: Figure
    tips: Mapping[str, Sequence[str]] = field(default_factory=dict)


def inline(drawing: Drawing, ident: str, title: str, description: str) -> Markup:
    """The figure as an `svg` element whose ids begin with `ident`."""
    source = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        drawing.figure.savefig(source, format="svg", transparent=True, metadata=nothing)
    root = ET.fromstring(source.getvalue())
    _add_tips(root, drawing.tips)
    names = _names(root, ident)
    out = ET.Element("svg", {"viewBox": root.attrib["viewBox"], "role": "img"})
    out.set("aria-labelledby", f"{ident}-t {ident}-d")
    ET.SubElement(out, "title", {"id": f"{ident}-t"}).text = title
    ET.SubElement(out, "desc", {"id": f"{ident}-d"}).text = description
    for child in root:
        out.extend(_rewrite(child, names))
    return Markup(ET.tostring(out, encoding="unicode"))


def css(ink: str) -> str:
    """What the page calls an ink."""
    return _CSS[ink]


def _add_tips(root: ET.Element, tips: Mapping[str, Sequence[str]]) -> None:
    for group in root.iter():
        texts = tips.get(group.get("id", ""))
        if texts is None:
            continue
        hidden = {mark for defs in group.iter() if _tag(defs) == "defs" for mark in defs.iter()}
        marks = [m for m in group.iter() if _tag(m) in ("use", "path") and m not in hidden]
        for mark, text in zip(marks, texts, strict=True):
            ET.SubElement(mark, "title").text = text


def _names(root: ET.Element, ident: str) -> dict[str, str]:
    """New names of the ids that something refers to; the others are not worth keeping."""
    used: dict[str, str] = {}
    for element in root.iter():
        for key, value in element.attrib.items():
            found = [value[1:]] if key.endswith("href") else _REFERENCE.findall(value)
            for name in found:
                used.setdefault(name, f"{ident}-{len(used)}")
    return used


def _rewrite(element: ET.Element, names: Mapping[str, str]) -> list[ET.Element]:
    """`element` without name space, clutter and fixed colours; a bare group becomes its content."""
    tag = _tag(element)
    if tag in ("style", "metadata"):
        return []
    children = [new for child in element for new in _rewrite(child, names)]
    attributes = dict(
        _attribute(key.rpartition("}")[2], value, names) for key, value in element.attrib.items()
    )
    attributes = {key: value for key, value in attributes.items() if value}
    if tag == "defs" and not children:
        return []
    if tag == "g":
        _share_style(attributes, children)
        if not attributes:
            return children
    new = ET.Element(tag, attributes)
    new.text = element.text if tag in ("text", "title", "tspan") else None
    new.extend(children)
    return [new]


def _share_style(attributes: dict[str, str], children: Sequence[ET.Element]) -> None:
    """Let a group of equal marks carry their style once, to be inherited."""
    styles = {child.get("style", "") for child in children}
    if "style" in attributes or len(styles) != 1 or {child.tag for child in children} != {"use"}:
        return
    if style := styles.pop():
        attributes["style"] = style
        for child in children:
            del child.attrib["style"]


def _attribute(key: str, value: str, names: Mapping[str, str]) -> tuple[str, str]:
    if key == "id":
        return key, names.get(value, "")
    if key == "href":
        return key, f"#{names[value[1:]]}"
    if key == "transform" and value.startswith("rotate(-0 "):
        return key, ""
    value = _REFERENCE.sub(lambda match: f"url(#{names[match[1]]})", value)
    if key == "style":
        value = _FONT.sub(lambda m: f"font-size: {m[2]}" + _weight(m[1]), value)
        value = _FAMILY.sub("", value)
        return key, _INK.sub(lambda match: _CSS[match[0]], value)
    value = _LONG.sub(lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), value)
    return key, " ".join(value.split())


def _weight(words: str) -> str:
    return "; font-weight: bold" if re.search(r"bold|[6-9]00", words) else ""


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
