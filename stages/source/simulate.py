"""source/simulate: frames made in this process, for trying a graph without a network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline import Context, EndOfStream, Message, stage
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.simulation.truth import TruthWriter


class RunningSimulation:
    """A simulated beamline at work."""

    def __init__(self, apparatus: Apparatus, frames: int, truth: TruthWriter | None) -> None:
        self._apparatus = apparatus
        self._frames = frames
        self._truth = truth
        self._next = 0
        self._stopped = False

    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        """Make the next frame, if there is room for it."""
        if self._stopped or (self._frames and self._next >= self._frames):
            raise EndOfStream
        if credit < 1:
            time.sleep(min(timeout_s, 0.005))
            return ()
        wire = self._apparatus.wire
        frame = self._apparatus.simulation.frame(self._next, pixels=wire.image)
        self._next += 1
        if self._truth is not None:
            self._truth.write(frame.truth)
        return (Message(b"", time.time_ns(), (memoryview(wire.body(frame)).toreadonly(),)),)

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
class Simulate:
    """Make simulated stills of known truth in this process; ``streamajig simulate`` sends the same over a socket.

    Wilson intensities (exponential) times exp(-B / (2 d^2)); Gaussian partiality in the excitation error; log-normal frame
    scales; polarisation; photons drawn one by one around each spot; Poisson background of water rings and air; blanks, and
    spurious peaks in the lists. Frame n of a seed is always the same and has the event id "sim // n".

    Without `geometry` the detector is flat and as large as `size`, the beam in its middle: ``streamajig simulate --files-only
    --write-geometry FILE`` writes the file that the rest of the graph needs; without `cell` the crystals are of lysozyme.
    """

    frames: Annotated[int, Field(ge=0, description="how many; 0 goes on until the run is stopped")] = 200
    seed: Annotated[int, Field(ge=0, description="everything random follows from it")] = 0
    hits: Annotated[float, Field(ge=0, le=1, description="fraction of frames with a crystal")] = 0.7
    spurious: Annotated[float, Field(ge=0, le=0.9, description="fraction of a hit's listed peaks that are none")] = 0.1
    peaks_per_hit: Annotated[int, Field(ge=0, description="list only so many true spots, the brightest; 0: all")] = 0
    blank_peaks: Annotated[float, Field(ge=0, description="mean number of peaks listed for a blank")] = 5.0
    dtype: Annotated[str, Field(description="type of the pixels: i4, f4, u2, ...")] = "i4"
    image: Annotated[bool, Field(description="send pixels, or peaks and headers alone")] = True
    size: Annotated[str, Field(description="width and height of the built-in detector, pixels")] = "2068x2162"
    res: Annotated[float, Field(gt=0, description="pixels per metre of the built-in detector")] = 5814.0
    geometry: Annotated[Path | None, Field(description="geometry file instead of the built-in detector")] = None
    cell: Annotated[Path | None, Field(description="unit cell file (.cell, .pdb); lysozyme without one")] = None
    space_group: Annotated[str | None, Field(description="for the file's cell, e.g. 'P 43 21 2'")] = None
    energy_ev: Annotated[float, Field(gt=0, description="photon energy")] = 9500.0
    distance_mm: Annotated[float, Field(gt=0, description="detector distance")] = 130.0
    truth: Annotated[Path | None, Field(description="write what is true of each frame there")] = None

    def open(self, context: Context) -> RunningSimulation:
        """Set the beamline up and make its tables."""
        settings = Settings(
            seed=self.seed,
            hits=self.hits,
            spurious=self.spurious,
            peaks_per_hit=self.peaks_per_hit,
            blank_peaks=self.blank_peaks,
            dtype=self.dtype,
        )
        apparatus = Apparatus.make(
            settings,
            image=self.image,
            geometry=self.geometry,
            size=self.size,
            res=self.res,
            cell=self.cell,
            space_group=self.space_group,
            energy_ev=self.energy_ev,
            distance_mm=self.distance_mm,
        )
        for note in apparatus.notes:
            context.log.warning("%s", note)
        apparatus.simulation.frame(0, pixels=self.image)
        return RunningSimulation(apparatus, self.frames, TruthWriter(self.truth) if self.truth else None)

    @staticmethod
    def warm_up() -> None:
        """Compile the simulator's kernels."""
        Apparatus.make(Settings(hits=1.0), size="64x64").simulation.frame(0)
