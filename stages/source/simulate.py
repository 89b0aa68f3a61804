"""source/simulate: frames made in this process, for trying a graph without a network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pipeline import Context, EndOfStream, Message, Preamble, stage
from stages.simulation.apparatus import Apparatus
from stages.simulation.beamline import Beamline
from stages.simulation.truth import TruthWriter
from stages.wire.framing import framing_of


class RunningSimulate:
    """`Simulate` at work."""

    def __init__(self, apparatus: Apparatus, frames: int, truth: TruthWriter | None) -> None:
        self._apparatus = apparatus
        self._frames = frames
        self._truth = truth
        self._write = apparatus.wire.truth_into(truth)
        self._framing = framing_of(apparatus.wire.style)  # used where a message has several frames
        self._next = 0
        self._stopped = False
        self._preamble: Preamble | None = None

    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        """Make the next frame, if there is room for it."""
        if self._stopped or (self._frames and self._next >= self._frames):
            raise EndOfStream
        if credit < 1:
            time.sleep(min(timeout_s, 0.005))
            return ()
        wire = self._apparatus.wire
        end = self._next + wire.frames_a_message
        numbers = range(self._next, min(end, self._frames) if self._frames else end)
        frames = [self._apparatus.simulation.frame(number, pixels=wire.image) for number in numbers]
        self._next = numbers.stop
        for frame in frames:
            self._write(frame)
        if self._preamble is None and (said := wire.said_once(frames[0])):
            self._preamble = Preamble.of(said)
        parts = tuple(memoryview(part).toreadonly() for part in wire.message(frames))
        if wire.frames_a_message > 1:
            return self._framing.frames_of(parts, time.time_ns(), None)
        return (Message(b"", time.time_ns(), parts, None, self._preamble),)

    def stop_asking(self) -> int:
        """Make no more frames."""
        self._stopped = True
        return 0

    def status(self) -> str:
        """Say how many frames have been made."""
        return f"{self._next} frames simulated"

    def close(self) -> None:
        """Close the truth file."""
        if self._truth is not None:
            self._truth.close()


@stage("source/simulate")
class Simulate(Beamline):
    """Make simulated stills of known truth in this process; ``streamajig simulate`` sends the same over a socket.

    Wilson intensities (exponential) times exp(-B / (2 d^2)); Gaussian partiality in the excitation error; log-normal frame
    scales; polarisation; photons drawn one by one around each spot; Poisson background of water rings and air; blanks, and
    spurious peaks in the lists. Frame n of a seed is always the same and has the event id "sim // n". Each message says how its
    crystal lies, too (``true_real_space_angstrom``), by which live/verdict tells right orientations from wrong ones.

    Without `geometry` the detector is flat and as large as `size`, the beam in its middle: ``streamajig simulate --files-only
    --write-geometry FILE`` writes the file that the rest of the graph needs; without `cell` the crystals are of lysozyme.
    """

    frames: int = Field(default=200, ge=0, description="How many; 0 goes on until the run is stopped.")
    truth: Path | None = Field(
        default=None, description="Write what is true of each frame there, a JSON object a line."
    )

    output_files: ClassVar[tuple[str, ...]] = ("truth",)

    def open(self, context: Context) -> RunningSimulate:
        """Set the beamline up and make its tables."""
        apparatus = self.set_up()
        for note in apparatus.notes:
            context.log.warning("%s", note)
        apparatus.simulation.frame(0, pixels=self.image)
        return RunningSimulate(apparatus, self.frames, TruthWriter(self.truth) if self.truth else None)

    @staticmethod
    def warm_up() -> None:
        """Compile the simulator's kernels."""
        Beamline(hits=1.0, size="64x64").set_up().simulation.frame(0)
