"""Whether a stage leaves alone what frames hold, which others read too."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import Frame
from stages.contract_suite.broken import BrokenError
from stages.contract_suite.fingerprint import fingerprint


class Inputs:
    """Knows what frames held when it was made."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames
        self._before = [{kind: fingerprint(value) for kind, value in frame.values.items()} for frame in frames]

    def must_be_as_they_were(self) -> None:
        """Raise BrokenError with what has been changed, and in which frame."""
        for frame, before in zip(self._frames, self._before, strict=True):
            for kind, was in before.items():
                if fingerprint(frame.values[kind]) != was:
                    name = frame.event or f"frame {frame.serial}"
                    raise BrokenError(
                        f"it has changed the {kind.__name__} of {name}, which others read too: make a new one"
                    )
