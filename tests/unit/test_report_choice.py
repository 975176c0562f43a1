"""Which regions are worth taking, and how numbers are written."""

from collections.abc import Sequence

import pytest
from test_report import make_profile

from tesla_host.report.choice import Point, cost, picks, points, uncertainty, unit_of
from tesla_host.report.numbers import frequency, grouped, kibibytes, percent, ratio, short
from tesla_host.results import Profile


def with_accuracies(accuracies: Sequence[float]) -> Profile:
    profile = make_profile(dps=tuple(10 * (i + 1) for i in range(len(accuracies))))
    for region, accuracy in zip(profile.regions, accuracies, strict=True):
        region.accuracy = accuracy
    return profile


def test_a_point_is_dominated_by_a_cheaper_one_that_is_no_worse() -> None:
    found = points(with_accuracies((0.9, 0.8, 0.95, 0.95)), "instructions")
    assert [point.dominated for point in found] == [False, True, False, True]


def test_equal_points_do_not_dominate_each_other() -> None:
    profile = with_accuracies((0.9, 0.9))
    for region in profile.regions:
        region.instructions = profile.regions[0].instructions
    assert not any(point.dominated for point in points(profile, "instructions"))


def test_picks_are_the_cheapest_within_each_loss() -> None:
    accuracies = (0.90, 0.96, 0.969, 0.97)
    found = [
        Point(dp=i, cost=i, accuracy=a, accuracy_float=None, dominated=False)
        for i, a in enumerate(accuracies, start=1)
    ]
    chosen = [(pick.loss, pick.point.dp) for pick in picks(found)]
    assert chosen == [(0.0, 4), (0.001, 3), (0.01, 2)]


def test_one_profile_without_counts_makes_macs_the_unit() -> None:
    counted, uncounted = make_profile(), make_profile(counted=False)
    assert unit_of([counted]) == "instructions"
    assert unit_of([counted, uncounted]) == "MACs"
    assert cost(counted.regions[0], "MACs") == counted.regions[0].macs


def test_uncertainty_is_the_widest_interval() -> None:
    profile = with_accuracies((0.5, 0.9))
    for region in profile.regions:
        region.samples = 10_000
    assert uncertainty(profile.regions) == pytest.approx(0.0098)
    profile.regions[0].samples = profile.regions[1].samples = 0
    assert uncertainty(profile.regions) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7, "7"), (999, "999"), (999.6, "1 k"), (12_345, "12.3 k"), (214_000, "214 k"),
     (999_700, "1 M"), (14_900_000, "14.9 M"), (3e9, "3 G"), (2.5e12, "2500 G")],
)  # fmt: skip
def test_short_numbers(value: float, text: str) -> None:
    assert short(value).replace("\xa0", " ") == text


def test_unknown_values_are_dashes() -> None:
    assert grouped(None) == percent(None) == "–"
    assert ratio(None, 3) is None and ratio(3, 0) is None


def test_units() -> None:
    assert kibibytes(1023).replace("\xa0", " ") == "1023 B"
    assert kibibytes(45_056).replace("\xa0", " ") == "44.0 KiB"
    assert frequency(168_000_000).replace("\xa0", " ") == "168 MHz"
    assert frequency(0) == ""
