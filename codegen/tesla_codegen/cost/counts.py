"""Counts of what a kernel executes: the features of a linear cost model."""


class Counts(dict[str, int]):
    """How often parts of a kernel run, by names of its own; what never runs is left out."""

    def more(self, name: str, times: int) -> None:
        """`times` executions more of a part."""
        if times:
            self[name] = self.get(name, 0) + times

    def loop(self, name: str, rounds: int, times: int = 1) -> None:
        """`times` entries of an innermost loop of `rounds` rounds.

        Compilers unroll such loops by four, finish what is left one way or the other, and spare
        the first round or an empty loop some work: all of that counts apart, beside the rounds.
        """
        self.more(name, times * rounds)
        self.more(f"{name} at all", times * (rounds > 0))
        self.more(f"{name} > 1", times * (rounds > 1))
        self.more(f"{name}/4", times * (rounds // 4))
        self.more(f"{name} >= 4", times * (rounds >= 4))
        self.more(f"{name} rest {rounds % 4}", times * (rounds % 4 > 0))

    def bytes(self, name: str, size: int, times: int = 1, at: int = 0, step: int = 0) -> None:
        """`times` calls that move or set `size` bytes, at addresses `at`, `at + step` and so on.

        Bytes up to a whole word come first, then words by fours, words, and the bytes left.
        """
        for turn in range(min(times, 4)):  # addresses repeat after four steps
            calls = len(range(turn, times, 4))
            head = min(-(at + turn * step) % 4, size)
            words, tail = divmod(size - head, 4)
            self.more(f"{name} calls", calls)
            self.more(f"{name} head {head}", calls * (head > 0))
            self.more(f"{name} by 64", calls * (words // 16))
            self.more(f"{name} by 64 at all", calls * (words >= 16))
            self.more(f"{name} by 16", calls * (words // 4 % 4))
            self.more(f"{name} by 16 at all", calls * (words >= 4))
            self.more(f"{name} words {words % 4}", calls * (words % 4 > 0))
            self.more(f"{name} tail {tail}", calls * (tail > 0))
            self.more(f"{name} bytes", calls * size)
            self.more(f"{name} bytes of few", calls * size * (size < 16))
            self.more(f"{name} of few", calls * (0 < size < 16))
