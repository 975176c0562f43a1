"""DP lists as users type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_embed.errors import ConfigError
from tesla_host.cli.options import parse_dp_list

TENS = tuple(range(10, 101, 10))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("10", (10,)),
        ("100, 10,10", (10, 100)),
        ("10-100/10", TENS),
        ("10,20,...,100", TENS),
        ("10,20,…,100", TENS),
        ("10, 20, ..., 100", TENS),
        ("5,10,15,...,25,100", (5, 10, 15, 20, 25, 100)),
        ("98-100", (98, 99, 100)),
        ("1,50-60/5", (1, 50, 55, 60)),
        ("10,15,...,100", tuple(range(10, 101, 5))),
    ],
)
def test_lists(text: str, want: tuple[int, ...]) -> None:
    assert parse_dp_list(text) == want


@pytest.mark.parametrize(
    "text",
    [
        "", ",", "10,", "x", "0", "101", "-5", "10-", "10-5", "10-100/0", "10-100/7", "1.5", "1e1",
        "...", "10,...,100", "10,20,...", "10,20,...,95", "20,10,...,100", "10,10,...,100",
        "10,20,...,...,100", "10-20/5,...,100", "٣", "10;20", "10%", "999-1000", "9" * 5000,
    ],
)  # fmt: skip
def test_bad_lists(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_dp_list(text)


@given(st.text(alphabet="0123456789,-/.… x", max_size=20))
def test_any_text_gives_a_list_or_an_error(text: str) -> None:
    try:
        result = parse_dp_list(text)
    except ConfigError:
        return
    assert result == tuple(sorted(set(result))) and result
    assert all(1 <= dp <= 100 for dp in result)
