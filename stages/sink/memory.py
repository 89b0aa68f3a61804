"""Outcomes kept in memory, for notebooks and tests."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from pipeline import Context, Outcome, stage


class RunningMemory:
    """Lets go of pixels, unless they are wanted, and hands the outcome on."""

    def __init__(self, keep_image: bool) -> None:
        self._keep_image = keep_image

    def __call__(self, outcome: Outcome) -> Outcome:
        """Return the frame or rejection, as a rule without what holds pixels."""
        return outcome if self._keep_image else outcome.detached()


class MemoryWriter:
    """Collects outcomes in `outcomes`, in the order in which they come."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def write(self, encoded: Outcome) -> None:
        """Keep one outcome."""
        self.outcomes.append(encoded)

    def close(self) -> None:
        """Nothing is open."""


@stage("sink/memory")
class Memory:
    """Keep what arrives in a list, ``report.outputs["sink"]``: frames, and rejections with their reason.

    Pixels, and the messages they came in, are let go of unless `keep_image` says otherwise. Mind the memory in long runs.
    """

    keep_image: Annotated[bool, Field(description="Keep the pixels and the raw messages too.")] = False
    in_order: Annotated[bool, Field(description="Keep outcomes in the order of their serials.")] = True

    keeps_frames: ClassVar[bool] = True

    def open(self, context: Context) -> RunningMemory:
        """Return what lets go of pixels."""
        return RunningMemory(self.keep_image)

    def open_writer(self, context: Context) -> MemoryWriter:
        """Return the list's owner."""
        return MemoryWriter()
