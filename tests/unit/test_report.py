"""The report's page: complete, closed in itself, escaped, the same every time."""

import base64
import builtins
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tesla_embed.errors import ConfigError, ToolchainError
from tesla_host.report import write_report
from tesla_host.report.pictures import png
from tesla_host.results import (
    ArenaBuffer,
    LayerCost,
    Memory,
    ModelInfo,
    Profile,
    RegionResult,
    Spread,
    TargetInfo,
    Tool,
    write_json,
)

pytest.importorskip("matplotlib")

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """The tags, ids, references and visible text of a page; refuses tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.attributes: set[str] = set()
        self.pieces: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open
        self.text = re.sub(r"\s+", " ", " ".join(self.pieces).replace("\xa0", " "))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            self.attributes.add(key)
            text = value or ""
            if key == "id":
                self.ids.append(text)
            if key == "href":
                self.references.append(text.removeprefix("#"))
            if key.startswith("aria-labelledby"):
                self.references += text.split()
            self.references += re.findall(r"url\(#([^)]+)\)", text)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def make_region(dp: int, layers: tuple[str, ...], *, counted: bool) -> RegionResult:
    costs = [
        LayerCost(
            name=layer,
            op="fully_connected",
            macs=dp * (1000 + index),
            instructions=dp * (2111 + index) if counted else None,
            cycles_estimate=dp * (3007 + index) if counted else None,
        )
        for index, layer in enumerate(layers)
    ]
    total = dp * 4441
    return RegionResult(
        dp=dp,
        macs=sum(cost.macs for cost in costs) or dp * 999,
        macs_fraction=dp / 100,
        samples=9_871,
        accuracy=0.9 + dp / 1543,
        accuracy_float=0.9 + dp / 1501 if counted else None,
        accuracy_float_samples=9_803 if counted else 0,
        device_samples=1_237 if counted else 0,
        agreement=1.0,
        bit_exact=True,
        instructions=Spread(min=total - 3, median=total, max=total + 7) if counted else None,
        cycles_estimate=total + 11 if counted else None,
        latency_us=(total + 11) / 168 if counted else None,
        switch_instructions=19 + dp if counted else None,
        layers=costs,
        arena_peak_bytes=512 + dp if counted else None,
    )


def make_memory(layers: tuple[str, ...], *, counted: bool) -> Memory:
    buffers = [
        ArenaBuffer(
            name=f"buffer{i}",
            offset=64 * (i % 2),
            bytes=57 + i,
            first=i,
            last=i + 1,
            scratch=i == 1,
            over="" if i else "what-died",
        )
        for i in range(len(layers))
    ]
    return Memory(
        flash_bytes=120_017 if counted else None,
        ram_bytes=6_007 if counted else None,
        arena_bytes=1_024,
        stack_bytes=713 if counted else None,
        region_table_bytes=5_042,
        buffers=buffers,
        arena_bound_bytes=1_016 if counted else None,
        library_stack_bytes=417 if counted else None,
        steps=[f"step-{layer}" for layer in layers] if counted else [],
    )


def make_profile(
    dps: tuple[int, ...] = (10, 50, 100),
    layers: tuple[str, ...] = ("dense1", "dense2"),
    *,
    name: str = "some-mlp",
    counted: bool = True,
    algorithm: str = "tesla",
) -> Profile:
    model = ModelInfo(
        name=name,
        digest="c0ffee" * 8,
        weights_bytes=89_611,
        input_shape=[784],
        output_shape=[10],
        recipe="recipe-x",
        algorithm=algorithm,
        profile="harmonic",
        seed=4711,
        data="idx:digits",
    )
    return Profile(
        tool=Tool(version="9.8.7", compiler="zig 0.15", host_compiler="gcc 12"),
        model=model,
        target=TargetInfo(
            name="emulator", cpu="cortex-m4", clock_hz=168_000_000, status="emulated"
        ),
        data="idx:mnist",
        memory=make_memory(layers, counted=counted),
        regions=[make_region(dp, layers, counted=counted) for dp in dps],
    )


def written(tmp_path: Path, profile: Profile, *others: Profile) -> tuple[str, Page]:
    out = tmp_path / "report.html"
    write_report(profile, out, others)
    html = out.read_text(encoding="utf-8")
    return html, Page(html)


def test_the_same_profile_gives_the_same_bytes(tmp_path: Path) -> None:
    first, _ = written(tmp_path, make_profile(), make_profile(algorithm="idp"))
    second, _ = written(tmp_path, make_profile(), make_profile(algorithm="idp"))
    assert first == second


def test_a_users_matplotlib_configuration_changes_nothing(tmp_path: Path) -> None:
    import matplotlib

    plain, _ = written(tmp_path, make_profile())
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        configured, _ = written(tmp_path, make_profile())
        assert matplotlib.rcParams["font.size"] == 30
    assert configured == plain


@pytest.mark.parametrize("counted", [True, False])
def test_nothing_is_fetched_and_no_script_runs(tmp_path: Path, counted: bool) -> None:
    html, page = written(tmp_path, make_profile(counted=counted))
    assert "http" not in html
    assert not re.search(r"""(?:src|href)=["'](?!#)|url\((?!#)|@import""", html)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert str(tmp_path) not in html


