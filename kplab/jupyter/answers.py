"""Who answered many connections, and whether chance explains it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """Pearson's test: how far counts are from what was expected, and how often chance alone goes so far."""

    statistic: float
    degrees: int
    p: float
    """The probability of a statistic as large as this, or larger, if the expectation is true."""

    def __repr__(self) -> str:
        return f"chi-square {self.statistic:.2f} with {self.degrees} degrees of freedom, p = {self.p:.3g}"


@dataclass(frozen=True, slots=True)
class Answers:
    """What `lab.connect` returns: the pods that answered, in order."""

    target: str
    order: tuple[str, ...]
    """The pod that answered each connection."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """Why connections failed, and how many."""
    asked: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """How many connections each pod answered, by name."""
        return dict(sorted(Counter(self.order).items()))

    def running_share(self, pod: str) -> list[float]:
        """Return the pod's share after 1, 2, 3, … answers."""
        met = 0
        shares = []
        for number, name in enumerate(self.order, 1):
            met += name == pod
            shares.append(met / number)
        return shares

    def chi_square(self, expected: Mapping[str, float] | None = None) -> ChiSquare:
        """Compare the counts with `expected` shares, which sum to 1; without them with equal shares.

        Raises:
            ValueError: fewer than two pods are expected, a share is not positive, or they do not sum to 1.
        """
        counts = self.counts
        shares = dict(expected) if expected else {pod: 1 / len(counts) for pod in counts}
        if len(shares) < 2 or min(shares.values()) <= 0 or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
            raise ValueError(f"shares of at least two pods, each above 0, that sum to 1 are needed, not {shares}")
        total = len(self.order)
        strangers = sum(count for pod, count in counts.items() if pod not in shares)
        if strangers:
            return ChiSquare(math.inf, len(shares) - 1, 0.0)
        statistic = sum((counts.get(pod, 0) - total * share) ** 2 / (total * share) for pod, share in shares.items())
        return ChiSquare(statistic, len(shares) - 1, upper_tail(statistic, len(shares) - 1))

    def __iter__(self) -> Iterator[str]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)

    def __repr__(self) -> str:
        lines = [f"{self.target}: {len(self.order)} of {self.asked} connections answered"]
        lines += [f"  {pod:<12} {count:>5}  {count / len(self.order):6.1%}" for pod, count in self.counts.items()]
        lines += [f"  {times} failed: {why}" for why, times in self.failed.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(pod)}</td><td>{count}</td><td>{count / len(self.order):.1%}</td></tr>"
            for pod, count in self.counts.items()
        )
        failed = "".join(f"<div>{times} failed: {escape(why)}</div>" for why, times in self.failed.items())
        title = f"{self.target}: {len(self.order)} of {self.asked} connections answered"
        return f"<div><b>{escape(title)}</b><table>{rows}</table>{failed}</div>"


def upper_tail(statistic: float, degrees: int) -> float:
    """Return the probability that chi-square of so many degrees of freedom is at least `statistic`.

    By the recurrence of the regularised incomplete gamma function: Q(a + 1, x) = Q(a, x) + x**a e**-x / gamma(a + 1),
    from Q(1/2, x) = erfc(sqrt(x)) and Q(1, x) = e**-x.
    """
    if statistic <= 0:
        return 1.0
    x = statistic / 2
    a = 0.5 if degrees % 2 else 1.0
    tail = math.erfc(math.sqrt(x)) if degrees % 2 else math.exp(-x)
    while a < degrees / 2:
        tail += math.exp(a * math.log(x) - x - math.lgamma(a + 1))
        a += 1
    return min(tail, 1.0)
