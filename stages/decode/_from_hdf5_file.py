"""What decoders of frames in HDF5 files share: their parameters, the files that are open, and the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline import Context, Event, Message, RejectFrame
from stages.files.geom.detector import Detector
from stages.files.hdf5_events import EventOfFile
from stages.files.hdf5_files import OpenFile, OpenFiles, load_h5py, why_unreadable
from stages.files.hdf5_frames import StackLayout, header_value, peaks_of
from stages.records.header import Header
from stages.wire.file_frame import FileFrame, file_frame_of
from stages.wire.message import body_of, check_body


@dataclass(frozen=True)
class FromHdf5File:
    """The parameters of the decoders of frames in HDF5 files."""

    geometry: Path = Field(
        description="CrystFEL geometry file: where in the files pixels, header values and peaks are."
    )
    headers: tuple[str, ...] = Field(
        default=(), description="Paths of further values for the header; --copy-header copies them to the stream."
    )
    peaks: bool = Field(
        default=False, description="Read the peaks under the geometry file's peak_list too (--peaks=cxi or hdf5)."
    )
    open_files: int = Field(default=4, ge=1, description="So many files stay open in each replica.")

    def layout(self, context: Context) -> StackLayout:
        """Read the geometry file; UserError for one that no file can fit, or without h5py."""
        load_h5py()
        detector = context.tables.get(("decode/hdf5_file", str(self.geometry)), lambda: Detector.load(self.geometry))
        return StackLayout.of(detector, self.headers, with_peaks=self.peaks)


class Reader:
    """Frames of the files that are open."""

    def __init__(self, layout: StackLayout, open_files: int) -> None:
        self.stack = layout
        self.files = OpenFiles(open_files)

    def close(self) -> None:
        """Close the files."""
        self.files.close()

    def event_of(self, message: Message) -> tuple[FileFrame, EventOfFile]:
        frame = file_frame_of(message)
        if frame is None:
            body = body_of(message)
            check_body(body)
            raise RejectFrame(
                "no_file",
                f"a message of {len(body)} bytes was received, and a frame of a file of source/files was wanted",
            )
        return frame, EventOfFile.parse(frame.event)

    def opened(self, frame: FileFrame) -> OpenFile:
        try:
            return self.files.get(frame.filename)
        except OSError as error:
            raise RejectFrame("unreadable_file", f"{frame.filename}: {why_unreadable(error)}") from None

    def header_of(self, file: OpenFile, frame: FileFrame, event: EventOfFile) -> tuple[Event, Header]:
        stack = self.stack
        values: dict[str, Any] = {key: header_value(file, event, key) for key in stack.headers}
        values = {key: value for key, value in values.items() if value is not None}
        if stack.peak_list:
            values[stack.peak_list] = peaks_of(file, event, stack.peak_list)
        return Event(f"{frame.filename} {frame.event}"), Header(values).of_file(frame.filename, frame.event)


def unreadable(frame: FileFrame, error: Exception) -> RejectFrame:
    hint = ""
    if "filter" in str(error):
        hint = "; pip install 'streamajig[hdf5]' brings the filters that detectors' files are packed with"
    return RejectFrame("unreadable_file", f"{frame.filename}: {error}{hint}")
