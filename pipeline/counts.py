"""How totals are said: what a count is a share of, and the words around it.

A value that adds to the run's totals has ``counts()``; how the report and the progress line show them is said by its class, in
``shown``. So the engine says a user's own counts as it says ours, and knows none of them by name.

>>> from collections import Counter
>>> words = (Count("words", share_of=FRAMES), Count("long_words", share_of="words"), Count("letters"))
>>> totals = Counter({"words": 3, "long_words": 1, "letters": 17, "typing_errors": 2})
>>> report_line(words, totals, frames=4)
'words 3 of 4 (75.0 %), long words 1 (33.3 % of words), letters 17, typing errors 2'
>>> progress_parts(words, totals, frames=4)
['words 75.0 %', 'long words 33.3 % of words']
>>> report_line(words[1:], Counter({"long_words": 1, "letters": 17}), frames=4)
'long words 1, letters 17'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from toolz import groupby, keyfilter

FRAMES = "frames"
"""What a count is a share of, if it is a share of all frames."""


@dataclass(frozen=True)
class Count:
    """How one of a value's counts is shown.

    Attributes
    ----------
    name
        Its key in ``counts()``.
    share_of
        The name of the count that it is a part of, or FRAMES; shares stand in the progress line too. "" for what is no share.
    detail_of
        The name of the count behind which it stands in brackets, where it is not zero.
    text
        Words for it; by default its name, with blanks for underscores.
    place
        Those of a smaller place stand before the others; those of one place in the order of the graph.
    """

    name: str
    share_of: str = ""
    detail_of: str = ""
    text: str = ""
    place: int = 0

    @property
    def words(self) -> str:
        """What it is called in a sentence."""
        return self.text or self.name.replace("_", " ")


def in_place(shown: Iterable[Count]) -> tuple[Count, ...]:
    """Return the counts in the order in which they are said, each once."""
    return tuple(sorted(dict.fromkeys(shown), key=lambda count: count.place))


def report_line(shown: Sequence[Count], totals: Mapping[str, int], frames: int) -> str:
    """Say all totals in one line: those that are declared in their places, behind them whatever else was counted.

    What is a share or a detail of something that nobody has counted stands by itself.
    """
    shown = _by_themselves(shown, totals)
    details = groupby(lambda count: count.detail_of, shown)
    said = []
    for count in details.get("", ()):
        n = totals.get(count.name, 0)
        line = f"{count.words} {n}"
        if count.share_of == FRAMES:
            line += f" of {frames} ({percent(n, frames)})"
        elif count.share_of:
            line += f" ({percent(n, totals.get(count.share_of, 0))} of {_words_for(count.share_of, shown)})"
        for detail in details.get(count.name, ()):
            if totals.get(detail.name):
                line += f" ({totals[detail.name]} {detail.words})"
        said.append(line)
    declared = {count.name for count in shown}
    others = keyfilter(lambda name: name not in declared, totals)
    said += [f"{name.replace('_', ' ')} {n}" for name, n in sorted(others.items()) if n]
    return ", ".join(said)


def progress_parts(shown: Sequence[Count], totals: Mapping[str, int], frames: int) -> list[str]:
    """Say the shares, in as few words as they need."""
    shown = _by_themselves(shown, totals)
    parts = []
    for count in shown:
        if not count.share_of:
            continue
        n = totals.get(count.name, 0)
        if count.share_of == FRAMES:
            parts.append(f"{count.words} {percent(n, max(frames, n))}")
        else:
            whole = totals.get(count.share_of, 0)
            parts.append(f"{count.words} {percent(n, whole)} of {_words_for(count.share_of, shown)}")
    return parts


def percent(part: int, whole: int) -> str:
    """Say a share in percent, ``-`` of nothing.

    >>> percent(1, 8), percent(0, 0)
    ('12.5 %', '-')
    """
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _by_themselves(shown: Sequence[Count], totals: Mapping[str, int]) -> list[Count]:
    """The counts, without what they are a share or a detail of where that is not counted here."""
    counted = {FRAMES, "", *totals, *(count.name for count in shown)}
    return [
        replace(
            count,
            share_of=count.share_of if count.share_of in counted else "",
            detail_of=count.detail_of if count.detail_of in counted else "",
        )
        for count in shown
    ]


def _words_for(name: str, shown: Sequence[Count]) -> str:
    return next((count.words for count in shown if count.name == name), name.replace("_", " "))
