"""What a row of the table of options says (:mod:`stages.commands.index.table`), and how values are read. An option is

supported
    it sets parameters of stages (``sets``: ``"role.parameter"``, see :mod:`stages.commands.index.graph` for the roles) or of
    the run (``"run.parameter"``), or it decides which stages the graph is made of (``shapes``);
noted
    accepted, because whatever it asks for is true here anyway, and said so in the log;
refused
    by its name and with the reason. No option is ever ignored.
"""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.hints import did_you_mean
from stages.files.image_list import SUFFIXES, ImageFormat, format_of, lines_of, parse_line
from stages.wire.formats import DECODERS

ALL_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


class Status(enum.Enum):
    """What becomes of an option."""

    SUPPORTED = "supported"
    NOTED = "accepted, changes nothing"
    REFUSED = "refused"


@dataclass(frozen=True)
class Option:
    """One row of the table.

    Attributes
    ----------
    flags
        All spellings; the first names the option.
    kind
        Type of what follows the option; ``bool`` for a flag that takes nothing.
    default
        What holds when the option is not given, in words for the manual.
    sets
        Where the value goes, ``"role.parameter"``; every place that is in the graph gets it.
    also
        Where it goes besides, if no option that has the place under `sets` is given.
    needs
        Python name of the option without which this one has no effect in a stage that would take that one, too.
    value
        Makes the parameter's value of what was typed; a ValueError says what was wanted.
    why
        For noted and refused options: the reason, as a sentence without its capital.
    alone
        The value, as it is typed, if none follows; then one comes behind ``=`` only.
    own
        Whether the option is streamajig's and not indexamajig's.
    """

    flags: tuple[str, ...]
    panel: str
    help: str
    kind: type = bool
    metavar: str = ""
    default: str = ""
    repeatable: bool = False
    sets: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    needs: str = ""
    value: Callable[[Any], Any] = lambda typed: typed
    shapes: bool = False
    status: Status = Status.SUPPORTED
    why: str = ""
    alone: str = ""
    own: bool = False

    @property
    def flag(self) -> str:
        """The spelling under which messages speak of the option: the first long one, if there is one."""
        return next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])

    @property
    def name(self) -> str:
        """The option as a Python name: ``--min-snr`` is ``min_snr``, ``-j`` is ``j``."""
        return self.flag.lstrip("-").replace("-", "_")


def floats(count: int, what: str) -> Callable[[str], tuple[float, ...]]:
    """Make a reader of `count` numbers with commas between them.

    >>> floats(3, "inner,middle,outer")("4,5,7")
    (4.0, 5.0, 7.0)
    """

    def read(text: str) -> tuple[float, ...]:
        numbers = _numbers(text)
        if numbers is None or len(numbers) != count:
            raise ValueError(f"{text!r} should be {count} numbers with commas between them: {what}")
        return numbers

    return read


def radii(text: str) -> tuple[float, ...]:
    """Read three radii that grow.

    >>> radii("4,5,7")
    (4.0, 5.0, 7.0)
    """
    numbers = floats(3, "inner,middle,outer")(text)
    if not 0 < numbers[0] <= numbers[1] < numbers[2]:
        raise ValueError(f"{text!r}: the radii should grow from inner to outer, such as 4,5,7")
    return numbers


def tolerance(text: str) -> tuple[float, ...]:
    """Read six tolerances in percent and degrees, or four: the last then holds for all three angles.

    >>> tolerance("5,5,5,1.5")
    (5.0, 5.0, 5.0, 1.5, 1.5, 1.5)
    """
    numbers = _numbers(text)
    if numbers is None or len(numbers) not in (4, 6) or min(numbers) < 0:
        raise ValueError(f"{text!r} should be a,b,c in percent and al,be,ga in degrees, such as 5,5,5,1.5,1.5,1.5")
    return numbers if len(numbers) == 6 else (*numbers, numbers[3], numbers[3])


def _numbers(text: str) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
    return None if any(math.isnan(number) for number in numbers) else numbers


def conditions(text: str) -> dict[str, Any]:
    """Read what merged data should be like.

    >>> conditions("completeness=0.99,crystals=500,each_shell")
    {'completeness': 0.99, 'crystals': 500, 'each_shell': True}
    """
    read: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        try:
            read[key.strip()] = (int(value) if value.strip().isdigit() else float(value)) if equals else True
        except ValueError:
            raise ValueError(f"{part!r} should be a name and a number, such as cc_half=0.9") from None
    return read


