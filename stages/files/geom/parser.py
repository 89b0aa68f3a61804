"""From the text of a geometry file to what it says, with every problem of the file named by line and directive.

The order of lines counts: a directive without a panel's name is the default of those panels that are first mentioned
after it. Groups alone may stand anywhere, as they are looked at last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline import UserError
from stages.files.geom.bad_regions import REGION_DIRECTIVES, RegionDraft
from stages.files.geom.directives import PANEL_DIRECTIVES, REQUIRED, PanelDraft, UnknownDirective
from stages.files.geom.model import GeometryFile, Group, Note, PlacedPanel
from stages.files.geom.text import BadValue, leading_number, suggestion
from stages.files.geom.units import ENERGY_UNITS, Quantity, energy_of, length_of
from stages.records.geometry import Panel

MAX_PIXELS = 1 << 30
"""Pixels of all panels together; a detector of 16 Mpixel has a sixty-fourth of it, and one flat panel for peaks without
an image may be 20000 pixels wide."""
MAX_LINE = 4096
"""Characters of a line without its comment; what has more is no geometry file."""
MAX_GROUP_MEMBERS = 64
MAX_STREAM_GEOMETRY = 1 << 20
SHOWN_PROBLEMS = 12
TOP_LEVEL = (*ENERGY_UNITS, "clen", "detector_shift_x", "detector_shift_y", "bandwidth", "peak_list", "peak_list_type")
"""Directives of the whole file; every one of a panel may stand there besides, and group_..., rigid_group..."""


def parse(text: str, filename: str = "geometry") -> GeometryFile:
    """Read the text of a geometry file; raises UserError with every problem (file, line, directive, what was wanted)."""
    return _read(text, filename).finish(text)


def peak_list_of(text: str) -> str:
    r"""Return the key of the peak list, "" if there is none; also of a file that :func:`parse` refuses for other directives.

    >>> peak_list_of("clen = 0.1 m ; no panels yet\npeak_list = found_peaks")
    'found_peaks'
    """
    return _read(text, "geometry").peak_list


def completed(text: str, energy_key: str, distance_key: str) -> str:
    """Return the text with lines for the photon energy (eV) and the camera length (m) at its end, each where it has none.

    The lines name keys of each frame's header. As in the file they stand in the stream, which so says where it had them from.

    >>> print(completed("photon_energy = 9000 eV", "incident_energy", "detector_distance"))
    photon_energy = 9000 eV
    clen = detector_distance m ; not in the file: what the sender says of the series
    """
    given = _read(text, "geometry").quantities
    lines = {"energy": f"photon_energy = {energy_key} eV", "clen": f"clen = {distance_key} m"}
    added = [
        f"{line} ; not in the file: what the sender says of the series"
        for name, line in lines.items()
        if name not in given
    ]
    return "\n".join([text.removesuffix("\n"), *added]) if added else text


def _read(text: str, filename: str) -> _Reading:
    """Take all lines of a file."""
    reading = _Reading(filename)
    lines = text.replace("\r", "\n").split("\n")
    if text.startswith("CrystFEL stream format"):
        raise UserError(
            f"{filename}: this is a stream, not a geometry file; the part between its geometry marks would be one"
        )
    if text.startswith("\ufeff"):
        lines[0] = lines[0].removeprefix("\ufeff")
        reading.note(1, "the file begins with a byte order mark, which other programs stumble over")
    if len(text) > MAX_STREAM_GEOMETRY:
        reading.note(
            0, f"the file has {len(text)} characters; programs that read streams take geometry files up to 1 MiB only"
        )
    for number, line in enumerate(lines, start=1):
        content = line.split(";", 1)[0].strip()
        if content:
            reading.line(number, content)
    return reading


@dataclass
class _Reading:
    """A file half read."""

    filename: str
    defaults: PanelDraft = field(default_factory=PanelDraft)
    panels: dict[str, PanelDraft] = field(default_factory=dict)
    regions: dict[str, RegionDraft] = field(default_factory=dict)
    quantities: dict[str, Quantity] = field(default_factory=dict)
    bandwidth: float = 1e-8
    peak_list: str = ""
    peak_list_type: str = "auto"
    group_lines: list[tuple[int, str, str]] = field(default_factory=list)
    unused_defaults: list[tuple[int, str]] = field(default_factory=list)
    understood: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    notes: dict[str, list[int]] = field(default_factory=dict)

    def line(self, number: int, content: str) -> None:
        """Take one line without its comment."""
        if len(content) > MAX_LINE:
            self.problems.append((number, f"the line has {len(content)} characters; at most {MAX_LINE} were expected"))
            return
        name, equals, value = (part.strip() for part in content.partition("="))
        if not equals:
            self.problems.append(
                (number, f"expected 'directive = value' or 'panel/directive = value', found {_quoted(content)}")
            )
            return
        if not value:
            self.problems.append((number, f"directive {name!r} has no value"))
            return
        owner, slash, directive = (part.strip() for part in name.partition("/"))
        try:
            if not slash:
                self._top_level(number, name, value)
            elif owner.startswith("bad"):
                self._bad_region(number, owner, directive, value)
            elif owner.startswith(("group", "rigid_group")) or not owner:
                self.problems.append(
                    (
                        number,
                        f"{_quoted(name)}: a panel's name may not be empty or begin with 'bad', 'group' or 'rigid_group'",
                    )
                )
            else:
                self._panel(number, owner, directive, value)
            self.understood += 1
        except BadValue as problem:
            self.problems.append((number, f"directive {name!r}: the value {_quoted(value)} {problem}"))

    def _top_level(self, number: int, name: str, value: str) -> None:
        if name in ENERGY_UNITS:
            self._once(number, "energy", energy_of(name, value))
        elif name in ("clen", "detector_shift_x", "detector_shift_y"):
            self._once(number, name, length_of(name, value))
        elif name == "peak_list":
            self.peak_list = value
        elif name == "peak_list_type":
            if value not in ("auto", "cxi", "list3"):
                raise BadValue(f"should be auto, cxi or list3{suggestion(value, ('auto', 'cxi', 'list3'))}")
            self.peak_list_type = value
        elif name == "bandwidth":
            self.bandwidth, rest = leading_number(value)
            if rest or not 0 <= self.bandwidth < 1:
                raise BadValue("should be a fraction of the wavelength, a number from 0 to 1, e.g. 0.001")
        elif name.startswith("rigid_group"):
            pass
        elif name.startswith("group_"):
            self.group_lines.append((number, name.removeprefix("group_"), value))
        else:
            try:
                self.defaults.read(name, value, self._noter(number))
            except UnknownDirective:
                known = (*TOP_LEVEL, *PANEL_DIRECTIVES)
                self.note(number, f"unknown directive {name!r} is ignored{suggestion(name, known)}")
                return
            self.unused_defaults.append((number, name))

    def _once(self, number: int, name: str, quantity: Quantity) -> None:
        before = self.quantities.get(name)
        if before is not None:
            self.note(number, f"{quantity.directive} replaces the {before.directive} given before")
        self.quantities[name] = quantity

    def _bad_region(self, number: int, name: str, directive: str, value: str) -> None:
        region = self.regions.setdefault(name, RegionDraft(name, number))
        try:
            region.read(directive, value)
        except KeyError:
            self.note(
                number,
                f"unknown directive {directive!r} of bad region {name} is ignored{suggestion(directive, REGION_DIRECTIVES)}",
            )

    def _panel(self, number: int, name: str, directive: str, value: str) -> None:
        if name not in self.panels:
            self.panels[name] = self.defaults.for_panel(name, number)
            self.unused_defaults.clear()
        try:
            self.panels[name].read(directive, value, self._noter(number))
        except UnknownDirective:
            if directive in TOP_LEVEL:
                hint = "; it concerns the whole file and stands without a panel's name"
            else:
                hint = suggestion(directive, PANEL_DIRECTIVES)
            self.note(number, f"unknown directive {directive!r} of a panel is ignored{hint}")

    def _noter(self, number: int) -> Callable[[str], None]:
        return lambda text: self.note(number, text)

    def note(self, number: int, text: str) -> None:
        """Keep what the file's author should know of a line."""
        self.notes.setdefault(text, []).append(number)

    def finish(self, text: str) -> GeometryFile:
        """Check the file as a whole and return what it says."""
        if not self.understood:
            first = next((found for _, found in self.problems), "it is empty but for comments")
            raise UserError(f"{self.filename}: this is not a geometry file: {first}")
        panels = self._finished_panels()
        clen = self.quantities.get("clen")
        if clen is None:
            self.problems.append(
                (
                    0,
                    "no directive 'clen' gives the camera length, e.g. 'clen = 0.12 m' or 'clen = detector_distance mm'",
                )
            )
        for number, name in self.unused_defaults if panels else ():
            self.problems.append(
                (
                    number,
                    f"directive {name!r} has no effect here: without a panel's name it holds for panels first mentioned later",
                )
            )
        regions = []
        if len(panels) == len(self.panels):
            for region in self.regions.values():
                try:
                    regions.append(region.finish(panels, self._noter(region.line)))
                except BadValue as problem:
                    self.problems.append((region.line, f"bad region {region.name} {problem}"))
        groups = self._groups()
        if self.problems:
            raise UserError(self._complaint())
        assert clen is not None
        return GeometryFile(
            text=text,
            filename=self.filename,
            panels=panels,
            energy=self.quantities.get("energy"),
            clen=clen,
            shift_x=self.quantities.get("detector_shift_x"),
            shift_y=self.quantities.get("detector_shift_y"),
            bandwidth=self.bandwidth,
            peak_list=self.peak_list,
            peak_list_type=self.peak_list_type,
            bad_regions=tuple(regions),
            groups=groups,
            warnings=self._collected_notes(),
        )

    def _finished_panels(self) -> tuple[PlacedPanel, ...]:
        if not self.panels:
            self.problems.append((0, "there is no panel; expected lines such as 'p0/min_fs = 0'"))
        finished = []
        for panel in self.panels.values():
            missing = panel.missing()
            if missing:
                others = [p.name for p in self.panels.values() if len(p.missing()) < len(missing)]
                hint = suggestion(panel.name, others) if len(missing) > len(REQUIRED) // 2 else ""
                self.problems.append((panel.line, f"panel {panel.name!r} lacks {', '.join(missing)}{hint}"))
                continue
            problems = panel.problems()
            self.problems += [(panel.line, f"panel {panel.name!r}: {problem}") for problem in problems]
            if problems:
                continue
            finished.append(panel.finish())
            if finished[-1].panel.num_pixels > MAX_PIXELS:
                self.problems.append(
                    (panel.line, f"panel {panel.name!r} has {_size(finished[-1].panel)}; {_TOO_LARGE}")
                )
            for mask in finished[-1].masks:
                if not mask.file:
                    self.note(
                        panel.line,
                        f"mask{mask.number}_data = {mask.data} is not used: it is in each frame's own file, and "
                        f"streamed frames bring no mask; mask{mask.number}_file would read it from a file",
                    )
        together = sum(placed.panel.num_pixels for placed in finished)
        if together > MAX_PIXELS and not self.problems:
            self.problems.append((0, f"the {len(finished)} panels have {together} pixels together; {_TOO_LARGE}"))
        return tuple(finished)

    def _groups(self) -> tuple[Group, ...]:
        known = list(self.panels)
        groups = []
        for number, name, value in self.group_lines:
            members = tuple(member.strip() for member in value.split(",") if member.strip())
            problem = ""
            unknown = [member for member in members if member not in known]
            if not members:
                problem = "has no members"
            elif name in known:
                problem = "has the name of a panel or of another group"
            elif len(members) > MAX_GROUP_MEMBERS:
                problem = f"has {len(members)} members; at most {MAX_GROUP_MEMBERS} are allowed"
            elif len(set(members)) < len(members):
                problem = "names a member twice"
            elif unknown:
                problem = f"names {unknown[0]!r}, which is no panel and no group defined before{suggestion(unknown[0], known)}"
            if problem:
                self.problems.append((number, f"directive 'group_{name}': the group {problem}"))
                continue
            known.append(name)
            groups.append(Group(name, members))
        return tuple(groups)

    def _collected_notes(self) -> tuple[Note, ...]:
        def told(text: str, lines: list[int]) -> Note:
            more = f" (and {len(lines) - 1} lines more like it)" if len(lines) > 1 else ""
            return Note(self.filename, lines[0], text + more)

        return tuple(sorted((told(text, lines) for text, lines in self.notes.items()), key=lambda note: note.line))

    def _complaint(self) -> str:
        ordered = sorted(self.problems)
        shown = [str(Note(self.filename, number, text)) for number, text in ordered[:SHOWN_PROBLEMS]]
        if len(ordered) > SHOWN_PROBLEMS:
            shown.append(f"{self.filename}: and {len(ordered) - SHOWN_PROBLEMS} problems more")
        return "\n".join(shown)


_TOO_LARGE = f"at most {MAX_PIXELS} pixels are taken: are min_fs, max_fs, min_ss and max_ss right?"


def _size(panel: Panel) -> str:
    return f"{panel.width} x {panel.height} = {panel.num_pixels} pixels"


def _quoted(text: str) -> str:
    return repr(text) if len(text) <= 60 else repr(text[:57] + "...")
