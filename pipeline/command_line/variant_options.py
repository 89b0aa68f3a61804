"""What the command line says of variants: ``--variant``, ``--verdict``, ``--keep-best``, ``--aim``, ``--until-decided``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph
    from pipeline.composing.varied import Way

VARIANT_HELP = (
    "Do a node's work in several ways on the same frames, and compare them: NODE=STAGE,STAGE for other stages of its kind, "
    "NODE.PARAMETER=VALUE,VALUE for other values. Several of these make a grid."
)
VERDICT_HELP = "Write how the variants compare: .html a page, .json figures, .csv or .parquet a table of frames."
KEEP_BEST_HELP = "Write the variant that wins as a graph of its own."
AIM_HELP = "By what they are judged; 'streamajig stages live/verdict' has what there is."
UNTIL_DECIDED_HELP = "End the run when it is decided which way of this node is better, or that none is."

_KINDS_OF_FILES = {".html": "page", ".json": "json", ".csv": "table", ".parquet": "table"}


def with_variants(
    graph: Graph, words: Iterable[str], way_of: Callable[[str, str], Way | None] = lambda _node, _name: None
) -> Graph:
    """Return the graph varied as ``--variant`` says.

    Parameters
    ----------
    words
        ``words=longest,first`` or ``words.n=10,20``.
    way_of
        Gives the way that a node and a word mean, if not a stage's name; None for those that it does not know.
    """
    for word in words:
        what, equals, values = word.partition("=")
        node, dot, parameter = what.partition(".")
        if not (node and equals and values and (parameter or not dot)):
            raise UserError(f"--variant={word}: write NODE=STAGE,STAGE or NODE.PARAMETER=VALUE,VALUE")
        try:
            if parameter:
                graph = graph.vary(node, **{parameter: list(_values(values))})
                continue
            graph.node(node)
            ways = [way_of(node, name) or name for name in values.split(",")]
            if any(varied.node == node for varied in graph.varied):
                raise UserError(f"name all stages of {node!r} in one --variant, before those of its parameters")
            graph = graph.vary(node, ways)
        except UserError as error:
            raise UserError(f"--variant={word}: {error}") from None
    return graph


def with_wishes(
    graph: Graph,
    *,
    verdict: Iterable[Path] = (),
    keep_best: Path | None = None,
    aim: str | None = None,
    until_decided: str | None = None,
) -> Graph:
    """Return the graph whose verdict is judged and written as options say; UserError if nothing is varied."""
    from pipeline.composing.expansion import with_verdict

    wanted: dict[str, Any] = {}
    for path in verdict:
        kind = _KINDS_OF_FILES.get(path.suffix.lower())
        if kind is None:
            raise UserError(f"--verdict={path}: the name should end in {', '.join(_KINDS_OF_FILES)}")
        if kind in wanted:
            raise UserError(f"--verdict={path} and --verdict={wanted[kind]} are of one kind: give one of them")
        wanted[kind] = path
    if keep_best is not None:
        wanted["keep_best"] = keep_best
    if aim is not None:
        wanted["aim"] = aim
    if until_decided is not None:
        wanted["until"] = {"decided": until_decided}
    if not wanted:
        return graph
    if not graph.varied:
        flags = [f"--verdict={path}" for path in verdict]
        flags += [f"--{name.replace('_', '-')}" for name in ("keep_best", "aim") if name in wanted]
        flags += ["--until-decided"] if "until" in wanted else []
        raise UserError(f"{', '.join(flags)}: nothing is varied, so there is nothing to compare; give --variant")
    return with_verdict(graph, **wanted)


def _values(text: str) -> Iterator[Any]:
    """Values as YAML has them, with commas between; those of a list stand in brackets.

    >>> list(_values("10,2.5,true,abc,[1, 2]"))
    [10, 2.5, True, 'abc', [1, 2]]
    """
    from pipeline.composing.yaml.text import value_of

    try:
        found = value_of(f"[{text}]")
    except UserError:
        found = text.split(",")
    yield from found
