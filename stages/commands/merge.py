"""The command ``streamajig merge``: a quick look at the merged data of a stream."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stages.merging.merger import Merged
    from stages.merging.shells import Quality


def merge(  # noqa: PLR0913  # long: one parameter for each option of the command line
    streams: Annotated[
        list[Path], typer.Argument(metavar="STREAM...", help="Streams, finished or still being written.")
    ],
    symmetry: Annotated[
        str, typer.Option("--symmetry", "-y", metavar="GROUP", help="Point group: 4/mmm, mmm, 2/m_uab, -3m1_H, ...")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.mtz", help="Write the merged data there.")
    ] = None,
    highres: Annotated[
        float | None, typer.Option("--highres", metavar="A", min=0.0, help="High resolution limit in Angstrom.")
    ] = None,
    lowres: Annotated[
        float | None, typer.Option("--lowres", metavar="A", min=0.0, help="Low resolution limit in Angstrom.")
    ] = None,
    shells: Annotated[int, typer.Option("--shells", min=1, max=1000, metavar="N", help="Shells of resolution.")] = 10,
    scale: Annotated[
        bool, typer.Option("--scale/--no-scale", help="Put crystals on a common scale, or take plain means.")
    ] = True,
    partiality: Annotated[
        bool,
        typer.Option(
            "--partiality/--no-partiality",
            help="Scale reflections too, by how far off the Ewald sphere they are (not with --no-scale).",
        ),
    ] = True,
    polarisation: Annotated[
        str, typer.Option("--polarisation", metavar="HOW", help="As process_hkl: horiz, vert, none, 45deg90.")
    ] = "horiz",
    min_measurements: Annotated[
        int, typer.Option("--min-measurements", min=1, metavar="N", help="Merge what has been measured so often.")
    ] = 2,
    space_group: Annotated[
        str, typer.Option("--space-group", metavar="NAME", help="For the MTZ file, e.g. 'P 43 21 2'.")
    ] = "",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the shells' figures of merit.")
    ] = None,
    ambiguity: Annotated[
        bool,
        typer.Option("--ambiguity", help="Resolve the indexing ambiguity that follows from point group and cell."),
    ] = False,
    operator: Annotated[
        str,
        typer.Option(
            "--operator", metavar="H,K,L", help="Resolve the ambiguity of this operator, as ambigator: k,h,-l."
        ),
    ] = "",
    apparent: Annotated[
        str,
        typer.Option(
            "-w", metavar="GROUP", help="Resolve the ambiguity of a lattice that seems to have this symmetry."
        ),
    ] = "",
    write_assignments: Annotated[
        Path | None,
        typer.Option(
            "--write-assignments", metavar="FILE", help="Write the setting of each crystal there, a number a line."
        ),
    ] = None,
    write_stream: Annotated[
        Path | None,
        typer.Option(
            "--write-stream",
            metavar="FILE",
            help="Write the crystals that were merged as a stream, each in its setting, for partialator.",
        ),
    ] = None,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Merge crystals that are there twice as often as they are there.")
    ] = False,
    all_cells: Annotated[
        bool, typer.Option("--all-cells", help="Merge crystals of other cells than most have, too.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a plot or assignments that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
) -> None:
    """Look at the merged data of a stream: completeness, multiplicity, CC1/2, Rsplit and I/sigma in shells of resolution.

    The intensities' means over symmetry equivalents and crystals: each crystal scaled, and each reflection by the part of it
    that was recorded (or plain means, as process_hkl makes them, with --no-scale). Works on a stream that is still being
    written, compressed (gzip), or comes on standard input (-). It is a look, not a replacement for partialator.

    It says what it sees: crystals of another cell than most have, which it leaves out, and crystals that are there twice;
    a point group that the cells contradict. An indexing ambiguity is resolved if asked for (--ambiguity, --operator, -w).
    """
    from pipeline import UserError
    from pipeline.paths import ask_before_overwriting, by_option, is_there, keep_apart
    from stages.merging.ambiguity import AUTO
    from stages.merging.crystals import Polarisation
    from stages.merging.gather import Asked, Files, merge_streams
    from stages.merging.point_group import point_group
    from stages.merging.shells import quality

    if sum(map(bool, (ambiguity, operator, apparent))) > 1:
        raise UserError("give one of --ambiguity, --operator and -w: each says which settings there are")
    if write_assignments is not None and not (ambiguity or operator or apparent):
        raise UserError("--write-assignments writes settings: ask for them with --ambiguity, --operator or -w")
    beside = by_option(plot=plot, write_assignments=write_assignments, write_stream=write_stream)
    keep_apart(by_option(stream=streams), [*by_option(output=output), *beside])
    ask_before_overwriting(beside, force)
    group = point_group(symmetry)
    how = Polarisation.parse(polarisation)
    wanted = operator or apparent or (AUTO if ambiguity else "")
    asked = Asked(scale, partiality, wanted, keep_duplicates, all_cells)
    started = time.perf_counter()
    merger, counts, remarks = merge_streams(streams, group, how, asked, Files(write_assignments, write_stream))
    merged = merger.merged()
    limits = {"d_min_angstrom": highres or None, "d_max_angstrom": lowres or None}
    found = quality(merged, num_shells=shells, min_measurements=min_measurements, **limits)
    counts["seconds"] = time.perf_counter() - started
    if output is not None and found.overall.measured:
        if is_there(output):
            logging.getLogger("streamajig.merge").info("%s is there, and is written over", output)
        counts["written"] = _write(output, merged, space_group, least=max(2, min_measurements), **limits)
    if plot is not None and found.overall.measured:
        from stages.merging.output import plot as draw

        draw(plot, found, f"{', '.join(path.name for path in streams)}: {merger.num_crystals} crystals, {symmetry}")
    cell = _mean_cell(merged)
    if as_json:
        how_merged = {"symmetry": symmetry, "scaled": scale, "width_per_angstrom": merger.width, "cell": list(cell)}
        print(_as_json(counts | how_merged | {"remarks": remarks}, found))  # noqa: T201 - this is the command's output
    else:
        _show(counts, remarks, found, f"{symmetry}, {merger.how if scale else 'not scaled'}", cell, output)


def _write(
    path: Path,
    merged: Merged,
    space_group: str,
    *,
    least: int,
    d_min_angstrom: float | None,
    d_max_angstrom: float | None,
) -> int:
    """Write what has been measured at least so often between two resolutions; return how many reflections that are."""
    from stages.merging.output import space_group_of, write_mtz

    s = merged.inverse_d_per_angstrom
    inside = (merged.count >= least) & (s <= 1 / d_min_angstrom if d_min_angstrom else s > 0)
    inside &= s >= 1 / d_max_angstrom if d_max_angstrom else s > 0
    return write_mtz(path, merged, inside, space_group_of(merged, space_group))


def _mean_cell(merged: Merged) -> tuple[float, ...]:
    """a, b, c in Angstrom, alpha, beta, gamma in degrees; NaN without crystals."""
    from stages.merging.output import mean_cell

    return tuple(mean_cell(merged).parameters) if merged.num_crystals else (math.nan,) * 6


def _as_json(figures: dict[str, Any], found: Quality) -> str:
    from pipeline.jsonable import jsonable

    quality = {"overall": found.overall.figures(), "shells": [shell.figures() for shell in found.shells]}
    return json.dumps(jsonable(figures | quality), indent=2, allow_nan=False)


def _show(
    counts: dict[str, Any], remarks: list[str], found: Quality, how: str, cell: tuple[float, ...], output: Path | None
) -> None:
    from rich.console import Console
    from rich.table import Table

    from stages.merging.tables import CAVEAT, HEADINGS, shell_rows

    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(
        f"{counts['chunks']} chunks, {counts['hits']} hits, {counts['crystals']} crystals; {counts['merged']} merged over "
        f"{how}, in {counts['seconds']:.2f} s"
    )
    for key, text in _REMARKS.items():
        if counts[key]:
            console.print(f"{counts[key]} {text}")
    for line in remarks:
        console.print(line, markup=False)
    if not found.overall.measured:
        console.print("nothing was measured twice, so there is nothing to show")
        return
    console.print("mean cell: {:.2f} {:.2f} {:.2f} A, {:.2f} {:.2f} {:.2f} deg".format(*cell))
    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    rows = shell_rows(found)
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1])
    console.print(table)
    if "reindexed" in counts:
        console.print(f"{counts['reindexed']} crystals written as a stream")
    if output is not None:
        console.print(f"{counts['written']} reflections written to {output}")
    console.print(CAVEAT)


_TABLE_WIDTH = 100

_REMARKS = {
    "cut_streams": "streams end within a chunk, which is left out",
    "without_reflections": "crystals have no reflections",
    "without_intensity": "crystals have no intensity but 0 (a run without pixels)",
    "not_scaled": "crystals left out: too little in common with the others to scale them",
    "left_out": "reflections left out: not finite, or no sensible indices",
    "unreadable_rows": "rows of reflection lists that cannot be read",
}
