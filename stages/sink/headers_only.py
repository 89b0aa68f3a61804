"""A CrystFEL stream of frames without pixels."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from pipeline import stage
from stages.sink._stream import StreamSink


@stage("sink/headers_only", needs=StreamSink.NEEDS, uses=StreamSink.USES)
@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HeadersOnly(StreamSink):
    """Write the stream of a run without pixels (--no-image-data): all of ``sink/stream_file`` but intensities.

    Peaks, crystals and predicted reflections stand where they would with pixels, and intensity, sigma, peak and background
    of every reflection are zero, whatever came from upstream. Merging such a stream gives zeros; all that concerns
    indexing can be done with it.
    """

    has_pixels: ClassVar[bool] = False
