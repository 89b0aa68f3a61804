"""live/cells: the cell on which the crystals of a run agree, while they are found."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, Findings, Frame, Outcome, UserError, stage
from stages.files.cell import TargetCell, cell_text
from stages.lattices.cell import UnitCell, agree, impose_bravais, primitive
from stages.lattices.setting import Setting, is_reduced, reduced_primitive
from stages.live._clusters import Cluster, Clusters
from stages.live._consensus import Consensus, cell_in_words, figures, lattice_in_words, numbers, off, rounded
from stages.live._shifts import Shift, Shifts, figures_of, said_of, shifts_of
from stages.live._symmetry import conventional
from stages.merging.tables import percent, text_table
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit
from stages.records.told import AgreedCell

MARK = "; found by streamajig"
"""Stands in the cell files that are written here, and says that they may be overwritten."""

_FIRST_LOOK = 10
_FEWEST = 3
"""Crystals without which there is no consensus to speak of."""

_SHARE = 0.5
_CHANGE = (0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
"""A consensus that has moved by more than this, in percent and degrees, is posted again."""

_SAME_LATTICE = (12.0, 12.0, 12.0, 6.0, 6.0, 6.0)
"""Up to here, in percent and degrees, a consensus is the target's lattice with another cell; beyond it is another one."""

_ELSEWHERE_LOUD = (5, 0.2)
"""So many hits, and such a part of those looked at, that fit another cell better are worth a warning while the run goes on."""

_NAMES = ("a", "b", "c", "al", "be", "ga")


@stage("live/cells", uses=(TargetCell,), posts=(AgreedCell,))
class Cells:
    """Gather the cells of all crystals, and say on which they agree: mean, spread, Bravais type, and what else there is.

    Each crystal's cell is made primitive and reduced. Cells that differ by no more than `length_percent` and `angle_deg` in
    each length and angle are a cluster, whatever the basis in which they were found. The largest is the consensus: its mean
    without outliers (4 times 1.4826 times the median absolute deviation), the spread of single crystals and the error of the
    mean. Without a target cell its Bravais type is the highest whose symmetry the mean obeys within the spread of single
    crystals, and the mean is given in that type's conventional axes. With a target (``-p``) it is given in the target's axes,
    and the report says by how much it is off. Other clusters are named with their share.

    The consensus is stable when `agreeing` crystals, more than half of all, agree, and the Bravais type has been the same
    twice. It is then written to `path` as a unit cell file, and posted on the run's noticeboard, where index/auto reads it. A
    file of that name which streamajig has not written is never overwritten.

    If the indexing with a target looks for better lattices (index/pairs, `verify`), the report counts the hits that are of
    another cell than the given one, and says which.

    Crystals have the shift of the detector with which they were found (``det_shift``). Where most of them agree on one of a
    pixel or more the report says so, and so it does where hits were explained with a shift and not one crystal came of them.

    The node comes after the last one that changes crystals, beside the stream's sink (``after:``). Its clusters are those that
    a user of cell_explorer would mark with the mouse.
    """

    path: Path | None = Field(default=None, description="Write the consensus there as a CrystFEL unit cell file.")
    agreeing: int = Field(default=25, ge=_FEWEST, description="The consensus is stable with so many crystals.")
    length_percent: float = Field(default=3.0, gt=0, le=10, description="Lengths of one lattice differ by no more.")
    angle_deg: float = Field(default=2.0, gt=0, le=10, description="Angles of one lattice differ by no more.")
    in_order: bool = Field(
        default=True, description="Take crystals in the order of their frames: the same in every run."
    )

    reads: ClassVar[tuple[type, ...]] = (Crystals,)

    def open(self, context: Context) -> RunningCells:
        """Return what takes the cells out of a frame."""
        return RunningCells(_target(context))

    def open_writer(self, context: Context) -> CellsWriter:
        """Return what gathers."""
        if self.path is not None:
            _check_path(self.path)
        return CellsWriter(self, context)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a hit has to say of cells.

    Attributes
    ----------
    reduced
        Reduced primitive basis of each crystal, float64 (3, 3).
    methods
        Which method found each.
    elsewhere
        Reduced primitive bases of lattices that fit better than the target.
    num_verified
        Whether it was looked for such.
    shifts, unused_shift
        Shift of the detector of each crystal, and the one of a lattice of which no crystal came.
    """

    reduced: tuple[NDArray[np.float64], ...]
    methods: tuple[str, ...]
    elsewhere: tuple[NDArray[np.float64], ...]
    num_verified: int
    shifts: tuple[Shift, ...] = ()
    unused_shift: Shift | None = None


class RunningCells:
    """Takes the cells out of a frame; a crystal in the axes of the target needs no reduction."""

    def __init__(self, target: UnitCell | None) -> None:
        self._lattice = target.lattice if target is not None else None
        self._to_primitive = np.linalg.inv(primitive(target).to_conventional) if target is not None else np.eye(3)

    def _reduced(self, crystal: Crystal) -> NDArray[np.float64]:
        if crystal.lattice == self._lattice:
            basis = self._to_primitive @ crystal.real_space_angstrom
            if is_reduced(basis):
                return basis
        return reduced_primitive(crystal.real_space_angstrom, crystal.lattice)

    def __call__(self, outcome: Outcome) -> Seen | None:
        """Return the frame's cells; None for what is not a hit."""
        if not isinstance(outcome, Frame):
            return None
        hit = outcome.get(Hit)
        if hit is not None and not hit.is_hit:
            return None
        crystals = outcome[Crystals]
        return Seen(
            tuple(map(self._reduced, crystals)),
            tuple(c.indexed_by for c in crystals),
            tuple(reduced_primitive(cell.real_space_angstrom, cell.lattice) for cell in crystals.elsewhere),
            crystals.num_verified,
            *shifts_of(crystals, outcome.get(DetGeom)),
        )


