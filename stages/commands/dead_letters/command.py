"""Look at frames that runs have rejected, run them again, or delete them.

They are in a folder, ``dead_letters`` unless another is named, where ``index --dead-letters`` has put them.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.command_line import completion
from pipeline.running.kept_letters import FOLDER, NEWEST, Choice, KeptRun, clear, read_folder
from stages.commands.dead_letters import words
from stages.commands.replay import BIND, REQUEST, TOPIC, Bind, CurveKey, Pub, Push, Rate, Request, Topic

if TYPE_CHECKING:
    from pipeline.running.kept_letters import Letter

commands = typer.Typer(
    help=(__doc__ or "").partition("\n\n")[0],
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

Folder = Annotated[Path, typer.Option("--folder", metavar="FOLDER", help="Where they are.")]
Nodes = Annotated[
    list[str] | None,
    typer.Option(
        "--node", metavar="NAME", help="Those that this node rejected.", autocompletion=completion.nodes_of_dead_letters
    ),
]
Reasons = Annotated[
    list[str] | None,
    typer.Option(
        "--reason", metavar="WORD", help="Those of this reason.", autocompletion=completion.reasons_of_dead_letters
    ),
]
Runs = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help=f"Those of this run: how its name begins, or '{NEWEST}'.",
        autocompletion=completion.runs_of_dead_letters,
    ),
]
Which = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WHICH...]", help=f"Serials, events, or '{NEWEST}'; all, if none is named.", show_default=False
    ),
]


@commands.command("list")
def list_(
    folder: Folder = FOLDER,
    node: Nodes = None,
    reason: Reasons = None,
    run: Runs = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all letters as JSON.")] = False,
) -> None:
    """List the runs that have dead letters, with counts by node and reason, when they came, and what they take."""
    chosen = Choice(node or (), reason or (), run or ()).of(read_folder(folder))
    if as_json:
        found = [words.run_as_json(each) for each in chosen]
        print(json.dumps(found, indent=2, allow_nan=False))  # noqa: T201
        return
    _print(words.table(chosen, folder))


@commands.command()
def show(
    which: Annotated[
        str, typer.Argument(metavar="[WHICH]", help=f"A serial, an event, or '{NEWEST}': the last that was rejected.")
    ] = NEWEST,
    folder: Folder = FOLDER,
    node: Nodes = None,
    reason: Reasons = None,
    run: Runs = None,
) -> None:
    """Show all that is known of one: where and why it was rejected, and its message, as far as it can be read.

    Of a message that holds no MessagePack map or array the beginning is shown in hexadecimal.
    """
    chosen = Choice(node or (), reason or (), run or ()).of(_some(folder))
    letters = [letter for each in Choice(which=[which]).of(chosen) for letter in each.letters]
    *others, letter = letters
    _print(words.whole(letter))
    same = [each for each in others if (each.run, each.serial) == (letter.run, letter.serial)]
    for other in same:
        _print([f"also rejected at {other.node}: {other.reason}: {other.detail}"])
    if len(others) > len(same):
        named = ", ".join(sorted({f"serial {each.serial} of {each.run}" for each in others if each not in same}))
        _print([f"others have this name: {named} (--run says which)"])


@commands.command()
def replay(  # noqa: PLR0913 - a parameter for each option
    which: Which = None,
    folder: Folder = FOLDER,
    node: Nodes = None,
    reason: Reasons = None,
    run: Runs = None,
    graph: Annotated[
        Path | None,
        typer.Option("--graph", metavar="GRAPH.yaml", help="Run them through this graph, and say which pass now."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NODE.PARAMETER=VALUE", help="Change a parameter of the graph."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let the graph write over files that are there.")] = False,
    and_clear: Annotated[bool, typer.Option("--clear", help="Delete those that pass now (--graph).")] = False,
    bind: Bind = BIND,
    pub: Pub = False,
    push: Push = False,
    topic: Topic = TOPIC,
    request: Request = REQUEST,
    rate: Rate = None,
    curve_key: CurveKey = None,
) -> None:
    """Send the messages of rejected frames once more, over a socket or through a graph.

    Over a socket it is as ``streamajig replay``: in another terminal ``streamajig index --zmq-input=...``. With --graph they
    take the place of what the graph's source would receive, and the report says how many are mended. Messages are there if
    the run had --keep-messages.

    Exit status: as 'run' with --graph.
    """
    from pipeline import UserError
    from stages.commands.dead_letters import again
    from stages.commands.replay import server_of
    from stages.wire.serving import kind_of

    of_socket = (bind, pub, push, topic, request, rate, curve_key)
    if graph is None and (settings or force or and_clear):
        raise UserError(
            "--set, --force and --clear go with --graph: sent over a socket, nobody here knows what became of them"
        )
    if graph is not None and of_socket != (BIND, False, False, TOPIC, REQUEST, None, None):
        raise UserError(
            "--graph runs them in this process: leave --bind, --pub, --push, --topic, --request, --rate and --curve-key out"
        )
    messages, without = again.messages_of(_letters(_chosen(folder, which, node, reason, run)))
    if without:
        print(f"streamajig: {words.without_message(without)}", file=sys.stderr)  # noqa: T201
    if not messages:
        raise UserError(f"{folder}: none of these has its message; runs keep messages with --keep-messages")
    if graph is None:
        again.over_a_socket(messages, server_of(bind, kind_of(pub, push), topic, request, rate, curve_key))
        return
    command_line = shlex.join(["streamajig", *sys.argv[1:]])
    status = again.through_graph(
        messages, lambda: again.graph_of(graph, messages, settings or (), force), command_line, and_clear
    )
    raise typer.Exit(status)


@commands.command("clear")
def clear_(
    which: Which = None,
    folder: Folder = FOLDER,
    node: Nodes = None,
    reason: Reasons = None,
    run: Runs = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete dead letters and their messages, and say what that frees; nothing else in the folder is touched.

    A run that still writes goes on: what it rejects from now on is kept.
    """
    from pipeline import UserError

    choice = Choice(node or (), reason or (), run or (), which or ())
    chosen = choice.of(read_folder(folder))
    if not chosen:
        _print([words.nothing_in(folder)])
        return
    if not yes:
        _print(words.table(chosen, folder))
        try:
            typer.confirm(f"delete {words.amount(chosen)}?", abort=True, err=True)
        except typer.Abort:
            raise UserError("nothing was deleted; --yes deletes without asking") from None
    freed = clear(chosen, whole_runs=not choice.is_of_letters)
    _print([words.freed(freed)])
    if freed.problems:
        raise UserError("\n".join(freed.problems))


def _some(folder: Path) -> list[KeptRun]:
    """What is in the folder; UserError if that is no dead letter."""
    from pipeline import UserError

    runs = read_folder(folder)
    if not any(run.letters for run in runs):
        raise UserError("\n".join([*(run.trouble for run in runs if run.trouble), words.nothing_in(folder)]))
    return runs


def _chosen(
    folder: Path, which: list[str] | None, node: list[str] | None, reason: list[str] | None, run: list[str] | None
) -> list[KeptRun]:
    return Choice(node or (), reason or (), run or (), which or ()).of(_some(folder))


def _letters(runs: Iterable[KeptRun]) -> list[Letter]:
    return [letter for run in runs for letter in run.letters]


def _print(lines: Iterable[str]) -> None:
    from pipeline.texts import escaped

    for line in lines:
        print(escaped(line))  # noqa: T201
