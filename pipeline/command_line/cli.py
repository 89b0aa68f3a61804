"""The command ``streamajig``: one group of commands, each imported when it is asked for.

Commands of the program itself lie in ``pipeline.command_line.commands``; installed packages add theirs as entry points of group
``streamajig.commands`` (a typer-compatible function). ``streamajig --help`` imports none of those: their first lines are
read from the source.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from pipeline.command_line import console, logs
from pipeline.command_line.abbreviations import TakesAbbreviations
from pipeline.errors import UserError
from pipeline.own_packages import check_is_ours
from pipeline.running import memory, products, signals
from pipeline.texts import escaped

ENTRY_POINTS = "streamajig.commands"
USER_ERROR = 2
_LOG_LEVEL = "What is logged: debug, info, warning or error."

_OWN = {
    "run": "pipeline.command_line.commands:run",
    "check": "pipeline.command_line.commands:check",
    "show": "pipeline.command_line.commands:show",
    "stages": "pipeline.command_line.commands:stages",
    "schema": "pipeline.command_line.commands:schema",
}

_UsageError: Any = typer.BadParameter.__mro__[1]
"""click's UsageError, wherever this version of typer has it from."""


class _Later(TyperCommand):
    """A command of another package: known by name and first line; imported when it is called."""

    def __init__(self, point: importlib.metadata.EntryPoint) -> None:
        super().__init__(name=point.name, help=_first_lines(point))
        self._point = point

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Import the command, and go on as that command."""
        try:
            loaded = self._point.load()
        except (ImportError, AttributeError) as error:
            raise UserError(f"the command {self.name!r} cannot be loaded from {self._point.value}: {error}") from error
        return _as_command(loaded, str(self.name)).make_context(info_name, args, parent=parent, **extra)


class _Command(TakesAbbreviations, TyperCommand):
    """A command whose long options may be abbreviated."""


class _Commands(TakesAbbreviations, TyperGroup):
    """The commands of the program and of installed packages, made when asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands, the program's own first."""
        return [*_OWN, *sorted(set(_entry_points()) - set(_OWN))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None if there is none of this name."""
        if cmd_name not in self.commands:
            if cmd_name in _OWN:
                self.commands[cmd_name] = _as_command(_load_own(_OWN[cmd_name]), cmd_name)
            elif cmd_name in (points := _entry_points()):
                self.commands[cmd_name] = _Later(points[cmd_name])
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As click does, with a suggestion from all commands and not only from those made by now."""
        if args and self.get_command(ctx, args[0]) is None:
            for name in self.list_commands(ctx):
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    name="streamajig",
    help=importlib.metadata.metadata("streamajig")["Summary"] + ".",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"streamajig {importlib.metadata.version('streamajig')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def streamajig(
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help=_LOG_LEVEL)] = "info",
    version: Annotated[  # noqa: ARG001 - its callback has done the work
        bool, typer.Option("--version", "-V", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Say how much is logged; everything else is in the commands."""
    _log_from(log_level)


def _log_from(level: str | None) -> None:
    if level is None:
        return
    if level not in logs.LEVELS:
        raise UserError(f"--log-level={level}: give one of {', '.join(logs.LEVELS)}")
    logs.start(level)


@functools.lru_cache(maxsize=1)
def _log_level_of_commands() -> Any:
    """The option --log-level as each command has it too, for those who think of it last; made by typer, as all others are."""
    one = typer.Typer(add_completion=False)

    @one.command()
    def command(
        log_level: Annotated[
            str | None,
            typer.Option(metavar="LEVEL", help=_LOG_LEVEL, callback=_log_from, expose_value=False, show_default=False),
        ] = None,
    ) -> None: ...

    return next(parameter for parameter in typer.main.get_command(one).params if parameter.name == "log_level")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default) and return its exit status; errors of the user go to stderr."""
    command = typer.main.get_command(app)
    words = [part for word in (sys.argv[1:] if arguments is None else arguments) for part in _split_short(word)]
    try:
        check_is_ours("stages")
        status = command.main(words or ["--help"], prog_name="streamajig", standalone_mode=False)
    except UserError as error:
        return _complain(str(error))
    except _UsageError as error:
        where = error.ctx.command_path if getattr(error, "ctx", None) else "streamajig"
        return _complain(f"{_in_words(error)}\n('{where} --help' lists what there is)")
    except typer.Abort:
        return _complain("ended by Ctrl-C", status=signals.ENDED)
    finally:
        logs.stop()
    return status if isinstance(status, int) else 0


def main() -> None:
    """Run the console script ``streamajig``."""
    console.keep_standard_streams_safe()
    signals.to_the_end()
    memory.keep_what_is_freed()
    products.multiply_in_one_thread()
    status = run()
    why_not = console.flush_stdout()
    if why_not:
        status = status or _complain(f"stdout cannot be written: {why_not}", status=1)
    if any(thread.name.startswith("replica-") for thread in threading.enumerate()):
        # one that was abandoned may be anywhere in foreign code, which the interpreter's end would take away from it
        sys.stderr.flush()
        signals.leave(status)
    sys.exit(status)


def _split_short(word: str) -> list[str]:
    """Let ``-o=FILE`` mean ``-o FILE``, and not the file ``=FILE``.

    >>> _split_short("-o=a.txt"), _split_short("--name=x"), _split_short("-j4")
    (['-o', 'a.txt'], ['--name=x'], ['-j4'])
    """
    return [word[:2], word[3:]] if re.match(r"-[A-Za-z]=", word) else [word]


def _complain(text: str, status: int = USER_ERROR) -> int:
    print("\n".join(f"streamajig: {escaped(line)}" for line in text.splitlines()), file=sys.stderr)  # noqa: T201
    return status


def _in_words(error: Any) -> str:
    """What click found wrong, with the nearest options where one is not known."""
    possible = getattr(error, "possibilities", None)
    name = getattr(error, "option_name", None)
    if possible is not None and name:
        meant = " or ".join(possible)
        return f"there is no option {name}" + (f"; did you mean {meant}?" if meant else "")
    # some versions of typer convert values with pydantic, whose text does not say what was found
    cause: Any = error.__cause__
    refused = cause.errors() if hasattr(cause, "errors") else ()
    found = f" (found {refused[0]['input']!r})" if refused else ""
    return f"{error.format_message()}{found}"


def _load_own(where: str) -> Callable[..., None]:
    module_name, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module_name), attribute)  # type: ignore[no-any-return]