def test_ids_are_unique_and_references_lead_somewhere(tmp_path: Path) -> None:
    _, page = written(tmp_path, make_profile(), make_profile(algorithm="idp"))
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)


def test_every_figure_names_itself_and_follows_the_colour_scheme(tmp_path: Path) -> None:
    html, _ = written(tmp_path, make_profile())
    figures = re.findall(r'<svg viewBox="[^"]*" role="img" aria-labelledby.*?</svg>', html, re.S)
    assert len(figures) == 8
    for figure in figures:
        assert "<title" in figure and "<desc" in figure and "currentColor" in figure
        assert not re.search(r"#0[12]0[12]", figure)
        assert not re.search(r"(?:fill|stroke): #", figure)
    assert "prefers-color-scheme: dark" in html


def test_every_number_of_the_profile_appears(tmp_path: Path) -> None:
    profile = make_profile()
    _, page = written(tmp_path, profile)
    expected: list[str] = []
    for r in profile.regions:
        assert r.instructions and r.accuracy_float and r.latency_us and r.switch_instructions
        whole = [r.macs, r.samples, r.accuracy_float_samples, r.device_samples, r.cycles_estimate]
        whole += [r.instructions.min, r.instructions.median, r.instructions.max]
        whole += [r.switch_instructions]
        for layer in r.layers:
            whole += [layer.macs, layer.instructions, layer.cycles_estimate]
        expected += [f"{number:,}" for number in whole]
        shares = (r.accuracy, r.accuracy_float)
        expected += [f"{100 * share:.2f} %" for share in shares]
        expected += [f"{100 * r.macs_fraction:.1f} %", f"{r.latency_us:,.1f}", f"{r.dp} %"]
    m = profile.memory
    sizes = [m.flash_bytes, m.ram_bytes, m.arena_bytes, m.stack_bytes, m.region_table_bytes]
    sizes += [profile.model.weights_bytes, profile.target.clock_hz]
    expected += [f"{size:,}" for size in sizes]
    for b in m.buffers:
        expected += [b.name, *(f" {n:,} " for n in (b.offset, b.bytes, b.first, b.last))]
    expected += [f" {r.arena_peak_bytes:,} " for r in profile.regions]
    expected += [
        "the library takes at most 417 B",
        "takes less than 1,016 bytes",
        "0 step-dense1",
        "buffer1 (scratch)",
        "what-died",
    ]
    info = profile.model
    expected += [info.name, info.digest, info.recipe, info.algorithm, info.profile, info.data]
    expected += [str(info.seed), "[784] → [10]", profile.data, "zig 0.15", "gcc 12", "9.8.7"]
    assert [text for text in expected if text not in page.text] == []


HOSTILE = "</title><script>alert(1)</script>&\"'$\\frac{x_"


def test_names_are_shown_and_never_obeyed(tmp_path: Path) -> None:
    profile = make_profile(layers=(HOSTILE, "\x00\x1b\u202eodd\n"), name=HOSTILE)
    profile.target.name = profile.target.status = profile.data = HOSTILE
    profile.model.recipe = '" onload="alert(2)'
    profile.memory.buffers[0].name = HOSTILE
    html, page = written(tmp_path, profile, make_profile(name=f"{HOSTILE}2"))
    assert "<script" not in html
    assert "onload" not in page.attributes
    assert HOSTILE in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", html)
    assert "\ufffd\ufffd\ufffdodd" in page.text


def test_the_headline_states_the_range_and_the_verdict(tmp_path: Path) -> None:
    _, page = written(tmp_path, make_profile())
    assert "90.6 % at 44.4 k instructions DP 10 %" in page.text
    assert "96.5 % at 444 k instructions DP 100 %" in page.text
    assert "bit-exact 3,711 outputs compared over 3 regions" in page.text