def threads(count: int) -> str:
    """Read how many frames are processed at once."""
    if count < 1:
        raise ValueError(f"{count} should be 1 or more")
    return f"threads:{count}"


def negated(given: bool) -> bool:
    """Turn a flag that switches something off into that something."""
    return not given


def addresses(typed: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Read one address, or several.

    >>> addresses(("tcp://a:1",)), addresses(("tcp://a:1", "tcp://b:1"))
    ('tcp://a:1', ('tcp://a:1', 'tcp://b:1'))
    """
    return typed[0] if isinstance(typed, tuple) and len(typed) == 1 else typed


def data_format(text: str) -> str:
    """Read a data format.

    >>> data_format("cbf")
    'cbf'
    """
    if text not in DECODERS:
        raise ValueError(f"{text!r} is not read" + did_you_mean(text, DECODERS))
    return text


def replay_speed(text: str) -> str | float:
    """Read how fast recorded messages are taken.

    >>> replay_speed("25"), replay_speed("recorded")
    (25.0, 'recorded')
    """
    from stages.wire.recording.pace import speed_of

    return speed_of(text)


MESSAGE_SUFFIXES = (".msgpack", ".bin", ".msgpack.gz", ".bin.gz", ".rec")
"""How the name of a recorded message ends."""


def inputs(text: str | tuple[Path | str, ...]) -> tuple[Path | str, ...]:
    """Read what ``-i`` names: image files, as text, or recorded messages, as paths; or a list of either, or a folder.

    ``-`` is a list on stdin. What has been read is returned as it is.
    """
    if isinstance(text, tuple):
        return text
    if text == "-":
        lines = [line for line in sys.stdin.read().splitlines() if line.strip()]
        return tuple(lines) if lines and image_format(tuple(lines)) else _recorded(lines, "-")
    return (text,) if image_format((text,)) else recorded(text)


def watched(text: str) -> tuple[str, ...]:
    """Read what ``--watch`` names: a folder or a pattern."""
    return (text,)


def image_format(names: tuple[Path | str, ...]) -> ImageFormat | None:
    """Return the format of the image files that are named, singly, by a folder, a pattern or a list; None if there are none."""
    if not names or isinstance(names[0], Path):
        return None
    name = parse_line(names[0]).filename
    kind = format_of(name)
    if kind is not None:
        return kind
    try:
        if Path(name).is_dir():
            inside = sorted(file.name for file in Path(name).iterdir())
            return next((found for file in inside if (found := format_of(file))), None)
        first = next(lines_of(name), None)
    except (OSError, UserError):
        return None
    return None if first is None else format_of(first.filename)


def recorded(text: str) -> tuple[Path, ...]:
    """Read what names recorded messages: a file, a folder of them, or a list of them."""
    path = Path(text)
    if path.is_dir() or text.endswith(MESSAGE_SUFFIXES):
        if not path.exists():
            raise ValueError(f"there is no file {text}")
        return (path,)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(
            f"{text} is not a list of files, nor a recorded message ({', '.join(MESSAGE_SUFFIXES)})"
        ) from None
    except OSError as error:
        raise ValueError(f"cannot read {text}: {error.strerror}") from None
    return _recorded(lines, text)


def _recorded(lines: list[str], text: str) -> tuple[Path, ...]:
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f"the list {text} names no files")
    for name in names:
        if not name.endswith(MESSAGE_SUFFIXES):
            raise ValueError(
                f"{text} lists {name!r}, which is neither an image file ({', '.join(ALL_SUFFIXES)}) nor a recorded message "
                f"({', '.join(MESSAGE_SUFFIXES)})"
            )
    return tuple(Path(name) for name in names)


def own(*flags: str, panel: str, help: str, kind: type = bool, **more: Any) -> Option:
    """Make the row of an option that indexamajig does not have."""
    return Option(flags, panel, help, kind, own=True, **more)


def noted(*flags: str, panel: str, help: str, why: str, kind: type = bool, metavar: str = "") -> Option:
    """Make the row of an option that asks for what is true anyway."""
    return Option(flags, panel, help, kind, metavar, status=Status.NOTED, why=why)


def refused(*flags: str, panel: str, help: str, why: str, kind: type = bool, metavar: str = "") -> Option:
    """Make the row of an option that is refused."""
    return Option(flags, panel, help, kind, metavar, status=Status.REFUSED, why=why)
