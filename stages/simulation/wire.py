"""How simulated frames become messages: what there is to say of any format, of which each file ``as_*.py`` has one or two.

Most messages carry the event id, so that whoever receives a frame can look up its truth, and the frame's number, so that it is
seen which did not come.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.files.geom.detector import Detector
from stages.records.geometry import DetGeom
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Style
from stages.simulation.truth import TruthWriter
from stages.wire.serving import Body

Part = bytes | bytearray | memoryview


@dataclass(frozen=True)
class WireFormat(ABC):
    """A format in which frames are written: what it asks of an experiment, and, of one experiment, its messages.

    Attributes
    ----------
    style
        The name of the format.
    frames_a_message
        How many frames a message has.
    names_frames
        Whether a message says which frame it is.
    image
        Whether the pixels are sent; without them the message is that of OM's Crystallography layer.
    distance_mm
        Sent as the distance of the detector.
    peak_list
        Key under which the peak list is sent; "" sends none.
    more
        Further header values for a photon energy in eV: the keys in which the geometry file looks for the energy and for
        camera lengths.
    """

    style: ClassVar[Style]
    frames_a_message: ClassVar[int] = 1
    names_frames: ClassVar[bool] = True

    image: bool
    distance_mm: float
    peak_list: str
    more: Callable[[float], Mapping[str, float]]

    @staticmethod
    @abstractmethod
    def places(energy_ev: float, distance_mm: float) -> str:
        """What the built-in geometry file says of where messages have things; what they do not have stands there itself."""

    @staticmethod  # noqa: B027  # most need none
    def require_library() -> None:
        """Raise UserError if what writes the format is not installed, where that is known beforehand."""

    @classmethod  # noqa: B027  # some send whatever is asked for
    def require(cls, detector: Detector, geom: DetGeom, geometry: Path | None) -> None:
        """Raise UserError if what a geometry file asks for cannot be sent."""

    @staticmethod
    def energy_may_vary(detector: Detector) -> bool:
        """Whether each frame can say a photon energy of its own where the geometry file looks for it."""
        return True

    @staticmethod
    def can_say(key: str) -> bool:
        """Whether each frame can say something of its own under this key."""
        return True

    @staticmethod
    def key_of_peaks(geom: DetGeom) -> str:
        """Key under which messages have a peak list; "" where they have none."""
        return ""

    def said_once(self, frame: SimulatedFrame) -> tuple[Part, ...]:
        """The message that comes before all frames; empty where a format has none. `frame` is any of them."""
        return ()

    @abstractmethod
    def message(self, frames: Sequence[SimulatedFrame]) -> Sequence[Part]:
        """Return the parts of a message with these frames: as many as a message has, or, at the end, fewer."""

    def body(self, frame: SimulatedFrame) -> Part:
        """The message of one frame, of several parts the last."""
        return self.message([frame])[-1]

    def event_of(self, frame: SimulatedFrame) -> str:
        """The name under which a frame is known to whoever receives it."""
        return frame.truth.event

    def header_of(self, frame: SimulatedFrame) -> dict[str, object]:
        """Header values of a frame: which it is, and what the geometry file looks for."""
        who = {"event_id": frame.truth.event, "sequence_number": frame.number}
        return who | dict(self.more(frame.geom.photon_energy_ev)) | dict(frame.said)

    def truth_into(self, writer: TruthWriter | None) -> Callable[[SimulatedFrame], None]:
        """Return what writes a frame's truth, if it is to be written, under the name by which the frame is known."""

        def write(frame: SimulatedFrame) -> None:
            if writer is not None:
                writer.write(replace(frame.truth, event=self.event_of(frame)))

        return write

    def bodies(
        self, frames: Iterable[SimulatedFrame], each: Callable[[SimulatedFrame], object] | None = None
    ) -> Iterator[Body]:
        """Messages of frames, as bodies or all parts, and before them what is said once.

        `each` is called with a frame before its message is handed out.
        """
        left = iter(frames)
        is_begun = False
        while together := list(itertools.islice(left, self.frames_a_message)):
            if not is_begun and (said := self.said_once(together[0])):
                yield said
            is_begun = True
            parts = self.message(together)
            if each is not None:
                for frame in together:
                    each(frame)
            yield parts if len(parts) > 1 else parts[0]


class OneArray(WireFormat):
    """A format whose one array has no name."""

    @classmethod
    def require(cls, detector: Detector, geom: DetGeom, geometry: Path | None) -> None:
        """Raise UserError if the panels are not all in one array."""
        if not panels_share_one_array(geom):
            raise UserError(
                f"{cls.style} has one array a frame, and the geometry file {geometry} has its panels in several"
            )

    @staticmethod
    def array_of(frame: SimulatedFrame) -> NDArray[Any]:
        """The pixels of a frame."""
        (array,) = frame.arrays.values()
        return array


def peak_columns(frame: SimulatedFrame) -> dict[str, Any]:
    """The peak list in OM's keys: positions are indices into the data array, a pixel's centre being a whole number."""
    peaks = frame.peaks
    panels = frame.geom.panels
    min_fs = np.array([panel.min_fs for panel in panels], float)
    min_ss = np.array([panel.min_ss for panel in panels], float)
    return {
        "num_peaks": len(peaks),
        "fs": (peaks.fs + min_fs[peaks.panel] - 0.5).tolist(),
        "ss": (peaks.ss + min_ss[peaks.panel] - 0.5).tolist(),
        "intensity": peaks.intensity.tolist(),
        "num_pixels": peaks.num_pixels.astype(float).tolist(),
        "max_pixel_intensity": peaks.max_pixel.tolist(),
        "snr": peaks.snr.tolist(),
    }


def panels_share_one_array(geom: DetGeom) -> bool:
    """Whether (fs, ss) says on which panel a peak lies: all panels in one two-dimensional array."""
    return len({panel.data for panel in geom.panels}) == 1 and all(
        len([d for d in panel.dims if d != "%"]) == 2 for panel in geom.panels
    )
