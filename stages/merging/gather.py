"""From streams to merged crystals: read, look at them, resolve an ambiguity, merge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import UserError
from stages.lattices.cell import Lattice, UnitCell
from stages.lattices.restrictions import could_be
from stages.merging.ambiguity import AUTO, NO_AMBIGUITY, Resolution, Settings, resolve, settings_of
from stages.merging.crystals import Observed, Polarisation, observe_in
from stages.merging.merger import ODD, Merger
from stages.merging.point_group import PointGroup
from stages.merging.reindexed import write_reindexed
from stages.merging.seen import Cells, Twice
from stages.merging.stream_crystals import StreamCrystals, StreamedCrystal


@dataclass(frozen=True)
class Asked:
    """How streams are to be merged.

    Attributes
    ----------
    ambiguity
        As :func:`stages.merging.ambiguity.settings_of` takes it; "" leaves crystals as they are indexed.
    """

    scale: bool = True
    partiality: bool = True
    ambiguity: str = ""
    keep_duplicates: bool = False
    all_cells: bool = False


@dataclass(frozen=True)
class Files:
    """What is written beside the merged data.

    Attributes
    ----------
    assignments
        The setting of each crystal that was merged, a number a line, as ambigator writes them.
    reindexed
        The crystals that were merged as a stream, each in the setting that was chosen for it.
    """

    assignments: Path | None = None
    reindexed: Path | None = None


NO_FILES = Files()


def merge_streams(
    streams: list[Path], group: PointGroup, polarisation: Polarisation, asked: Asked, files: Files = NO_FILES
) -> tuple[Merger, dict[str, Any], list[str]]:
    """Merge the crystals of some streams; return the merger, what was counted, and what else is to be said."""
    counts: dict[str, Any] = {"chunks": 0, "hits": 0, "crystals": 0, "unreadable_rows": 0, "cut_streams": 0}
    counts.update(without_reflections=0, without_intensity=0, other_cell=0, duplicates=0)
    read, cells, twice = _read(streams, counts, asked)
    if not counts["chunks"]:
        names = ", ".join(map(str, streams))
        raise UserError(f"{names}: no chunk, so there is nothing to merge: has the run written its first frame?")
    if not asked.all_cells:
        kept = cells.is_of_sample()
        counts["other_cell"] = int(np.count_nonzero(~kept))
        read = [one for one, is_kept in zip(read, kept, strict=True) if is_kept]
    remarks = [*cells.lines(group, merged_all=asked.all_cells), *twice.lines()]
    settings = _settings(asked.ambiguity, group, [crystal for _, crystal in read])
    observed, places = [], []
    for place, crystal in read:
        in_each = observe_in(
            settings.operations,
            crystal.hkl,
            crystal.intensity,
            crystal.reciprocal_per_angstrom,
            crystal.photon_energy_ev,
            group,
            polarisation,
            crystal.centring,
        )
        if not len(in_each[0]):
            counts["without_reflections"] += 1
        elif not in_each[0].has_signal:
            counts["without_intensity"] += 1
        else:
            observed.append(in_each)
            places.append(place)
    operations = [settings.operations[0]] * len(observed)
    chosen = [in_each[0] for in_each in observed]
    if len(settings) > 1:
        resolution = resolve(observed)
        remarks.append(resolution.in_words(settings))
        counts["ambiguity"] = _figures(resolution, settings)
        chosen = [in_each[s] for in_each, s in zip(observed, resolution.chosen.tolist(), strict=True)]
        operations = [settings.operations[s] for s in resolution.chosen]
        if files.assignments is not None:
            _write(files.assignments, resolution)
    if files.reindexed is not None:
        counts["reindexed"] = write_reindexed(streams, files.reindexed, dict(zip(places, operations, strict=True)))
    merger = _merged(chosen, group, asked)
    if merger.num_odd:
        remarks.append(
            f"{merger.num_odd} crystals have a cell unlike that of the others (a*, b* or c* differs by a factor of more than "
            f"{ODD**0.5:.1f} from the median): they are merged, and have no part in the mean cell"
        )
    counts.update(merged=merger.num_crystals, not_scaled=merger.num_unscaled, left_out=merger.num_left_out)
    return merger, counts, remarks


def _read(
    streams: list[Path], counts: dict[str, Any], asked: Asked
) -> tuple[list[tuple[int, StreamedCrystal]], Cells, Twice]:
    """Return the crystals, each with its place among all that the streams have."""
    kept, cells, twice = [], Cells(), Twice()
    for path in streams:
        twice.next_stream()
        read = StreamCrystals(path)
        for crystal in read:
            place = counts["crystals"]
            counts["crystals"] += 1
            if not (asked.keep_duplicates or twice.is_new(crystal)):
                counts["duplicates"] += 1
                continue
            star = crystal.reciprocal_per_angstrom
            spans = bool(np.isfinite(star).all()) and abs(float(np.linalg.det(star))) > 0.0
            real = np.linalg.inv(star).T if spans else np.full((3, 3), np.nan)
            cells.add(np.asarray(real, np.float64), crystal.centring)
            kept.append((place, crystal))
        counts["chunks"] += read.num_chunks
        counts["hits"] += read.num_hits
        counts["unreadable_rows"] += read.num_unreadable
        counts["cut_streams"] += read.is_cut
    return kept, cells, twice


def _settings(how: str, group: PointGroup, crystals: list[StreamedCrystal]) -> Settings:
    if not how:
        return NO_AMBIGUITY
    return settings_of(how, group, _cell(crystals) if how == AUTO else None)


def _cell(crystals: list[StreamedCrystal]) -> UnitCell | None:
    """The median cell, in the stream's axes, with the lattice type that its parameters have."""
    real = [
        np.linalg.inv(c.reciprocal_per_angstrom).T for c in crystals if np.isfinite(c.reciprocal_per_angstrom).all()
    ]
    if not real:
        return None
    metric = np.median([basis @ basis.T for basis in real], axis=0)
    plain = UnitCell.from_vectors(np.linalg.cholesky(metric), Lattice())
    found = could_be(plain)
    return UnitCell(*plain.parameters, Lattice(found.lattice_type, crystals[0].centring, found.unique_axis))


def _merged(crystals: list[Observed], group: PointGroup, asked: Asked) -> Merger:
    merger = Merger(group, partial=asked.scale and asked.partiality)
    if asked.scale:
        merger.add_together(crystals)
    else:
        for crystal in crystals:
            merger.add(crystal)
    return merger


def _figures(resolution: Resolution, settings: Settings) -> dict[str, Any]:
    return {
        "operators": list(settings.names),
        "turned": resolution.num_turned,
        "unsure": resolution.num_unsure,
        "correlation_as_chosen": resolution.as_chosen,
        "correlation_otherwise": resolution.otherwise,
    }


def _write(path: Path, resolution: Resolution) -> None:
    try:
        path.write_text("".join(f"{setting}\n" for setting in resolution.chosen), encoding="ascii")
    except OSError as error:
        raise UserError(f"cannot write the assignments to {path}: {error.strerror or error}") from error