class CellsWriter:
    """Gathers cells, and looks at them now and then."""

    def __init__(self, stage: Cells, context: Context) -> None:
        self._stage = stage
        self._board = context.board
        self._log = context.log
        self._target = _target(context)
        self._found = Clusters(stage.length_percent, stage.angle_deg)
        self._elsewhere = Clusters(stage.length_percent, stage.angle_deg)
        self._methods: Counter[str] = Counter()
        self._num_hits = self._num_indexed = self._num_verified = self._num_elsewhere = 0
        self._next_look = _FIRST_LOOK
        self._shifts, self._unused_shifts = Shifts(), Shifts()
        self._last: Consensus | None = None
        self._posted: UnitCell | None = None
        self._written = False
        self._warned = False

    def write(self, encoded: Seen) -> None:
        """Gather the cells of one hit."""
        self._num_hits += 1
        self._num_indexed += bool(encoded.reduced)
        self._num_verified += encoded.num_verified > 0
        self._num_elsewhere += bool(encoded.elsewhere)
        self._methods.update(encoded.methods)
        self._shifts.add(encoded.shifts)
        self._unused_shifts.add([] if encoded.unused_shift is None else [encoded.unused_shift])
        for basis in encoded.reduced:
            self._found.add(basis)
        for basis in encoded.elsewhere:
            self._elsewhere.add(basis)
        if self._found.num_crystals >= self._next_look:
            self._look()
        if encoded.elsewhere and not self._warned and self._is_loud():
            self._warned = True
            self._log.warning("%s", self._not_this_cell()[0])

    def status(self) -> str:
        """The consensus in a few words."""
        if self._last is None:
            return ""
        return f"cell {cell_in_words(self._last.cell)} of {self._last.mean.num_crystals} crystals"

    def findings(self) -> Findings:
        """The whole account; the cell file is written here for the last time."""
        consensus = self._consensus(self._main())
        if consensus is not None and self._stage.path is not None:
            self._write_file(consensus)
        lines = self._lines(consensus)
        return Findings("\n".join(lines), self._figures(consensus))

    def close(self) -> None:
        """Nothing is open."""

    # --- the consensus ----------------------------------------------------------------------------------------------

    def _main(self) -> Cluster | None:
        ranked = self._found.ranked()
        return ranked[0] if ranked and len(ranked[0]) >= _FEWEST else None

    def _consensus(self, cluster: Cluster | None) -> Consensus | None:
        if cluster is None:
            return None
        mean = cluster.mean()
        target = self._target
        if target is not None:
            reduced = primitive(target)
            change, _ = Setting.of(reduced.real_space_angstrom).find(mean.basis)
            in_axes = cluster.mean(reduced.to_conventional @ change)
            if agree(_cell(in_axes.basis, target), target, _SAME_LATTICE):
                cell = UnitCell.from_vectors(impose_bravais(in_axes.basis, target.lattice), target.lattice)
                return Consensus(cell, in_axes, is_of_target=True)
        lattice, in_axes = conventional(cluster)
        cell = UnitCell.from_vectors(impose_bravais(in_axes.basis, lattice), lattice)
        return Consensus(cell, in_axes, is_of_target=False)

    def _look(self) -> None:
        n = self._found.num_crystals
        self._next_look = n + max(5, n // 10)
        before, self._last = self._last, self._consensus(self._main())
        now = self._last
        if now is None or before is None or now.cell.lattice != before.cell.lattice:
            return
        if now.mean.num_crystals < self._stage.agreeing or now.mean.num_crystals <= _SHARE * n:
            return
        self._post(now)
        if self._stage.path is not None:
            self._write_file(now)

    def _post(self, consensus: Consensus) -> None:
        last = self._posted
        cell = consensus.cell
        if last is not None and last.lattice == cell.lattice and agree(cell, last, _CHANGE):
            return
        self._posted = cell
        self._board.post(AgreedCell(cell))
        self._log.info(
            "%d of %d crystals agree on the cell %s", consensus.mean.num_crystals, self._found.num_crystals, cell
        )

    def _write_file(self, consensus: Consensus) -> None:
        assert self._stage.path is not None
        mark = f"{MARK} in {consensus.mean.num_crystals} of {self._found.num_crystals} crystals"
        first, _, rest = cell_text(consensus.cell).partition("\n")
        path = self._stage.path
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_text(f"{first}\n{mark}\n{rest}", encoding="utf-8")
            beside.replace(path)  # a reader sees the old file or the new one, never half of one
        except OSError as error:
            raise UserError(f"cannot write the cell file {path}: {error.strerror or error}") from error
        self._written = True

    # --- what is said -----------------------------------------------------------------------------------------------

    def _lines(self, consensus: Consensus | None) -> list[str]:
        n = self._found.num_crystals
        if consensus is None:
            lines = [f"{n} crystals, too few that agree to speak of a cell"]
        else:
            share = percent(consensus.mean.num_crystals / n)
            lines = [
                f"{consensus.mean.num_crystals} of {n} crystals ({share}) agree on {lattice_in_words(consensus.cell)}"
            ]
            lines += self._table(consensus)
            lines += self._beside_target(consensus)
        lines += self._alternatives()
        if len(self._methods) > 1:
            lines.append("found by " + ", ".join(f"{method} {n}" for method, n in sorted(self._methods.items())))
        lines += self._not_this_cell()
        lines += said_of(self._shifts, self._unused_shifts)
        if self._written:
            lines.append(f"the cell is in {self._stage.path}")
        return lines

    def _table(self, consensus: Consensus) -> list[str]:
        rows = [
            ("cell", *numbers(consensus.cell, 3)),
            ("error", *rounded(consensus.mean.error)),
            ("spread", *rounded(consensus.mean.spread)),
        ]
        if consensus.is_of_target and self._target is not None:
            rows.append(("off", *off(consensus.cell, self._target)))
        return text_table(("", *_NAMES), rows)

    def _beside_target(self, consensus: Consensus) -> list[str]:
        if self._target is None or consensus.is_of_target:
            return []
        return [f"this is NOT the given cell, {cell_in_words(self._target)}"]

    def _alternatives(self) -> list[str]:
        n = self._found.num_crystals
        others = [cluster for cluster in self._found.ranked()[1:] if len(cluster) >= _FEWEST][:3]
        lines = []
        for cluster in others:
            found = self._consensus(cluster)
            assert found is not None
            lines.append(f"besides: {len(cluster)} ({percent(len(cluster) / n)}) {cell_in_words(found.cell)}")
        main = self._main()
        scattered = n - sum(map(len, others)) - (len(main) if main is not None else 0)
        if scattered and main is not None:
            lines.append(f"besides: {scattered} ({percent(scattered / n)}) that agree with few others or none")
        return lines

    def _is_loud(self) -> bool:
        least, part = _ELSEWHERE_LOUD
        return self._num_elsewhere >= least and self._num_elsewhere >= part * self._num_verified

    def _not_this_cell(self) -> list[str]:
        if not self._num_elsewhere:
            return []
        target = f", {cell_in_words(self._target)}" if self._target is not None else ""
        line = (
            f"NOT THIS CELL: of {self._num_verified} hits in which another lattice was looked for, {self._num_elsewhere} do "
            f"not fit the given cell{target}, and fit another"
        )
        ranked = self._elsewhere.ranked()
        if ranked and len(ranked[0]) >= _FEWEST:
            found = self._consensus(ranked[0])
            assert found is not None
            line += f"; {len(ranked[0])} of them fit {cell_in_words(found.cell)}"
        return [line]

    def _figures(self, consensus: Consensus | None) -> dict[str, Any]:
        return {
            "hits": self._num_hits,
            "indexed": self._num_indexed,
            "crystals": self._found.num_crystals,
            "methods": dict(self._methods),
            "consensus": figures(consensus),
            "is_stable": self._posted is not None,
            "alternatives": [
                figures(self._consensus(cluster)) for cluster in self._found.ranked()[1:6] if len(cluster) >= _FEWEST
            ],
            "detector_shift": figures_of(self._shifts, self._unused_shifts),
            "verified": self._num_verified,
            "elsewhere": self._num_elsewhere,
            "elsewhere_cells": [
                figures(self._consensus(cluster)) for cluster in self._elsewhere.ranked()[:5] if len(cluster) >= _FEWEST
            ],
            "path": str(self._stage.path) if self._written else None,
        }


def _target(context: Context) -> UnitCell | None:
    """The target cell that a stage upstream has published."""
    target = context.upstream.get(TargetCell)
    return target.cell if target is not None else None


def _check_path(path: Path) -> None:
    """Refuse to overwrite a cell file that somebody has made."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"cannot write the cell file {path}: {error.strerror}") from error
    if not any(line.startswith(MARK) for line in text.splitlines()[:3]):
        raise UserError(
            f"{path} is there, and streamajig has not written it: the found cell is not written over it; move it away, use it "
            "(-p), or write to another place"
        )


def _cell(basis: NDArray[np.float64], like: UnitCell) -> UnitCell:
    return UnitCell.from_vectors(basis, like.lattice)
