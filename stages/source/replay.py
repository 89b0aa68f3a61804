"""Read recorded messages from files."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline import Context, EndOfStream, Message, Preamble, UserError, stage
from stages.wire.framing import ImageSource, PulseAxis, Spoken, framing_of
from stages.wire.message import stand_in
from stages.wire.multipart import DEFAULT_MAX_MESSAGE_BYTES
from stages.wire.recorded import expand, is_preamble, parts_together, read_messages, read_whole


@stage("source/replay")
class Replay:
    """Read messages that were recorded, in the order of the files' names.

    A file holds the body of one message, or, of MessagePack, of several one behind the other: ``.msgpack`` or ``.bin``, either
    also compressed (``.gz``); of a folder all such files are taken. A message that holds an array of maps becomes one frame per
    map. A file that cannot be read is a rejected frame. Dead letters are sent as they came with ``whole``.
    """

    files: Annotated[tuple[Path, ...], Field(min_length=1)] = Field(description="Files, or folders of them.")
    repeat: int = Field(default=1, ge=1, description="How many times to go through them.")
    data_format: Spoken = "msgpack"
    first_only: bool = Field(default=False, description="Of an array of maps take the first only, as CrystFEL does.")
    image_source: ImageSource = ""
    pulse_axis: PulseAxis = None
    whole: bool = Field(
        default=False,
        description="A file is one frame, whatever is in it; X.0.msgpack, X.1.msgpack are its parts, and "
        "X.preamble.0.msgpack ... what its sender has said once.",
    )
    max_message_bytes: int = Field(default=DEFAULT_MAX_MESSAGE_BYTES, ge=1, description="Longer messages are rejected.")

    def input_files(self) -> list[Path]:
        """The files that are read, those of folders among them, as far as they are there now."""
        try:
            return expand(self.files)
        except UserError:
            return list(self.files)

    def open(self, context: Context) -> RunningReplay:
        """Find the files."""
        return RunningReplay(self, expand(self.files))


class RunningReplay:
    """`Replay` at work."""

    def __init__(self, parameters: Replay, files: list[Path]) -> None:
        self._parameters = parameters
        self._framing = framing_of(
            parameters.data_format,
            first_only=parameters.first_only,
            image_source=parameters.image_source,
            pulse_axis=parameters.pulse_axis,
        )
        self._framing.warm_up()
        self._number = len(files) * parameters.repeat
        self._read = 0
        self._left = self._messages(files)

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        """Read the next message; raises EndOfStream when there is none."""
        if credit <= 0:
            time.sleep(min(max(timeout_s, 0.0), 0.005))
            return []
        try:
            return next(self._left)
        except StopIteration:
            raise EndOfStream from None

    def stop_asking(self) -> int:
        """Read nothing more."""
        self._left = iter(())
        return 0

    def status(self) -> str:
        """Say how far it is."""
        return f"read {self._read} of {self._number} files"

    def close(self) -> None:
        """Nothing is open between files."""
        self._left = iter(())

    def _messages(self, files: list[Path]) -> Iterator[list[Message]]:
        for _ in range(self._parameters.repeat):
            for parts in parts_together(files) if self._parameters.whole else ():
                self._read += len(parts)
                bodies = self._whole(file for file in parts if not is_preamble(file))
                said = self._whole(file for file in parts if is_preamble(file))
                preamble = Preamble.of(said, said) if said else None
                yield [Message(topic_of(parts[0]), time.time_ns(), bodies, bodies, preamble)]
            for file in files if not self._parameters.whole else ():
                topic = topic_of(file)
                self._read += 1
                for body in self._bodies(file):
                    frames = self._framing.frames_of([body], time.time_ns(), body)
                    yield [dataclasses.replace(frame, topic=topic) for frame in frames]

    def _whole(self, files: Iterable[Path]) -> tuple[memoryview, ...]:
        return tuple(body for file in files for body in self._bodies(file))

    def _bodies(self, file: Path) -> Iterator[memoryview]:
        try:
            if self._parameters.whole or self._parameters.data_format != "msgpack":
                yield read_whole(file, self._parameters.max_message_bytes)
            else:
                yield from read_messages(file, self._parameters.max_message_bytes)
        except UserError as trouble:
            yield memoryview(stand_in("unreadable_file", str(trouble)))


def topic_of(file: Path) -> bytes:
    """Guess the tag under which a recorded message was published from the name of its file.

    >>> topic_of(Path("binned_sub_000_omframedata.bin.gz")), topic_of(Path("frame.msgpack"))
    (b'omframedata', b'')
    """
    found = re.search(r"(?:^|_)((?:om|onda)[a-z]*data)(?=[_.]|$)", file.name)
    return found[1].encode() if found else b""
