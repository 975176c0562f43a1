"""The file of measurements: grows, is continued, and refuses what is not its own."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesla_embed.errors import ConfigError
from tesla_host.jobs import Job, Probe, Record, Sample, plan_jobs
from tesla_host.measurements import Header, Measurements, fingerprint

HEADER = Header(
    model="m",
    digest="ab",
    target="emulator",
    firmware="cd",
    board="desk",
    cpu="snake",
    counters=[("instructions", 0)],
    inputs="ef",
    samples=3,
    runs=1,
)
PROBE = Probe(dp=50, switch={"i": 1}, first={"i": 2}, layers=[{"i": 3}], stack_bytes=4)
RECORDS: list[Record] = [
    PROBE,
    *(Sample(dp=50, index=i, ticks=[{"i": 1000 + i}], output=bytes([i, 0, 255])) for i in range(3)),
]


def written(path: Path) -> bytes:
    with Measurements(path, HEADER) as store:
        for record in RECORDS:
            store.append(record)
    return path.read_bytes()


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    content = written(path)
    assert content.count(b"\n") == 5
    for line in content.splitlines():
        assert set(msgspec.json.decode(line)) == {"crc", "record"}
    with Measurements(path, HEADER) as store:
        assert store.records == RECORDS
    assert path.read_bytes() == content


def test_cut_anywhere_all_whole_lines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    content = written(path)
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        whole = max(0, content[:cut].count(b"\n") - 1)
        with Measurements(path, HEADER) as store:
            assert store.records == RECORDS[:whole]
            for record in RECORDS[whole:]:
                store.append(record)
        assert path.read_bytes() == content


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_is_refused_and_left_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "r.jsonl"
    content = bytearray(written(path))
    at = data.draw(st.integers(0, len(content) - 2))  # the last line break: that is a cut line
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)):
        Measurements(path, HEADER)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("schema", "tesla-embed/measurements/0", "another version of this tool"),
        ("model", "n", "of another model"),
        ("digest", "aa", "another model of the same name"),
        ("target", "host", "another target"),
        ("firmware", "xx", "another build of the firmware"),
        ("board", "moon", "another board"),
        ("cpu", "cat", "another CPU"),
        ("counters", [("ns", 7)], "other counters"),
        ("inputs", "xx", "other samples"),
        ("samples", 4, "another number of samples"),
        ("runs", 2, "another number of runs"),
    ],
)
def test_measurements_of_something_else_are_refused(
    tmp_path: Path, field: str, value: object, words: str
) -> None:
    path = tmp_path / "r.jsonl"
    content = written(path)
    other = msgspec.structs.replace(HEADER, **{field: value})
    with pytest.raises(ConfigError, match=f"{path}: holds measurements .*{words}.*{field} is"):
        Measurements(path, other)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"hello", b"hello\n", b"{}\n", b"\0" * 100, b'{"crc":"'])
def test_files_of_others_are_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    if content == b'{"crc":"':  # the beginning of our own first line
        Measurements(path, HEADER).__exit__(None, None, None)
        return
    with pytest.raises(ConfigError, match="no measurements of ours"):
        Measurements(path, HEADER)
    assert path.read_bytes() == content


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "r.jsonl"
    with Measurements(path, HEADER), pytest.raises(ConfigError, match="another profile writes"):
        Measurements(path, HEADER)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        Measurements(tmp_path, HEADER)


def test_fingerprints_tell_samples_apart() -> None:
    assert fingerprint([b"ab", b"cd"]) != fingerprint([b"ab", b"ce"])


def covered(jobs: list[Job]) -> list[tuple[int, int]]:
    return [(job.dp, -1 if job.probe else index) for job in jobs for index in job.indices]


@given(
    st.integers(1, 300),
    st.integers(1, 9),
    st.sets(st.tuples(st.sampled_from([25, 50]), st.integers(-1, 299))),
)
def test_jobs_are_what_is_left_each_once(
    count: int, boards: int, done: set[tuple[int, int]]
) -> None:
    inputs = [bytes([i % 256, i // 256]) for i in range(count)]
    have: list[Record] = [
        msgspec.structs.replace(PROBE, dp=dp)
        if index < 0
        else Sample(dp=dp, index=index, ticks=[], output=b"")
        for dp, index in done
    ]
    jobs = plan_jobs(inputs, [25, 50], 2, boards, have)
    everything = {(dp, index) for dp in (25, 50) for index in range(-1, count)}
    assert sorted(covered(jobs)) == sorted(everything - done)
    for job in jobs:
        if not job.probe:
            assert job.inputs == tuple(inputs[index] for index in job.indices)
            assert job.runs == 2 and len(job.indices) <= 64


def test_a_job_gets_shorter() -> None:
    job = Job(dp=50, indices=(3, 5), inputs=(b"a", b"b"))
    left = job.without(RECORDS[1])
    assert left == replace(job, indices=(5,), inputs=(b"b",))
