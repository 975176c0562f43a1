"""IDP: the original incomplete dot product, trained at 100 % DP only (the paper, section 2.1).

Only the profile prepares the network for lower percentages. It is the baseline of the paper's
Figures 3 and 4.
"""

from tesla_embed.train.algorithms.base import Algorithm, Stage


class Idp(Algorithm):
    """Ordinary training of the complete network, with early stopping."""

    @property
    def stage_count(self) -> int:
        """One stage."""
        return 1

    def stage(self, index: int, epochs: int) -> Stage | None:
        """The complete dot product, once."""
        return Stage(name="100 % DP", objective={100: 1.0}) if index == 0 else None
