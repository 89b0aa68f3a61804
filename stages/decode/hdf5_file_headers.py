"""Read frames of HDF5 files without their pixels."""

from __future__ import annotations

from pipeline import Context, Event, Message, stage
from stages.decode._from_hdf5_file import FromHdf5File, Reader, unreadable
from stages.files.hdf5_files import TROUBLE
from stages.records.header import Header
from stages.records.told import PixelsDecoded
from stages.wire.file_frame import naming_file


@stage("decode/hdf5_file_headers", publishes=(PixelsDecoded,))
class Hdf5FileHeaders(FromHdf5File):
    """Read frames of HDF5 files as `decode/hdf5_file` does, but never touch their pixels (``--no-image-data``)."""

    def open(self, context: Context) -> RunningHdf5FileHeaders:
        """Read the geometry file, and let the stages downstream know that there are no images."""
        layout = self.layout(context)
        context.publish(PixelsDecoded(False))
        return RunningHdf5FileHeaders(layout, self.open_files)


class RunningHdf5FileHeaders(Reader):
    """`Hdf5FileHeaders` at work."""

    def __call__(self, message: Message) -> tuple[Event, Header]:
        """Read the header's values; what a frame is rejected for names it."""
        with naming_file(message):
            frame, event = self.event_of(message)
            file = self.opened(frame)
            try:
                return self.header_of(file, frame, event)
            except TROUBLE as error:
                raise unreadable(frame, error) from None
