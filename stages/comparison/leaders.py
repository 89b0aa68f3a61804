"""Which way is best, from the differences of all pairs in one measure."""

from __future__ import annotations

from collections.abc import Iterable

from stages.comparison.paired import Difference


def leaders(variants: tuple[str, ...], differences: Iterable[Difference]) -> tuple[str, ...]:
    """Those that are best: one that is better than all others, or several between which there is no difference.

    A variant leads if for each other one it is known that it is better, or that the two do not differ by more than the size
    asked for; the others of which the latter is known lead with it, if it is known between them, too. What is known of pairs
    of which neither leads does not count. Empty if that is not decided (and where neither more nor less is better, unless
    there is no difference at all).
    """
    better: set[tuple[str, str]] = set()
    equal: set[tuple[str, str]] = set()
    for d in differences:
        pair, mirrored = (d.one, d.other), (d.other, d.one)
        if d.outcome == "better":
            better.add(pair)
        elif d.outcome == "worse":
            better.add(mirrored)
        elif d.is_equal:
            equal |= {pair, mirrored}
    found: list[tuple[str, ...]] = []
    for one in variants:
        others = [other for other in variants if other != one]
        if not all((one, other) in better | equal for other in others):
            continue
        level = tuple(v for v in variants if v == one or (one, v) in equal)
        if all(v == w or (v, w) in better | equal or (w, v) in better for v in level for w in level):
            found.append(level)
    return min(found, key=len, default=())
