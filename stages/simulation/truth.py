"""What is true of a simulated frame, the file that keeps it, and when an orientation is right.

``truth.jsonl`` holds one JSON object a line, one for each frame, under the event id that the frame has on the wire and in
the stream.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline import UserError

TRUTH_KEY = "true_real_space_angstrom"
"""Under this key a simulated frame's message says how its crystal lies: rows a, b, c; nil for a blank."""

TOLERANCE_RAD = math.radians(0.5)
"""An orientation is right up to this angle, symmetry considered."""


def any_is_right(angles: Iterable[float]) -> bool:
    """Whether the crystals of a frame, being off the true orientation by these angles in radians, have one that is right.

    >>> any_is_right([0.3, 0.001]), any_is_right([0.01]), any_is_right([])
    (True, False, False)
    """
    return any(angle <= TOLERANCE_RAD for angle in angles)


@dataclass(frozen=True, eq=False)
class Spots:
    """Bragg spots of one frame as parallel arrays.

    Attributes
    ----------
    hkl
        int32 (n, 3).
    panel
        int32, index into the geometry's panels.
    fs, ss
        float64, pixels from the panel's corner, first pixel's centre at 0.5.
    photons
        float64, expected number of photons.
    partiality
        float64, exp(-e^2 / (2 sigma^2)) with the excitation error e.
    excitation_error_per_angstrom
        float64, | |k0 + g| - k |, with sign.
    """

    hkl: NDArray[np.int32]
    panel: NDArray[np.int32]
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    photons: NDArray[np.float64]
    partiality: NDArray[np.float64]
    excitation_error_per_angstrom: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.hkl)

    @staticmethod
    def none() -> Spots:
        """No spots at all."""
        floats = np.zeros(0)
        return Spots(np.zeros((0, 3), np.int32), np.zeros(0, np.int32), floats, floats, floats, floats, floats)


@dataclass(frozen=True, eq=False)
class Truth:
    """Everything there is to know about a simulated frame but its noise.

    Attributes
    ----------
    event
        Its event id.
    hit
        Whether there is a crystal in the beam.
    photon_energy_ev
        Of this frame.
    scale
        Factor on the crystal's intensities; 0 for a blank.
    real_space_angstrom
        float64 (3, 3), rows a, b, c in the laboratory frame; None for a blank.
    spots
        The spots that lie on a panel and expect at least 0.1 photons.
    listed
        int64, one entry for each peak of the frame's peak list, in its order: index into `spots`, or -1 where the
        listed peak is spurious.
    """

    event: str
    hit: bool
    photon_energy_ev: float
    scale: float
    real_space_angstrom: NDArray[np.float64] | None
    spots: Spots
    listed: NDArray[np.int64]

    def as_json(self) -> bytes:
        """One line of a truth file, without the line's end."""
        spots = self.spots
        return msgspec.json.encode(
            {
                "event": self.event,
                "hit": self.hit,
                "photon_energy_ev": self.photon_energy_ev,
                "scale": self.scale,
                "real_space_angstrom": None if self.real_space_angstrom is None else self.real_space_angstrom.tolist(),
                "hkl": spots.hkl.tolist(),
                "panel": spots.panel.tolist(),
                "fs": np.round(spots.fs, 4).tolist(),
                "ss": np.round(spots.ss, 4).tolist(),
                "photons": np.round(spots.photons, 4).tolist(),
                "partiality": np.round(spots.partiality, 6).tolist(),
                "excitation_error_per_angstrom": np.round(spots.excitation_error_per_angstrom, 9).tolist(),
                "listed": self.listed.tolist(),
            }
        )

    @staticmethod
    def from_json(line: bytes | str) -> Truth:
        """Read one line of a truth file."""
        record: dict[str, Any] = msgspec.json.decode(line)
        basis = record["real_space_angstrom"]
        return Truth(
            event=record["event"],
            hit=record["hit"],
            photon_energy_ev=record["photon_energy_ev"],
            scale=record["scale"],
            real_space_angstrom=None if basis is None else np.array(basis, np.float64),
            spots=Spots(
                np.array(record["hkl"], np.int32).reshape(-1, 3),
                np.array(record["panel"], np.int32),
                *(
                    np.array(record[name], np.float64)
                    for name in ("fs", "ss", "photons", "partiality", "excitation_error_per_angstrom")
                ),
            ),
            listed=np.array(record["listed"], np.int64),
        )


class TruthWriter:
    """Writes truths line by line, each at once, so that the file is complete up to the last frame that was made."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise UserError(f"cannot write the truth to {path}: {error.strerror}; choose another --truth") from error

    def write(self, truth: Truth) -> None:
        """Append one frame's truth."""
        self._file.write(truth.as_json() + b"\n")

    def __enter__(self) -> TruthWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


def write_truth(path: Path, truths: Iterable[Truth]) -> None:
    """Write a truth file."""
    with TruthWriter(path) as writer:
        for truth in truths:
            writer.write(truth)


def read_truth(path: Path) -> dict[str, Truth]:
    """Read a truth file: event id -> truth. A last line that was cut short while being written is left out."""
    lines = path.read_bytes().split(b"\n")
    truths = [Truth.from_json(line) for line in lines[:-1] if line]
    return {truth.event: truth for truth in truths}


_Rows = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


class TrueCrystal(msgspec.Struct):
    """Of a truth's line what says how the crystal lies.

    Attributes
    ----------
    event
        The frame's event id.
    real_space_angstrom
        Rows a, b, c in the laboratory frame; None for a blank.
    """

    event: str
    real_space_angstrom: _Rows | None

    @staticmethod
    def of_message(event: str, value: object) -> TrueCrystal | None:
        """Read what a message has under `TRUTH_KEY`; None if that is no crystal and no blank.

        >>> TrueCrystal.of_message("sim // 3", None).basis is None, TrueCrystal.of_message("sim // 3", "quartz")
        (True, None)
        """
        try:
            return TrueCrystal(event, msgspec.convert(value, _Rows | None))
        except msgspec.ValidationError:
            return None

    @property
    def basis(self) -> NDArray[np.float64] | None:
        """The same as float64 (3, 3)."""
        return None if self.real_space_angstrom is None else np.array(self.real_space_angstrom, np.float64)


class TrueCrystals:
    """How the crystals of a truth file lie, by event, while the simulator still writes it.

    The simulator writes a frame's line before it hands the frame out, so that a frame that is here has its line; the file is
    read on when an event is asked for that was not in it so far. Threads may share one.

    Parameters
    ----------
    path
        The file; UserError if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, TrueCrystal] = {}
        self._read = 0
        self._decode = msgspec.json.Decoder(TrueCrystal).decode
        self._read_on()

    def find(self, event: str) -> TrueCrystal | None:
        """Return what is true of a frame; None if the file does not have it."""
        found = self._known.get(event)
        if found is None:
            with self._lock:
                self._read_on()
                found = self._known.get(event)
        return found

    def _read_on(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except OSError as error:
            raise UserError(f"cannot read the truth {self._path}: {error.strerror}") from error
        *lines, begun = new.split(b"\n")
        self._read += len(new) - len(begun)
        for line in filter(None, lines):
            try:
                truth = self._decode(line)
            except msgspec.DecodeError as error:
                raise UserError(
                    f"{self._path} is no truth file, as streamajig simulate --truth writes it: {error}"
                ) from None
            self._known[truth.event] = truth