def test_a_region_that_differs_turns_the_badge_red(tmp_path: Path) -> None:
    profile = make_profile()
    profile.regions[1].bit_exact, profile.regions[1].agreement = False, 0.99876
    html, page = written(tmp_path, profile)
    assert '<p class="badge bad">' in html
    assert "not bit-exact differs at DP 50 %; lowest agreement 99.876 %" in page.text
    assert '<tr class="marked">' in html


def test_without_counts_the_macs_stand_in_and_it_is_said(tmp_path: Path) -> None:
    profile = make_profile(counted=False)
    profile.target.clock_hz = 0
    html, page = written(tmp_path, profile)
    assert "Accuracy versus MACs per inference" in page.text
    assert "no instruction counts, so the cost is in true MACs" in page.text
    assert '<p class="badge none">' in html
    assert "0 MHz" not in page.text and "None" not in page.text and "nan" not in page.text
    assert "float reference" not in page.text
    assert "takes less than" not in page.text and "in use at one step" not in page.text


def test_one_region(tmp_path: Path) -> None:
    _, page = written(tmp_path, make_profile(dps=(100,)))
    assert "over 1 region" in page.text


def test_no_buffers_and_no_layers(tmp_path: Path) -> None:
    _, page = written(tmp_path, make_profile(layers=()))
    assert "does not list its buffers" in page.text
    assert "no costs by layer" in page.text


def test_a_large_profile_stays_small_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    layers = tuple(f"block{i}.convolution" for i in range(60))
    html, page = written(tmp_path, make_profile(dps=tuple(range(10, 101)), layers=layers))
    assert len(html.encode()) < 400_000
    assert "some of the 91 regions" in page.text
    assert "54 cheaper layers" in page.text


def test_profiles_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    other = make_profile(dps=(20, 50), algorithm="idp")
    _, page = written(tmp_path, make_profile(), other, make_profile())
    for column in ("tesla (1): accuracy", "idp (2): instructions", "tesla (3): accuracy"):
        assert column in page.text


def test_regions_in_any_order_give_the_same_page(tmp_path: Path) -> None:
    shuffled = make_profile()
    shuffled.regions.reverse()
    assert written(tmp_path, shuffled)[0] == written(tmp_path, make_profile())[0]
    assert [region.dp for region in shuffled.regions] == [100, 50, 10]


def test_the_commands_can_be_pasted(tmp_path: Path) -> None:
    _, page = written(tmp_path, make_profile(dps=(10, 20, 30), name="a b"))
    assert (
        "tesla-embed profile 'a b'.safetensors --target emulator --data idx:mnist "
        "--regions 10-30/10 --samples 9871 --device-samples 1237 --json 'a b'.json" in page.text
    )


def test_a_profile_without_regions_is_refused(tmp_path: Path) -> None:
    profile = make_profile()
    profile.regions.clear()
    with pytest.raises(ConfigError, match="'some-mlp' holds no region"):
        write_report(profile, tmp_path / "report.html")


def test_missing_matplotlib_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., ModuleType] = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> ModuleType:
        if name == "matplotlib":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ToolchainError, match=r"pip install 'tesla-embed\[report\]'"):
        write_report(make_profile(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_activation_maps_is_in_the_page(tmp_path: Path) -> None:
    content = png(np.full((7, 9, 3), 200, np.uint8))
    cam, out = tmp_path / "cam.png", tmp_path / "report.html"
    cam.write_bytes(content)
    write_report(make_profile(), out, (), cam)
    html = out.read_text(encoding="utf-8")
    page = Page(html)
    source = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="Class activation', html)
    assert [base64.b64decode(text) for text in source] == [content]
    assert "Green frame: right. Red frame: wrong." in page.text
    assert "a column for each DP percentage" in page.text and str(tmp_path) not in html
    before = html
    cam.write_bytes(b"<script>alert(1)</script>")
    with pytest.raises(ConfigError, match=r"cam\.png is no PNG file"):
        write_report(make_profile(), out, (), cam)
    assert out.read_text(encoding="utf-8") == before
    write_report(make_profile(), out)
    assert "Where the network looks" not in out.read_text(encoding="utf-8")


def test_the_command_reads_and_compares(tmp_path: Path) -> None:
    from tesla_host.cli.report import report

    for name, algorithm in (("a", "tesla"), ("b", "idp")):
        write_json(tmp_path / f"{name}.json", make_profile(algorithm=algorithm))
    (tmp_path / "cam.png").write_bytes(png(np.zeros((2, 2, 3), np.uint8)))
    others, cam = [tmp_path / "b.json"], tmp_path / "cam.png"
    report(tmp_path / "a.json", tmp_path / "r.html", others, cam)
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "idp: accuracy" in html and "Where the network looks" in html
