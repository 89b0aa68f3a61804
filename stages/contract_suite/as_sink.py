"""What a sink promises: an encoder that is pure and takes every outcome, and a writer that can be closed twice."""

from __future__ import annotations

import dataclasses
import functools
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline import Findings, Frame, Outcome, Rejected
from pipeline.paths import of_stage
from pipeline.protocols import Beginning
from stages.contract_suite.broken import BrokenError, close_twice, nothing_left_open
from stages.contract_suite.cost import ms_a_frame
from stages.contract_suite.fingerprint import fingerprint
from stages.contract_suite.inputs import Inputs
from stages.contract_suite.place import NODE, Place, place_for


def promises(stage: Any, others: Sequence[Any], folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """The promises, by name; each returns a few words or raises."""
    tried = TriedSink(_into(stage, folder), place_for(stage, others))
    yield "takes simulated frames", tried.takes_frames
    yield "takes rejected frames", tried.takes_rejected
    yield "leaves its inputs alone", tried.leaves_inputs
    yield "the same result again", tried.same_again
    yield "results can be pickled", tried.results_pickle
    yield "writes and closes", tried.writes_and_closes
    yield "cost", tried.cost


def _into(stage: Any, folder: Path) -> Any:
    """The same sink, whose files are written into another folder."""
    moved = {}
    for name, paths in of_stage(stage)[1].items():
        inside = tuple(folder / path.name for path in paths)
        moved[name] = inside if isinstance(getattr(stage, name), tuple) else inside[0]
    return dataclasses.replace(stage, **moved)


class TriedSink:
    """A sink in its place."""

    def __init__(self, stage: Any, place: Place) -> None:
        self._stage = stage
        self._place = place
        self._inputs = Inputs(place.frames)

    def takes_frames(self) -> str:
        """Every frame can be encoded."""
        made = [self._encoder(frame) for frame in self._place.frames]
        return f"{len(made)} frames, of which {sum(one is not None for one in made)} are written"

    def takes_rejected(self) -> str:
        """A frame that was rejected somewhere before can be encoded too, be it early or late."""
        made = [self._encoder(outcome) for outcome in self._rejected]
        return f"of {len(made)} it writes {sum(one is not None for one in made)}"

    def leaves_inputs(self) -> str:
        """What is in the frames stays as it was: other sinks read it too."""
        self._inputs.must_be_as_they_were()
        return ""

    def same_again(self) -> str:
        """The encoder keeps nothing from one frame to the next: in the other order it makes the same."""
        frames = self._place.frames
        expected = [fingerprint(self._encoder(frame)) for frame in frames]
        found = [fingerprint(self._encoder(frame)) for frame in reversed(frames)][::-1]
        for frame, one, other in zip(frames, expected, found, strict=True):
            if one != other:
                raise BrokenError(
                    f"{frame.event} is encoded otherwise when it comes once more: what is kept from frame to frame belongs "
                    "into the writer"
                )
        return ""

    def results_pickle(self) -> str:
        """What the encoder makes can go from one process to another."""
        for frame in self._place.frames:
            pickle.loads(pickle.dumps(self._encoder(frame)))
        return ""

    def writes_and_closes(self) -> str:
        """The writer takes all that was encoded, says what it has to say, and leaves nothing open."""
        with nothing_left_open():
            writer = self._stage.open_writer(self._place.context(self._stage))
            try:
                if isinstance(writer, Beginning):
                    writer.begin()
                outcomes: list[Outcome] = [*self._place.frames, *self._rejected]
                for outcome in outcomes:
                    encoded = self._encoder(outcome)
                    if encoded is not None:
                        writer.write(encoded)
                        self._say(writer)
                findings = writer.findings() if hasattr(writer, "findings") else None
                if findings is not None and not isinstance(findings, Findings):
                    raise BrokenError(f"findings() returns a {type(findings).__name__}, and Findings was wanted")
            finally:
                close_twice(writer)
        written = [path for paths in of_stage(self._stage)[1].values() for path in paths]
        missing = [path.name for path in written if not path.exists()]
        if missing:
            raise BrokenError(f"{', '.join(missing)} is not there when it has been closed")
        return ", ".join(f"{path.name}: {path.stat().st_size} bytes" for path in written)

    def cost(self) -> str:
        """Say how long encoding a frame takes."""
        return ms_a_frame(self._encoder, self._place.frames)

    @staticmethod
    def _say(writer: Any) -> None:
        for name in ("status", "enough"):
            said = getattr(writer, name, str)()
            if not isinstance(said, str):
                raise BrokenError(f"{name}() returns a {type(said).__name__}, and text was wanted")
        found: Any = getattr(writer, "figures_now", dict)()
        if not isinstance(found, dict):
            raise BrokenError(f"figures_now() returns a {type(found).__name__}, and a dict was wanted")

    @functools.cached_property
    def _encoder(self) -> Callable[[Outcome], Any]:
        return self._place.opened(self._stage)  # type: ignore[no-any-return]

    @property
    def _rejected(self) -> list[Rejected]:
        """The first frame, rejected before anything was read from it, and at the last node before the sink."""
        frame = self._place.frames[0]
        bare = Frame(frame.serial, "", frame.received_ns)
        return [
            Rejected(one.serial, one.event, one.received_ns, NODE, "tried", "as the suite has it", one)
            for one in (bare, frame)
        ]
