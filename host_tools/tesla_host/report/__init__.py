"""A profile as one HTML file that a person can read, send and print.

In: what `profile` measured, and perhaps other profiles to draw beside it and the picture that `cam`
drew. Out: one file that needs no network, no script and no font of its own. Refuses a profile
without regions, a picture that is no PNG, and a Python without matplotlib.
"""

from collections.abc import Sequence
from pathlib import Path

from tesla_embed.atomic import write_text
from tesla_embed.errors import ConfigError, ToolchainError
from tesla_host.report.pictures import read_png
from tesla_host.results import Profile

__all__ = ["write_report"]


def write_report(
    profile: Profile, out: Path, others: Sequence[Profile] = (), cam: Path | None = None
) -> None:
    """Write the report of `profile` to `out`; `others` are drawn beside it for comparison.

    `cam` is a PNG file with class activation maps, which goes into the page. The same profiles and
    picture give the same bytes. Raises `ConfigError` for a profile without regions, a file that is
    no PNG or too large, or a place that cannot be written, `ToolchainError` where matplotlib is
    missing.
    """
    for entry in (profile, *others):
        if not entry.regions:
            raise ConfigError(
                f"the profile of {entry.model.name!r} holds no region; make it again with `profile`"
            )
    picture = None if cam is None else read_png(cam)
    try:
        import matplotlib  # noqa: F401 — optional, and slow to load
    except ModuleNotFoundError as error:
        raise ToolchainError(
            "a report needs matplotlib; install it with: pip install 'tesla-embed[report]'"
        ) from error
    from tesla_host.report.page import render

    write_text(out, render(profile, others, picture))
