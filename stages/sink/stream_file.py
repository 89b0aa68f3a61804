"""Hits become a CrystFEL stream."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from pipeline import stage
from stages.sink._stream import StreamSink


@stage("sink/stream_file", needs=StreamSink.NEEDS, uses=StreamSink.USES)
@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class StreamFile(StreamSink):
    """Write a CrystFEL stream, version 2.3 (doi:10.1107/S1600576716004751), appended chunk by chunk.

    Every frame gives a chunk, hit or not. It is appended whole, so the file can be read at any time by whatever reads
    streams, also when the run was killed. A frame whose message was understood and that was rejected later gives a chunk
    with ``hit = 0`` and the reason in a line ``streamajig/rejected``, which readers pass over; its ``photon_energy_eV`` is 0
    where the message does not say it. Header values that the geometry file refers to (photon energy, camera length, detector
    shift) stand in every chunk, so that the geometry holds for it wherever the stream is read; so do those of `copy_headers`.

    The event is the sender's event id, or ``//serial`` where there is none. Positions are pixels in the data array, counted
    from the corner of the first pixel; ``peak_resolution`` is the highest 1/d after a fiftieth of the peaks has been set
    aside. Reflections whose intensity, sigma or position is not a finite number are left out and count as implausible. A
    crystal whose profile radius is not known gets CrystFEL's initial 0.02/nm. An indexing method that CrystFEL does not know is
    written as ``indexed_by = file``, with its name in a line ``streamajig/indexed_by``.
    """
