"""The command ``streamajig merge``: a quick look at the merged data of a stream."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stages.merging.crystals import Polarisation
    from stages.merging.merger import Merged, Merger
    from stages.merging.point_group import PointGroup
    from stages.merging.shells import Quality


def merge(  # noqa: PLR0913 - one parameter for each option of the command line
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
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
) -> None:
    """Look at the merged data of a stream: completeness, multiplicity, CC1/2, Rsplit and I/sigma in shells of resolution.

    The intensities' means over symmetry equivalents and crystals: each crystal scaled, and each reflection by the part of it
    that was recorded (or plain means, as process_hkl makes them, with --no-scale). Works on a stream that is still being
    written. It is a look, not a replacement for partialator.
    """
    from stages.merging.crystals import Polarisation
    from stages.merging.point_group import point_group
    from stages.merging.shells import quality

    group = point_group(symmetry)
    how = Polarisation.parse(polarisation)
    started = time.perf_counter()
    merger, counts = merge_streams(streams, group, how, scale=scale, partiality=partiality)
    merged = merger.merged()
    limits = {"d_min_angstrom": highres or None, "d_max_angstrom": lowres or None}
    found = quality(merged, num_shells=shells, min_measurements=min_measurements, **limits)
    counts["seconds"] = time.perf_counter() - started
    if output is not None and found.overall.measured:
        counts["written"] = _write(output, merged, space_group, least=max(2, min_measurements), **limits)
    if plot is not None and found.overall.measured:
        from stages.merging.output import plot as draw

        draw(plot, found, f"{', '.join(path.name for path in streams)}: {merger.num_crystals} crystals, {symmetry}")
    cell = _mean_cell(merged)
    if as_json:
        how_merged = {"symmetry": symmetry, "scaled": scale, "width_per_angstrom": merger.width, "cell": list(cell)}
        print(_as_json(counts | how_merged, found))  # noqa: T201 - this is the command's output
    else:
        _show(counts, found, f"{symmetry}, {merger.how if scale else 'not scaled'}", cell, output)


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
    quality = {"overall": found.overall.figures(), "shells": [shell.figures() for shell in found.shells]}
    return json.dumps(_plain(figures | quality), indent=2, allow_nan=False)


def merge_streams(
    streams: list[Path], group: PointGroup, polarisation: Polarisation, *, scale: bool, partiality: bool = True
) -> tuple[Merger, dict[str, Any]]:
    """Merge all crystals of some streams; return the merger, and what was counted."""
    from stages.merging.crystals import observe
    from stages.merging.merger import Merger
    from stages.merging.stream_crystals import StreamCrystals

    merger = Merger(group, partial=scale and partiality)
    kept, counts = [], {"chunks": 0, "hits": 0, "crystals": 0, "unreadable_rows": 0, "cut_streams": 0}
    counts.update(without_reflections=0, without_intensity=0)
    for path in streams:
        crystals = StreamCrystals(path)
        for crystal in crystals:
            counts["crystals"] += 1
            observed = observe(
                crystal.hkl,
                crystal.intensity,
                crystal.reciprocal_per_angstrom,
                crystal.photon_energy_ev,
                group,
                polarisation,
                crystal.centring,
            )
            if not len(observed):
                counts["without_reflections"] += 1
            elif not observed.has_signal:
                counts["without_intensity"] += 1
            elif scale:
                kept.append(observed)
            else:
                merger.add(observed)
        counts["chunks"] += crystals.num_chunks
        counts["hits"] += crystals.num_hits
        counts["unreadable_rows"] += crystals.num_unreadable
        counts["cut_streams"] += crystals.is_cut
    if kept:
        merger.add_together(kept)
    counts.update(merged=merger.num_crystals, not_scaled=merger.num_unscaled, left_out=merger.num_left_out)
    return merger, counts


def _show(counts: dict[str, Any], found: Quality, how: str, cell: tuple[float, ...], output: Path | None) -> None:
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


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
