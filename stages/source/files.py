"""Take frames from image files: those of a list, or those that appear in a folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline import Context, EndOfStream, Findings, Message, UserError, stage
from pipeline.amounts import several
from stages.files.geom.detector import Detector
from stages.files.hdf5_events import EventOfFile, events_of, files_led_to
from stages.files.hdf5_files import TROUBLE, load_h5py, open_to_read, why_unreadable
from stages.files.hdf5_frames import StackLayout
from stages.files.image_list import ImageFormat, Listed, Prefixed, is_pattern, listed_in, parse_line
from stages.source._folder import Folder
from stages.wire.file_frame import file_frame
from stages.wire.message import stand_in

log = logging.getLogger("streamajig.source")

_AT_ONCE = 64
"""Frames that are named in one go, at most."""

FOR_EVER = -1.0


@stage("source/files")
class Files:
    """Name the frames of image files, one after the other; the decoders read them, each in its own replica.

    Files are CBF images (``.cbf``, ``.cbf.gz``), or HDF5 files with one frame or many (``.h5``, ``.cxi``, ``.nxs``). What is
    named with an event (``run7.cxi //3``) is one frame; of what is named without, all events are taken, in the order of
    CrystFEL's ``list_events``, by the ``%`` in the geometry file. A file that is not there, or cannot be read, is a rejected
    frame, and the run goes on.

    With `watch` files are taken as they are completed: CBF images that end as such images do, others when they have not
    changed for `settle_s` and can be opened; none is taken twice, in the order in which they were written. An HDF5 file that
    grows later gives the frames that were added, and so does one with links to files that come or grow later (a master file).
    That goes on until the run is stopped (``--no-data-timeout``).
    """

    images: tuple[str, ...] = Field(
        min_length=1,
        description="Image files, with an event or without, patterns or folders of them, and lists of them; with `watch` "
        "folders or patterns.",
    )
    watch: bool = Field(default=False, description="Take files as they appear while the run goes on (``--watch``).")
    data_format: ImageFormat = Field(default="cbf", description="What the files are; the decoder has to be its.")
    geometry: Path | None = Field(
        default=None, description="CrystFEL geometry file: which dimension of HDF5 files counts frames."
    )
    prefix: str = Field(default="", description="Comes before the names in lists (``--prefix``).")
    basename: bool = Field(default=False, description="Take folders off the names in lists (``--basename``).")
    check_prefix: bool = Field(default=True, description="Add the slash that a prefix lacks which is a folder.")
    wait_for_file_s: float = Field(
        default=0.0, ge=-1, description="Wait so many seconds for each file that is not there; -1: for ever."
    )
    poll_s: float = Field(default=0.5, gt=0, description="Seconds between two looks at what is waited for.")
    settle_s: float = Field(
        default=1.0, ge=0, description="A file is complete that has not changed for so many seconds."
    )

    def input_files(self) -> list[Path]:
        """The files and lists that are named, as far as they are single ones."""
        return [Path(parse_line(name).filename) for name in self.images if not is_pattern(name)]

    def open(self, context: Context) -> RunningFiles:
        """Read the geometry file, if events are counted by it; UserError for what is not there."""
        layout = None
        if self.data_format == "hdf5":
            load_h5py()
            if self.geometry is None:
                raise UserError("source/files: HDF5 files need the parameter geometry: which dimension counts frames")
            layout = StackLayout.of(Detector.load(self.geometry))
        for name in () if self.watch else self.images:
            is_one = parse_line(name).event is None and not is_pattern(name)
            if is_one and not Path(name).exists() and not self.wait_for_file_s:
                raise UserError(f"{name}: no such file; wanted is an image file, a folder of them, or a list of them")
        return RunningFiles(self, layout)


class RunningFiles:
    """`Files` at work."""

    def __init__(self, parameters: Files, layout: StackLayout | None) -> None:
        self._parameters = parameters
        self._layout = layout
        self._is_waiting_for = ""
        self._num_files = self._num_frames = self._num_unreadable = 0
        self._has_warned = False
        self._folder: Folder | None = None
        if parameters.watch:
            self._folder = Folder(parameters.images, parameters.data_format, parameters.settle_s)
        self._left = self._as_they_come() if parameters.watch else self._listed()

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        """Name the next frames; raises EndOfStream when there are no more."""
        found: list[Message] = []
        pause_s = 0.005 if credit <= 0 else 0.0
        while len(found) < min(credit, _AT_ONCE):
            try:
                message = next(self._left)
            except StopIteration:
                if not found:
                    raise EndOfStream from None
                break
            if message is None:
                pause_s = self._parameters.poll_s
                break
            found.append(message)
        if pause_s and not found:
            time.sleep(min(max(timeout_s, 0.0), pause_s))
        return found

    def stop_asking(self) -> int:
        """Name nothing more."""
        self._left = iter(())
        return 0

    def status(self) -> str:
        """Say how far it is, and what it waits for."""
        so_far = f"{several(self._num_frames, 'frame')} of {several(self._num_files, 'file')}"
        if self._folder is not None:
            waiting = self._folder.num_incomplete
            more = f"; {several(waiting, 'file')} not complete yet" if waiting else ""
            return f"watching {', '.join(self._parameters.images)}: {so_far}{more}"
        return f"{so_far}; waiting for {self._is_waiting_for}" if self._is_waiting_for else so_far

    def findings(self) -> Findings:
        """Say what could not be read, and what was never complete."""
        lines = []
        if self._num_unreadable:
            lines.append(f"{several(self._num_unreadable, 'file')} could not be read: a rejected frame each")
        incomplete = self._folder.incomplete if self._folder is not None else ()
        if incomplete:
            lines.append(f"{several(len(incomplete), 'file')} not complete when the run ended: {_some(incomplete)}")
        missing = self._folder.missing if self._folder is not None else ()
        if missing:
            lines.append(f"{several(len(missing), 'file')} that others lead to did not come: {_some(missing)}")
        figures = {"files": self._num_files, "frames": self._num_frames, "unreadable_files": self._num_unreadable}
        return Findings(
            "\n".join(lines), {**figures, "incomplete_files": len(incomplete), "missing_files": len(missing)}
        )

    def close(self) -> None:
        """Nothing is open between two frames."""
        self._left = iter(())

    def _listed(self) -> Iterator[Message | None]:
        """The frames of the list; None while a file is waited for."""
        parameters = self._parameters
        make = Prefixed.checked if parameters.check_prefix else Prefixed
        for listed in listed_in(
            parameters.images, parameters.data_format, make(parameters.prefix, parameters.basename)
        ):
            self._num_files += 1
            yield from self._until_there(listed)
            yield from self._frames_of(listed)

    def _until_there(self, listed: Listed) -> Iterator[None]:
        """None as long as a file is waited for: until it is there and, if its events are wanted, can be read."""
        patience_s = self._parameters.wait_for_file_s
        end = time.monotonic() + patience_s
        while patience_s == FOR_EVER or time.monotonic() < end:
            if Path(listed.filename).exists() and (listed.event or self._events_now(listed.filename)):
                break
            self._is_waiting_for = listed.filename
            yield None
        self._is_waiting_for = ""

    def _as_they_come(self) -> Iterator[Message | None]:
        """The frames of the folder; None when there is no complete file that was not taken."""
        assert self._folder is not None
        while True:
            for filename in self._folder.complete():
                events = self._events_now(filename)
                if events is None or not self._folder.is_as_seen(filename):
                    continue
                new = self._folder.taken(filename, events)
                self._num_files = self._folder.num_taken
                for event in new:
                    yield self._frame(filename, event)
            yield None

    def _events_now(self, filename: str) -> list[str] | None:
        """The events of a file; None for one that cannot be read yet."""
        try:
            return list(self._events(filename))
        except TROUBLE:
            return None

    def _frames_of(self, listed: Listed) -> Iterator[Message]:
        if listed.event is not None:
            yield self._frame(listed.filename, listed.event)
            return
        try:
            for event in self._events(listed.filename):
                yield self._frame(listed.filename, event)
        except TROUBLE as error:
            self._num_unreadable += 1
            detail = f"{listed.filename}: {why_unreadable(error)}"
            yield Message(b"", time.time_ns(), (stand_in("unreadable_file", detail),))

    def _events(self, filename: str) -> Iterator[str]:
        if self._layout is None:
            yield "//"
            return
        pattern, dims = next(iter(self._layout.pixels.items()))
        if "%" not in pattern and "%" not in dims:
            yield "//"
            return
        with open_to_read(filename) as file:
            if self._folder is not None:
                self._folder.leads_to(filename, files_led_to(file, pattern))
            events = events_of(file, pattern, dims, may_grow=self._folder is not None)
            first = next(events, None)
            if first is None:
                log.warning("%s holds no frames", filename)
                return
            if self._folder is not None:
                self._say_if_virtual(file, EventOfFile.parse(first).path(pattern))
            yield first
            yield from events

    def _say_if_virtual(self, file: Any, path: str) -> None:
        """Say that frames are in files which are not watched: those that are added there later are not seen."""
        if not self._has_warned and file[path].is_virtual:
            self._has_warned = True
            log.warning(
                "%s: %s is a virtual dataset, which puts together what is in other files, and those are not watched: frames "
                "that come into them later are missed, or empty where they have a place already. Watch the files that hold the "
                "frames, or process this one when it is complete (-i)",
                file.filename,
                path,
            )

    def _frame(self, filename: str, event: str) -> Message:
        self._num_frames += 1
        return Message(b"", time.time_ns(), (file_frame(filename, event),))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
