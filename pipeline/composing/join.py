"""Where the branches of a fan-out meet again."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from pipeline.frame import Frame, Joined, Outcome, Rejected
from pipeline.stage import stage


@stage("graph/join")
class Join:
    """Bring the branches' outcomes for one frame together, by serial.

    The joined frame holds the values that all branches share, and ``Joined``: each branch's outcome (a frame or a
    rejection) under the name of the branch's last node. A frame that was rejected before the branches parted, or in every
    branch, stays rejected. Nothing waits for anything: all branches of a frame end before the next frame starts.
    """

    names: Annotated[
        tuple[str, ...], Field(description="what the branches are called in Joined; by default as their last nodes are")
    ] = ()

    joins_branches: ClassVar[bool] = True


def join(outcomes: dict[str, Outcome]) -> Outcome:
    """Merge the outcomes of one serial by branch.

    >>> class Level(int): ...
    >>> low, high = Frame(3).with_values(Level(1)), Frame(3).with_values(Level(2))
    >>> merged = join({"low": low, "high": high})
    >>> merged[Joined]["high"][Level], Level in merged
    (2, False)
    """
    frames = [outcome for outcome in outcomes.values() if isinstance(outcome, Frame)]
    if not frames:
        return next(outcome for outcome in outcomes.values() if isinstance(outcome, Rejected))
    first = frames[0]
    missing = object()
    common = {
        kind: value
        for kind, value in first.values.items()
        if all(other.values.get(kind, missing) is value for other in frames[1:])
    }
    return Frame(first.serial, first.event, first.received_ns, {**common, Joined: Joined(outcomes)})
