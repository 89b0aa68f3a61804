"""A stream beside the truth: which orientations are right, which are wrong, which are missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stages.files.stream import Chunk
from stages.lattices.cell import UnitCell, misorientation, rotations
from stages.simulation.truth import TOLERANCE_RAD, Truth, any_is_right


@dataclass(frozen=True)
class Score:
    """How well a stream agrees with the truth.

    Attributes
    ----------
    hits, blanks
        Frames with and without a crystal that the simulator made.
    right, wrong, missed
        Hits with a crystal in the true orientation; with crystals, and none of them true; without any. Their sum is `hits`.
    false_crystals
        Crystals in wrong orientations, on hits of any kind.
    blanks_indexed
        Blanks with a crystal.
    absent
        Frames of the truth that the stream has no chunk of; those of them that are hits count as missed.
    strong_hits, strong_right
        The same for hits of which the sender could list at least 30 true peaks.
    errors_rad
        Misorientation of each right crystal.
    """

    hits: int
    blanks: int
    right: int
    wrong: int
    missed: int
    false_crystals: int
    blanks_indexed: int
    absent: int
    strong_hits: int
    strong_right: int
    errors_rad: tuple[float, ...]

    def text(self) -> str:
        """The score for people."""
        ordered = sorted(self.errors_rad)
        middle = math.degrees(ordered[len(ordered) // 2]) if ordered else math.nan
        lines = [
            f"truth: {self.hits} hits and {self.blanks} blanks; "
            f"orientations right {self.right}, wrong {self.wrong}, missed {self.missed}; "
            f"blanks indexed {self.blanks_indexed}",
            f"       right means within {math.degrees(TOLERANCE_RAD):g} degrees up to symmetry (median {middle:.3f}); of the "
            f"{self.strong_hits} hits with 30 or more visible spots {self.strong_right} are right",
        ]
        if self.false_crystals > self.wrong:
            lines.append(
                f"       crystals in wrong orientations, beside right ones or several at once: {self.false_crystals}"
            )
        if self.absent:
            lines.append(f"       frames without a chunk in the stream: {self.absent}")
        return "\n".join(lines)


def score(chunks: Iterable[Chunk], truths: Mapping[str, Truth], cell: UnitCell) -> Score:
    """Compare the chunks of a stream with the truth, frame by frame, by event."""
    symmetry = rotations(cell)
    by_event = {chunk.event: chunk for chunk in chunks}
    count = dict.fromkeys(
        (
            "hits",
            "blanks",
            "right",
            "wrong",
            "missed",
            "false_crystals",
            "blanks_indexed",
            "strong_hits",
            "strong_right",
        ),
        0,
    )
    errors = []
    for event, truth in truths.items():
        chunk = by_event.get(event)
        crystals = chunk.crystals if chunk else ()
        if truth.real_space_angstrom is None:
            count["blanks"] += 1
            count["blanks_indexed"] += bool(crystals)
            continue
        angles = [misorientation(c.real_space_angstrom, truth.real_space_angstrom, symmetry) for c in crystals]
        is_right = any_is_right(angles)
        is_strong = int((truth.listed >= 0).sum()) >= 30
        count["hits"] += 1
        count["strong_hits"] += is_strong
        count["strong_right"] += is_strong and is_right
        count["right" if is_right else "wrong" if angles else "missed"] += 1
        count["false_crystals"] += sum(angle > TOLERANCE_RAD for angle in angles)
        if is_right:
            errors.append(min(angles))
    return Score(**count, absent=len(truths.keys() - by_event.keys()), errors_rad=tuple(errors))
