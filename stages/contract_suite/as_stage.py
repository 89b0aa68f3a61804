"""What a stage promises while frames run: results of its types, the same each time, and inputs that it leaves alone."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline import Frame, Message, Outcome, Rejected
from pipeline.contract import contract_of
from pipeline.faults import STAGE_FAILED
from pipeline.metrics import NodeMetrics
from pipeline.running.guards import guard
from stages.contract_suite.broken import BrokenError, close_twice, nothing_left_open
from stages.contract_suite.cost import ms_a_frame
from stages.contract_suite.fingerprint import fingerprint
from stages.contract_suite.inputs import Inputs
from stages.contract_suite.place import NODE, SIZE, Place, place_for


def promises(stage: Any, others: Sequence[Any]) -> Iterator[tuple[str, Callable[[], str]]]:
    """The promises, by name; each returns a few words or raises."""
    tried = Tried(stage, place_for(stage, others))
    yield "takes simulated frames", tried.takes_frames
    yield "leaves its inputs alone", tried.leaves_inputs
    yield "opens and closes", tried.opens_and_closes
    yield "the same result again", tried.same_again
    yield "results can be pickled", tried.results_pickle
    yield "cost", tried.cost


class Tried:
    """A stage in its place."""

    def __init__(self, stage: Any, place: Place) -> None:
        self._stage = stage
        self._place = place
        self._inputs = Inputs(place.frames)
        self._writes = contract_of(type(stage)).writes

    def takes_frames(self) -> str:
        """No frame makes it fail, and not all are rejected."""
        outcomes = self._first
        rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
        for outcome in rejected:
            if outcome.reason == STAGE_FAILED:
                raise BrokenError(f"{outcome.event or f'frame {outcome.serial}'}: {outcome.detail}")
        if not outcomes or len(rejected) == len(outcomes):
            why = f": {rejected[0].reason}: {rejected[0].detail}" if rejected else ""
            raise BrokenError(f"of {len(outcomes)} frames it took none{why}")
        return f"{len(outcomes)} frames of {SIZE} pixels, {len(rejected)} of them rejected"

    def leaves_inputs(self) -> str:
        """What was in the frames before is there as it was."""
        self._inputs.must_be_as_they_were()
        return ""

    def same_again(self) -> str:
        """The same frames give the same results: in the other order, and by another replica."""
        expected = [self._result(outcome) for outcome in self._first]
        again = [self._result(self._step(frame)) for frame in reversed(self._place.frames)][::-1]
        self._compare(expected, again, "when it comes once more, after other frames")
        running = self._open()
        try:
            other = [self._result(self._guarded(running)(frame)) for frame in self._place.frames]
        finally:
            close_twice(running)
        self._compare(expected, other, "from another replica")
        return ""

    def results_pickle(self) -> str:
        """What it makes can go to another process."""
        for outcome in self._first:
            if isinstance(outcome, Frame):
                for kind in self._writes:
                    value: Any = outcome[kind]
                    if fingerprint(pickle.loads(pickle.dumps(value))) != fingerprint(value):
                        raise BrokenError(f"the {kind.__name__} that it makes is another one after a pickle")
        return ""

    def opens_and_closes(self) -> str:
        """What it opens is closed by ``close``, which may be called twice."""
        with nothing_left_open():
            for _ in range(2):
                close_twice(self._open())
        return ""

    def cost(self) -> str:
        """Say how long a frame takes."""
        frames = [
            frame.without(Message) if Message not in contract_of(type(self._stage)).reads else frame
            for frame in self._place.frames
        ]
        return ms_a_frame(self._step, frames)

    @functools.cached_property
    def _step(self) -> Callable[[Outcome], Outcome]:
        return self._guarded(self._open())

    @functools.cached_property
    def _first(self) -> list[Outcome]:
        return [self._step(frame) for frame in self._place.frames]

    def _open(self) -> Any:
        return self._place.opened(self._stage)

    def _guarded(self, running: Any) -> Callable[[Outcome], Outcome]:
        return guard(NODE, contract_of(type(self._stage)), running, NodeMetrics(), [None])

    def _result(self, outcome: Outcome) -> Any:
        if isinstance(outcome, Rejected):
            return outcome.reason, outcome.detail
        return tuple(fingerprint(outcome[kind]) for kind in self._writes)

    def _compare(self, expected: list[Any], found: list[Any], when: str) -> None:
        for frame, one, other in zip(self._place.frames, expected, found, strict=True):
            if one != other:
                raise BrokenError(f"{frame.event or f'frame {frame.serial}'} gives another result {when}")
