"""Read frames of HDF5 files: stacks, CXI, NeXus, and master files with links to others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import Context, Event, Message, stage
from stages.decode._from_hdf5_file import FromHdf5File, Reader, unreadable
from stages.decode.hdf5 import decompressor_if_any
from stages.files.hdf5_events import EventOfFile
from stages.files.hdf5_files import TROUBLE, OpenFile
from stages.files.hdf5_frames import BeyondEnd, StackLayout, masks_of, pixels_of
from stages.records.header import Header
from stages.records.image import HIGHEST, Image
from stages.records.told import PixelsDecoded
from stages.wire.file_frame import FileFrame, naming_file


@stage("decode/hdf5_file", publishes=(PixelsDecoded,))
class Hdf5File(FromHdf5File):
    """Read frames of HDF5 files that `source/files` names: pixels, header values, peaks and masks of one event.

    The geometry file says where they are: ``data`` of each panel, and with its ``dim`` directives which dimension counts frames
    (``%``); ``photon_energy``, ``clen`` and ``detector_shift_x`` may be paths in the file; so is ``peak_list``; masks without a
    ``mask0_file`` are in the frame's own file. A ``%`` in a path stands for a name in the event, ``entry_1//3``.
    Arrays of header values have one for each event.

    These files are one's own: links to other files, virtual data sets and external storage are followed, as DECTRIS' master
    files need. A file that changes is opened anew. The highest value of unsigned integers marks pixels that are bad.
    """

    def open(self, context: Context) -> RunningHdf5File:
        """Read the geometry file, and let the stages downstream know that there are images."""
        layout = self.layout(context)
        context.publish(PixelsDecoded(True, has_sentinels=True))
        return RunningHdf5File(layout, self.open_files)


class RunningHdf5File(Reader):
    """`Hdf5File` at work."""

    def __init__(self, layout: StackLayout, open_files: int) -> None:
        super().__init__(layout, open_files)
        self._masks: dict[int, NDArray[np.uint8]] = {}
        self._decompressor = decompressor_if_any()

    def __call__(self, message: Message) -> tuple[Event, Header, Image]:
        """Read the frame; what it is rejected for names it."""
        with naming_file(message):
            return self._frame(*self.event_of(message))

    def _frame(self, frame: FileFrame, event: EventOfFile) -> tuple[Event, Header, Image]:
        """Read a frame; if it is not there, once more from a file opened anew: it or those it links to may have grown."""
        try:
            try:
                return self._read(frame, event)
            except BeyondEnd:
                self.files.close()
                return self._read(frame, event)
        except TROUBLE as error:
            raise unreadable(frame, error) from None

    def _read(self, frame: FileFrame, event: EventOfFile) -> tuple[Event, Header, Image]:
        file = self.opened(frame)
        arrays = {
            pattern: pixels_of(file, event, pattern, dims, self._decompressor)
            for pattern, dims in self.stack.pixels.items()
        }
        image = Image(arrays, {}, sentinels=HIGHEST, bad=self._bad(file, event))
        name, header = self.header_of(file, frame, event)
        return name, header, image

    def _bad(self, file: OpenFile, event: EventOfFile) -> dict[int, NDArray[np.uint8]]:
        """The masks in the file: the very arrays of the frame before where nothing has changed."""
        for number, mask in masks_of(file, event, self.stack):
            before = self._masks.get(number)
            if before is None or not np.array_equal(before, mask):
                self._masks[number] = mask
        return dict(self._masks)
