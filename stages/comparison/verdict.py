"""The verdict on several ways of doing the same thing: how they differ in all measures, and which one is best.

What was asked is answered first: the pairs of variants in the measure that is the aim are tested together, so that a false
claim among them comes up in 5 % of runs at most. Everything else that was measured is looked at because it is there; all
pairs in all other measures are tested together, so that among them, too, a false claim comes up in 5 % of runs at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stages.comparison.leaders import leaders
from stages.comparison.paired import CONFIDENCE, Difference, compare, settled
from stages.comparison.sentences import listed, sentence_of
from stages.comparison.table import MEASURES, FrameTable, Measure


@dataclass(frozen=True)
class Verdict:
    """What frames say about variants.

    Attributes
    ----------
    frames
        In the table, whether or not they have a number in each measure.
    aim
        The measure by which they are judged.
    differences
        Of all pairs in all measures of which there are numbers, in the order of `MEASURES`.
    best
        The variant that is best in the aim; of several that do not differ in it, the one that takes less time than the
        others; None if neither is known.
    leaders
        Those that are not known to differ by more than the size asked for, and are better than all others; empty as long as
        that is not decided.
    why
        In a sentence or two.
    """

    frames: int
    aim: str
    differences: tuple[Difference, ...]
    best: str | None
    leaders: tuple[str, ...]
    why: str

    def between(self, measure: str, one: str, other: str) -> Difference | None:
        """The difference of two variants in a measure, as the first of them sees it; None if there is none."""
        for d in self.differences:
            if d.measure.name == measure and {d.one, d.other} == {one, other}:
                return d if d.one == one else d.mirrored()
        return None

    def figures(self) -> dict[str, Any]:
        """All of it for JSON; what is not finite is None."""
        return {
            "frames": self.frames,
            "aim": self.aim,
            "best": self.best,
            "leaders": list(self.leaders),
            "why": self.why,
            "differences": [_figures(d) for d in self.differences],
        }


def judge(
    table: FrameTable,
    aim: str = "indexed",
    *,
    size: float | None = None,
    confidence: float = CONFIDENCE,
    sequential: bool = False,
    also: Sequence[Difference] = (),
) -> Verdict:
    """Compare all variants in all measures.

    Parameters
    ----------
    aim
        The name of the measure by which they are judged.
    size
        The smallest difference of interest in it; None: its `least`.
    sequential
        Whether the run may have ended, or may be ended, because of what is found here.
    also
        Differences of what has no number for each frame (`stages.comparison.blocks`).
    """
    variants = table.variants
    asked = compare(MEASURES[aim], variants, table.column(aim), size=size, confidence=confidence, sequential=sequential)
    rest: list[Difference] = list(also)
    for name, measure in MEASURES.items():
        if name != aim and table.has(name):
            rest += compare(measure, variants, table.column(name), confidence=confidence, sequential=sequential)
    rest = settled(rest)
    order = list(MEASURES)
    everything = sorted(
        [*asked, *rest], key=lambda d: order.index(d.measure.name) if d.measure.name in order else len(order)
    )
    best = leaders(variants, asked)
    times = {(d.one, d.other): d for d in [*asked, *rest] if d.measure.name == "ms"}
    fastest = _fastest(best, times)
    return Verdict(
        frames=len(table),
        aim=aim,
        differences=tuple(everything),
        best=fastest,
        leaders=best,
        why=_why(variants, asked, best, fastest, {} if aim == "ms" else times),
    )


def _fastest(best: tuple[str, ...], times: dict[tuple[str, str], Difference]) -> str | None:
    """The only one of the best, or the one of them that is known to take less time than each of the others."""
    if len(best) == 1:
        return best[0]
    among = [d for d in times.values() if d.one in best and d.other in best]
    return next(
        (one for one in best if among and all(_is_faster(d, one) for d in among if one in (d.one, d.other))), None
    )


def _is_faster(d: Difference, one: str) -> bool:
    return d.outcome == ("better" if d.one == one else "worse")


def _why(
    variants: tuple[str, ...],
    asked: list[Difference],
    best: tuple[str, ...],
    fastest: str | None,
    times: dict[tuple[str, str], Difference],
) -> str:
    """Say the verdict in a sentence or two."""
    if not asked:
        return "there is nothing to compare with"
    if len(variants) == 2:
        (only,) = asked
        text = sentence_of(only, times.get((only.one, only.other)))
        return f"{text}; {fastest} takes less time" if fastest and len(best) > 1 else text
    measure = asked[0].measure
    others = [variant for variant in variants if variant not in best]
    if not best:
        pair = _closest_at_top(variants, asked, measure)
        return f"it is not decided which is best: {sentence_of(pair, times.get((pair.one, pair.other)))}"
    if len(best) == 1:
        pair = _closest_at_top(variants, [d for d in asked if best[0] in (d.one, d.other)], measure)
        return f"{best[0]} is best: {sentence_of(pair, times.get((pair.one, pair.other)))}"
    least = max((d for d in asked if d.one in best and d.other in best), key=lambda d: d.p_equal_adjusted)
    text = f"{listed(best)}: {sentence_of(least)}"
    text += f"; better than {listed(others)}" if others else ""
    return f"{text}; {fastest} takes least time of them" if fastest else text


def _closest_at_top(variants: tuple[str, ...], differences: list[Difference], measure: Measure) -> Difference:
    """The pair of the two that are ahead, as far as they are among these differences."""
    sense = measure.better or 1
    worth = dict.fromkeys(variants, -math.inf)
    for d in differences:
        for name, mean in ((d.one, d.mean_one), (d.other, d.mean_other)):
            worth[name] = max(worth[name], sense * mean if math.isfinite(mean) else -math.inf)
    return max(differences, key=lambda d: (min(worth[d.one], worth[d.other]), max(worth[d.one], worth[d.other])))


def _figures(d: Difference) -> dict[str, Any]:
    found = {**asdict(d), "measure": d.measure.name, "sentence": d.sentence()}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}