def _as_command(function: Any, name: str) -> Any:
    """Make click's command of a typer-compatible function, or of a Typer."""
    if isinstance(function, typer.Typer):
        return _as_group(function)
    single = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    text = _in_paragraphs(inspect.getdoc(function) or "")
    single.command(name, cls=_Command, help=text, context_settings={"help_option_names": ["--help", "-h"]})(function)
    command: Any = typer.main.get_command(single)
    command.old_options = getattr(function, "old_options", ())
    command.values_alone = getattr(function, "values_alone", {})
    command.params.append(_log_level_of_commands())
    return command


def _as_group(group: typer.Typer) -> Any:
    """Make click's group of a Typer; of its commands those that are plain functions become as all others are."""
    made: Any = typer.main.get_command(group)
    for info in group.registered_commands:
        if info.callback is not None and info.cls is TyperCommand:
            name = info.name or typer.main.get_command_name(info.callback.__name__)
            made.commands[name] = _as_command(info.callback, name)
    return made


def _in_paragraphs(text: str) -> str:
    r"""Join the lines of each paragraph, which the terminal breaks where it likes.

    >>> _in_paragraphs("One line.\n\nAnother\nparagraph.")
    'One line.\n\nAnother paragraph.'
    """
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in text.split("\n\n"))


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _first_lines(point: importlib.metadata.EntryPoint) -> str:
    """The docstring of an entry point's function, or else of its module, read from the source without importing it."""
    try:
        found = importlib.util.find_spec(point.module)
    except ImportError:
        found = None
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        return f"({point.value})"
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == point.attr:
            return (ast.get_docstring(node) or "").partition("\n\n")[0]
    return (ast.get_docstring(tree) or f"({point.value})").partition("\n\n")[0]


if __name__ == "__main__":
    main()
