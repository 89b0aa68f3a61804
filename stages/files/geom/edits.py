"""Changes of a geometry file: which directive gets which value, and why; and the file with them, otherwise as it was.

A line that changes keeps its place, and says behind its comment what it was. A line that is new stands where it takes effect.

>>> print(with_edits("clen = 0.1 m ; by tape\\np/fs = x\\np/ss = y\\n", [
...     Edit("clen", "0.104 m", "4 % longer"), Edit("flag_morethan", "65534", "gaps"), Edit("p/no_index", "1", "dead")]))
clen = 0.104 m ; 4 % longer; was: clen = 0.1 m ; by tape
flag_morethan = 65534 ; gaps
p/fs = x
p/ss = y
p/no_index = 1 ; dead
<BLANKLINE>
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stages.files.geom.parser import TOP_LEVEL
from stages.files.geom.units import ENERGY_UNITS

_ADDED_UP = ("flag_lessthan", "flag_morethan", "flag_equal")
"""Of these a panel may have several, and all hold: one more never replaces another."""

_ALIKE = (frozenset(ENERGY_UNITS), frozenset({"adu_per_photon", "adu_per_eV"}))
"""Directives of which the last one counts, whichever it is."""

_NO_PANELS = ("bad", "group", "rigid_group")

_PHYSICAL_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


@dataclass(frozen=True)
class Edit:
    """One directive that should be another.

    Attributes
    ----------
    directive
        As in the file: ``clen``, ``flag_morethan``; with the name of a panel or a bad region before what is its own:
        ``badgap/min_fs``. A directive of panels without a panel's name is meant for all of them.
    value
        The new value, as it stands in the file.
    why
        The comment that stands beside it.
    """

    directive: str
    value: str
    why: str


def with_edits(text: str, edits: Iterable[Edit], preface: Sequence[str] = ()) -> str:
    """Return the text of a geometry file with these changes and no other.

    Parameters
    ----------
    text
        A geometry file that can be read (:func:`stages.files.geom.parser.parse`).
    edits
        Taken in turn: of two for the same directive the later one holds.
    preface
        Comments that stand at the top, a line each.
    """
    draft = _Draft(text)
    for edit in edits:
        draft.apply(edit)
    return draft.text(preface)


@dataclass(eq=False)
class _Line:
    """A line with its end, what it is about, and the new lines that follow it."""

    text: str
    end: str
    owner: str = ""
    directive: str = ""
    is_before_panels: bool = False
    following: list[_Line] = field(default_factory=list)

    @property
    def is_of_panel(self) -> bool:
        return bool(self.owner) and not self.owner.startswith(_NO_PANELS)


class _Draft:
    """A geometry file that is being changed."""

    def __init__(self, text: str) -> None:
        self._mark = "\ufeff" if text.startswith("\ufeff") else ""
        lines = [_line(found) for found in _PHYSICAL_LINE.findall(text.removeprefix("\ufeff"))]
        self._end = lines[0].end or "\n" if lines else "\n"
        if lines and not lines[-1].end:
            lines[-1].end = self._end
        self._top = _Line("", "")
        self._lines = [self._top, *lines]
        first_panel = next((n for n, line in enumerate(self._lines) if line.is_of_panel), len(self._lines))
        self._last_default = self._lines[first_panel - 1]  # where there is none, what stands before the first panel
        for line in self._lines[:first_panel]:
            line.is_before_panels = True
            if line.directive and not line.owner:
                self._last_default = line
        self._of: dict[tuple[str, str], list[_Line]] = {}
        self._last_of: dict[str, _Line] = {}
        for line in lines:
            if line.directive:
                self._of.setdefault((line.owner, line.directive), []).append(line)
                self._last_of[line.owner] = line
        self._panels = dict.fromkeys(line.owner for line in lines if line.is_of_panel)

    def apply(self, edit: Edit) -> None:
        """Change what one directive says."""
        owner, directive = _named(edit.directive)
        if owner:
            there = self._lines_of(owner, directive)
            if there:
                _replace(there[-1], directive, edit)
            else:
                self._insert(self._last_of.get(owner, self._lines[-1]), owner, directive, edit)
        elif directive in TOP_LEVEL:
            there = self._lines_of("", directive)
            if there:
                _replace(there[-1], directive, edit)
            else:
                self._insert(self._last_default, "", directive, edit)
        elif directive in _ADDED_UP:
            self._insert(self._last_default, "", directive, edit)
        else:
            self._apply_to_all_panels(directive, edit)

    def _apply_to_all_panels(self, directive: str, edit: Edit) -> None:
        defaults = self._lines_of("", directive)
        own = [lines for name in self._panels if (lines := self._lines_of(name, directive))]
        for line in (*defaults, *(line for lines in own for line in lines)):
            _replace(line, directive, edit)
        if len(own) < len(self._panels) and not any(line.is_before_panels for line in defaults):
            self._insert(self._last_default, "", directive, edit)

    def _lines_of(self, owner: str, directive: str) -> list[_Line]:
        """The lines that say this, or what counts instead of it."""
        alike = next((names for names in _ALIKE if directive in names), (directive,))
        found = [line for name in sorted(alike) for line in self._of.get((owner, name), ())]
        return found if len(alike) == 1 else sorted(found, key=self._place)

    def _place(self, line: _Line) -> int:
        return self._lines.index(line) if line in self._lines else len(self._lines)

    def _insert(self, after: _Line, owner: str, directive: str, edit: Edit) -> None:
        name = f"{owner}/{directive}" if owner else directive
        new = _Line(f"{name} = {edit.value} ; {_one_line(edit.why)}", self._end, owner, directive, not owner)
        after.following.append(new)
        self._of.setdefault((owner, directive), []).append(new)
        self._last_of.setdefault(owner, after)

    def text(self, preface: Sequence[str]) -> str:
        """The whole file."""
        written = [f"; {_one_line(line)}{self._end}" for line in preface]
        for line in self._lines:
            written += [f"{each.text}{each.end}" for each in (line, *line.following)]
        return self._mark + "".join(written)


def _named(name: str) -> tuple[str, str]:
    """Owner, "" for the whole file, and directive."""
    owner, _, directive = ("", "", name) if "/" not in name else name.partition("/")
    return owner.strip(), directive.strip()


def _line(physical: str) -> _Line:
    text = physical.rstrip("\r\n")
    name, equals, _ = text.partition(";")[0].partition("=")
    owner, directive = _named(name) if equals else ("", "")
    return _Line(text, physical[len(text) :], owner, directive)


def _replace(line: _Line, directive: str, edit: Edit) -> None:
    name = f"{line.owner}/{directive}" if line.owner else directive
    line.text = f"{name} = {edit.value} ; {_one_line(edit.why)}; was: {line.text.strip()}"
    line.directive = directive


def _one_line(text: str) -> str:
    return " ".join(text.split())
