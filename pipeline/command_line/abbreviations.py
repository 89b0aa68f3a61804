"""Abbreviated long options, as getopt_long takes them: ``--max-fr=20`` where no other option begins like that.

An option may have a value that it has where none follows (``values_alone``): ``--monitor``, and ``--monitor=8000``. As with
GNU's getopt_long such a value comes with ``=`` alone, so that what follows the option is not taken for it.

Scripts have such options, since most programs take them. An abbreviation that may stand for several options is refused with
their names. An option that has come later must not make one ambiguous that has been in use: where a command says
which options are old (``old_options``), an abbreviation of just one of these means that one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError

if TYPE_CHECKING:
    from typer.core import TyperCommand as _Base
else:
    _Base = object


class TakesAbbreviations(_Base):
    """A command of click whose long options may be abbreviated, or have no value; mixed in before click's own class."""

    old_options: Collection[str] = ()
    values_alone: Mapping[str, str] = {}

    def make_parser(self, ctx: Any) -> Any:
        """Make click's parser, with the names of options completed before it looks for them."""
        parser: Any = super().make_parser(ctx)
        match = parser._match_long_opt

        def match_completed(name: str, value: str | None, state: Any) -> None:
            whole = completed(name, parser._long_opt, self.old_options)
            match(whole, self.values_alone.get(whole) if value is None else value, state)

        parser._match_long_opt = match_completed
        return parser


def completed(name: str, known: Mapping[str, Any], old: Collection[str] = ()) -> str:
    """Return the whole name of a long option; the name itself if it is one, or if none begins like that.

    Parameters
    ----------
    known
        Spelling -> what it stands for; two spellings of one thing are no choice.
    old
        Spellings that go before others.

    >>> options = {"--max-frames": 1, "--max-bytes": 2, "--module": 3, "--mod": 3}
    >>> completed("--max-f", options), completed("--qq", options), completed("--m", options, old=["--max-bytes"])
    ('--max-frames', '--qq', '--max-bytes')
    >>> completed("--mo", options)
    '--mod'
    >>> completed("--max", options)
    Traceback (most recent call last):
    pipeline.errors.UserError: --max may be --max-bytes or --max-frames: say which
    """
    if name in known or not name.startswith("--") or len(name) <= len("--"):
        return name
    found = sorted(spelling for spelling in known if spelling.startswith(name))
    for narrowed in (found, [spelling for spelling in found if spelling in old]):
        if narrowed and all(known[spelling] is known[narrowed[0]] for spelling in narrowed):
            return narrowed[0]
    if not found:
        return name
    *others, last = found
    raise UserError(f"{name} may be {', '.join(others)} or {last}: say which")
