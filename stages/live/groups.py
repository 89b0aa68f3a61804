"""live/groups: frames, hits and crystals for each value of a header key, such as light and dark of a pump-probe experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from pipeline import Context, Findings, Frame, Outcome, Rejected, stage
from pipeline.counts import percent
from pipeline.hints import did_you_mean
from pipeline.texts import one_line
from stages.live._grouping import MISSING, MOST, NO_VALUE, OTHERS, Grouping, Values, in_order
from stages.merging.tables import text_table
from stages.records.crystal import Crystals
from stages.records.header import Header
from stages.records.peaklist import Hit, is_hit

_SHOWN = 4
"""So many groups stand on the progress line."""

_KEYS, _LONGEST_KEY = 20, 40
"""So many keys of a header are named where the one that is asked for is not there."""


class Seen(NamedTuple):
    """What one frame adds to its group.

    Attributes
    ----------
    group
        None of a frame that was rejected before its header was read.
    num_crystals
        None where nothing has looked for crystals.
    keys
        Those that the header has instead, where the key is missing.
    """

    group: str | None
    is_rejected: bool = False
    is_hit: bool = False
    num_crystals: int | None = None
    keys: tuple[str, ...] = ()


@dataclass
class Tally:
    """What has come of one group: frames, those of them that were rejected, that are hits, that are indexed; crystals."""

    frames: int = 0
    rejected: int = 0
    hits: int = 0
    indexed: int = 0
    crystals: int = 0

    def add(self, seen: Seen) -> None:
        """Count one frame."""
        crystals = seen.num_crystals or 0
        self.frames += 1
        self.rejected += seen.is_rejected
        self.hits += seen.is_hit
        self.indexed += crystals > 0
        self.crystals += crystals


@stage("live/groups")
class Groups:
    """Count frames, hits, indexed frames and crystals for each value that a header key has.

    In a pump-probe experiment a key of each message says whether the laser was on (``laser_on``), in a time-resolved one at
    which delay the frame was taken, in others which sample it is. Each value is a group: the report has a table of them, and
    the progress line the indexing rates. Every frame counts in one group; those without the key are a group of their own,
    those that have no single number or text under it another. Frames that were rejected count in their groups if their
    header had been read; the others are counted beside the groups, so that all together are the frames that arrived here.

    Whole numbers are told apart exactly, others by six digits; `step` rounds numbers to its multiples, for delays that are
    measured and never the same. Twenty values are told apart; frames with further ones count together, and that is said.

    The node comes after the last one that changes crystals, beside the stream's sink (``after:``). live/merge has ``group_by``
    for the intensities of each group.
    """

    key: str = Field(min_length=1, description="The key as the sender calls it, e.g. laser_on.")
    step: float = Field(default=0.0, ge=0, description="Round numbers to multiples of this; 0 leaves them as they are.")
    in_order: bool = Field(
        default=True, description="Take frames in the order of their serials: the same in every run."
    )

    reads: ClassVar[tuple[type, ...]] = (Header,)
    may_read: ClassVar[tuple[type, ...]] = (Hit, Crystals)

    def open(self, context: Context) -> RunningGroups:
        """Return what tells the group of a frame."""
        return RunningGroups(Grouping(self.key, self.step))

    def open_writer(self, context: Context) -> GroupsWriter:
        """Return what counts."""
        return GroupsWriter(self.key, context)


class RunningGroups:
    """Tells the group of a frame, and what was found in it."""

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping

    def __call__(self, outcome: Outcome) -> Seen:
        """Return what the frame counts; one that was rejected counts what had been found by then, as in the report."""
        is_rejected = isinstance(outcome, Rejected)
        frame: Frame = outcome.frame if isinstance(outcome, Rejected) else outcome
        group = self._grouping.of_outcome(outcome)
        crystals = frame.get(Crystals)
        return Seen(
            group,
            is_rejected,
            is_hit(frame),
            None if crystals is None else len(crystals),
            _keys_of(frame[Header]) if group == MISSING else (),
        )


def _keys_of(header: Header) -> tuple[str, ...]:
    return tuple(one_line(str(key), _LONGEST_KEY) for key, _ in zip(header, range(_KEYS), strict=False))


class GroupsWriter:
    """Counts by group."""

    def __init__(self, key: str, context: Context) -> None:
        self._key = key
        self._log = context.log
        self._values = Values()
        self._tallies: dict[str, Tally] = {}
        self._before_header = Tally()
        self._looked_for_crystals = False
        self._instead: tuple[str, ...] | None = None

    def write(self, encoded: Seen) -> None:
        """Count one frame."""
        self._looked_for_crystals |= encoded.num_crystals is not None
        if encoded.group is None:
            self._before_header.add(encoded)
            return
        if encoded.group == MISSING and self._instead is None:
            self._instead = encoded.keys
            self._log.warning("a frame has no key %r%s (said once)", self._key, did_you_mean(self._key, encoded.keys))
        self._tallies.setdefault(self._values.group_of(encoded.group), Tally()).add(encoded)

    def status(self) -> str:
        """The rate of each group, in a few words."""
        if not self._tallies:
            return ""
        what = "indexed" if self._looked_for_crystals else "hits"
        rates = [
            f"{label} {percent(getattr(self._tallies[label], what), tally.frames)}" for label, tally in self._all()
        ]
        more = [f"and {len(rates) - _SHOWN} more"] if len(rates) > _SHOWN else []
        return f"{what} by {self._key}: {', '.join([*rates[:_SHOWN], *more])}"

    def figures_now(self) -> dict[str, Any]:
        """The counts so far."""
        values = [
            {"value": label, "frames": t.frames, "hits": t.hits, "indexed": t.indexed, "crystals": t.crystals}
            for label, t in self._all()
        ]
        return {"key": self._key, "values": values}

    def findings(self) -> Findings:
        """The whole account."""
        return Findings("\n".join(self._lines()), self._figures())

    def close(self) -> None:
        """Nothing is open."""

    def _all(self) -> list[tuple[str, Tally]]:
        return [(label, self._tallies[label]) for label in in_order(self._tallies)]

    def _lines(self) -> list[str]:
        lines = [f"frames by {self._key}"]
        if self._tallies:
            headings = (self._key, "frames", "rejected", "hits", "of frames", "indexed", "of hits", "crystals")
            lines += text_table(headings, [_row(label, tally) for label, tally in self._all()])
        else:
            lines = [f"no frame had a header in which {self._key} could be looked for"]
        if self._before_header.frames:
            lines.append(
                f"{self._before_header.frames} frames were rejected before their header was read, and are of no group"
            )
        if OTHERS in self._tallies:
            lines.append(
                f"{self._tallies[OTHERS].frames} frames have other values than the first {MOST}, which are told apart: round "
                "numbers that are measured with `step` (--group-step)"
            )
        if NO_VALUE in self._tallies:
            lines.append(f"{self._tallies[NO_VALUE].frames} frames have no single number or text under {self._key!r}")
        if MISSING in self._tallies:
            instead = did_you_mean(self._key, self._instead or ())
            lines.append(f"{self._tallies[MISSING].frames} frames have no key {self._key!r}{instead}")
        return lines

    def _figures(self) -> dict[str, Any]:
        return {
            "key": self._key,
            "values": [{"value": label, **vars(tally)} for label, tally in self._all()],
            "rejected_before_header": self._before_header.frames,
        }


def _row(label: str, tally: Tally) -> tuple[str, ...]:
    return (
        label,
        str(tally.frames),
        str(tally.rejected),
        str(tally.hits),
        percent(tally.hits, tally.frames),
        str(tally.indexed),
        percent(tally.indexed, tally.hits),
        str(tally.crystals),
    )
