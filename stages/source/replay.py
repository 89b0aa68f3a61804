"""Read recorded messages from files."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline import Context, EndOfStream, Findings, Message, Preamble, UserError, stage
from stages.wire.formats import IN_PARTS, NEVER_ALONE, SAID_ONCE
from stages.wire.framing import Framed, Framing
from stages.wire.message import stand_in
from stages.wire.recorded import expand, is_preamble, parts_together, read_messages, read_whole
from stages.wire.recording.layout import SUFFIX
from stages.wire.recording.pace import Pace, Speed
from stages.wire.recording.reading import Damaged, Passed, Recorded, read_records


@stage("source/replay")
class Replay(Framed):
    """Read messages that were recorded, in the order of the files' names.

    What ``streamajig record`` has written (``.rec``) comes as it came then, message by message, with its parts and times, so
    that the same graph makes the same of it; a damaged place in it is a rejected frame. Any other file holds the body of one
    message, or, of MessagePack, of several one behind the other: ``.msgpack`` or ``.bin``, either also compressed (``.gz``). Of
    a folder all such files are taken. Where messages have several parts (seedee, dectris1, karabo), X.0.bin, X.1.bin and so on
    are those of one; with dead letters comes what their sender had said once. A message that holds an array of maps becomes one
    frame per map. A file that cannot be read is a rejected frame. Dead letters are sent as they came with ``whole``.
    """

    files: Annotated[tuple[Path, ...], Field(min_length=1)] = Field(description="Files, or folders of them.")
    repeat: int = Field(default=1, ge=1, description="How many times to go through them.")
    speed: Speed = "full"
    whole: bool = Field(
        default=False,
        description="A file is one frame, whatever is in it; X.0.msgpack, X.1.msgpack are its parts, and "
        "X.preamble.0.msgpack ... what its sender has said once.",
    )

    def input_files(self) -> list[Path]:
        """The files that are read, those of folders among them, as far as they are there now."""
        try:
            return expand(self.files)
        except UserError:
            return list(self.files)

    def open(self, context: Context) -> RunningReplay:
        """Find the files."""
        files = expand(self.files)
        others = [file for file in files if file.suffix != SUFFIX]
        if self.speed == "recorded" and others:
            raise UserError(
                f"{others[0]} does not say when it was received: recordings alone (*{SUFFIX}) are replayed at recorded speed"
            )
        together = self._together(files)
        if self.data_format in NEVER_ALONE and others and not any(len(parts) > 1 for parts in together):
            raise UserError(
                f"{others[0]} is one part, and messages of {self.data_format} have several: name those of a message "
                f"X.0.bin, X.1.bin and so on, and give their folder; or let 'streamajig record' write messages (*{SUFFIX})"
            )
        return RunningReplay(self, together)

    def _together(self, files: list[Path]) -> list[tuple[Path, ...]]:
        """The files of each message, where one has several; else each file by itself."""
        if self.whole or self.data_format in IN_PARTS | SAID_ONCE:
            return parts_together(files, numbered=self.whole or self.data_format in IN_PARTS)
        return [(file,) for file in files]


class RunningReplay:
    """`Replay` at work."""

    def __init__(self, parameters: Replay, together: list[tuple[Path, ...]]) -> None:
        self._parameters = parameters
        self._framing = parameters.framing()
        self._number = sum(map(len, together)) * parameters.repeat
        self._read = 0
        self._said: tuple[memoryview, ...] = ()
        self._passed = Passed()
        self._pace = Pace(parameters.speed)
        self._of_senders: dict[tuple[bytes, int], Framing] = {}
        self._left = self._messages(together)
        self._next: list[Message] | None = None
        self._due = 0.0

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        """Read the next message; raises EndOfStream when there is none."""
        if credit <= 0:
            time.sleep(min(max(timeout_s, 0.0), 0.005))
            return []
        if self._next is None:
            try:
                self._next = next(self._left)
            except StopIteration:
                raise EndOfStream from None
            self._due = self._pace.due(self._next[0].received_ns) if self._next else 0.0
        early_s = self._due - time.monotonic()
        if early_s > 0:
            time.sleep(min(max(timeout_s, 0.0), early_s))
            return []
        messages, self._next = self._next, None
        return messages

    def stop_asking(self) -> int:
        """Read nothing more."""
        self._left = iter(())
        self._next = None
        return 0

    def status(self) -> str:
        """Say how far it is."""
        return f"read {self._read} of {self._number} files"

    def close(self) -> None:
        """Let go of the file that is open."""
        self._left = iter(())
        self._next = None

    def findings(self) -> Findings:
        """Say what of recordings was passed over."""
        passed = self._passed
        return Findings(passed.text(), {"damaged": passed.damaged, "cut": [str(file) for file in passed.cut]})

    def _messages(self, together: list[tuple[Path, ...]]) -> Iterator[list[Message]]:
        for _ in range(self._parameters.repeat):
            for files in together:
                self._read += len(files)
                if self._parameters.whole:
                    bodies, said = self._whole(files)
                    preamble = Preamble.of(said, said) if said else None
                    yield [Message(topic_of(files[0]), time.time_ns(), bodies, bodies, preamble)]
                elif files[0].suffix == SUFFIX:
                    yield from self._recorded(files[0])
                elif len(files) > 1:
                    yield self._in_parts(files)
                else:
                    for body in self._bodies(files[0]):
                        yield self._framed(files[0], (body,))

    def _in_parts(self, files: tuple[Path, ...]) -> list[Message]:
        """The frames of a message in several files, after what its sender has said before it."""
        bodies, said = self._whole(files)
        if said and said != self._said:
            self._said = said
            self._framed(files[0], said)
        return self._framed(files[0], bodies)

    def _framed(self, file: Path, parts: tuple[memoryview, ...]) -> list[Message]:
        frames = self._framing.frames_of(parts, time.time_ns(), parts)
        return [dataclasses.replace(frame, topic=topic_of(file)) for frame in frames]

    def _recorded(self, file: Path) -> Iterator[list[Message]]:
        received_ns = time.time_ns()
        try:
            for found in read_records([file], self._passed, self._parameters.max_message_bytes):
                if isinstance(found, Damaged):
                    yield [_in_place_of(found, received_ns)]
                else:
                    received_ns = found.received_ns
                    yield self._framing_of(found).frames_of(found.parts, received_ns, found.parts)
        except UserError as trouble:
            yield [_in_place_of(Damaged("unreadable_file", str(trouble)), received_ns)]

    def _framing_of(self, found: Recorded) -> Framing:
        """Each sender of a recording has a framing of its own, as it had then."""
        key = (found.about.mark, found.sender)
        if key not in self._of_senders:
            self._of_senders[key] = self._parameters.framing()
        return self._of_senders[key]

    def _whole(self, files: tuple[Path, ...]) -> tuple[tuple[memoryview, ...], tuple[memoryview, ...]]:
        """The parts of a message, and of what its sender has said once."""
        parts: tuple[list[memoryview], list[memoryview]] = [], []
        for file in files:
            parts[is_preamble(file)].extend(self._bodies(file))
        return tuple(parts[False]), tuple(parts[True])

    def _bodies(self, file: Path) -> Iterator[memoryview]:
        try:
            if self._parameters.whole or self._parameters.data_format != "msgpack":
                yield read_whole(file, self._parameters.max_message_bytes)
            else:
                yield from read_messages(file, self._parameters.max_message_bytes)
        except UserError as trouble:
            yield memoryview(stand_in("unreadable_file", str(trouble)))


def _in_place_of(damaged: Damaged, received_ns: int) -> Message:
    return Message(b"", received_ns, (stand_in(damaged.reason, damaged.detail),))


def topic_of(file: Path) -> bytes:
    """Guess the tag under which a recorded message was published from the name of its file.

    >>> topic_of(Path("binned_sub_000_omframedata.bin.gz")), topic_of(Path("frame.msgpack"))
    (b'omframedata', b'')
    """
    found = re.search(r"(?:^|_)((?:om|onda)[a-z]*data)(?=[_.]|$)", file.name)
    return found[1].encode() if found else b""
