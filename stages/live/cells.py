"""live/cells: the cell on which the crystals of a run agree, while they are found."""

from __future__ import annotations

from array import array
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, Findings, stage
from stages.files.cell import TargetCell, cell_text
from stages.files.own_file import check_own, write_own
from stages.lattices.cell import UnitCell, agree, impose_bravais, primitive
from stages.lattices.clusters import Cluster, Clusters
from stages.lattices.restrictions import nearly_in_words
from stages.lattices.setting import Setting
from stages.live._cells_now import CellsNow
from stages.live._consensus import (
    Consensus,
    cell_in_words,
    common_factor_of,
    distance_in_words,
    figures,
    lattice_in_words,
    numbers,
    off,
    rounded,
)
from stages.live._seen import RunningCells, Seen
from stages.live._superlattice import Indices
from stages.live._symmetry import conventional
from stages.merging.tables import percent, text_table
from stages.records.crystal import Crystals
from stages.records.displacement import Displacement
from stages.records.geometry import DetGeom
from stages.records.peaklist import FEWEST_TO_INDEX, Hit, PeakList
from stages.records.told import AgreedCell, GivenLattice

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

_LOUD = (5, 0.2)
"""So many hits, and such a part of those looked at, that fit another cell better are worth a warning while the run goes on."""

_MANY_SMALL = 0.1
"""Such a part of the hits with too few peaks is worth a line in the report."""

_NAMES = ("a", "b", "c", "al", "be", "ga")


@stage("live/cells", uses=(TargetCell, GivenLattice), posts=(AgreedCell,))
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
    another cell than the given one, and says which. Where all axes are longer or shorter by one factor, it is the distance that
    is wrong, or the wavelength, and the report says so, here and of the consensus.

    A cell that is too large explains everything and agrees with everything; but of its indices many never occur, since l is
    always even, say. Which conditions the indices of the peaks obey is asked of the first 200 crystals in each replica, and of
    one in 10 after that. If 70 % of them obey the same ones, the report says which, and what the smaller cell is.

    Beside a Bravais type stands which higher ones the cell nearly has, and by how much lengths and angles miss them. Hits with
    fewer than 6 peaks, which are never indexed, are counted; if they are a tenth of all, the report says so.

    The node comes after the last one that changes crystals, beside the stream's sink (``after:``). Its clusters are those that
    a user of cell_explorer would mark with the mouse.
    """

    path: Path | None = Field(default=None, description="Write the consensus there as a CrystFEL unit cell file.")
    force: bool = Field(default=False, description="Write over a file that streamajig has not written (--force).")
    agreeing: int = Field(default=25, ge=_FEWEST, description="The consensus is stable with so many crystals.")
    length_percent: float = Field(default=3.0, gt=0, le=10, description="Lengths of one lattice differ by no more.")
    angle_deg: float = Field(default=2.0, gt=0, le=10, description="Angles of one lattice differ by no more.")
    in_order: bool = Field(
        default=True, description="Take crystals in the order of their frames: the same in every run."
    )

    reads: ClassVar[tuple[type, ...]] = (Crystals,)
    may_read: ClassVar[tuple[type, ...]] = (Hit, DetGeom, PeakList)

    def open(self, context: Context) -> RunningCells:
        """Return what takes the cells out of a frame."""
        return RunningCells(_target(context))

    def open_writer(self, context: Context) -> CellsWriter:
        """Return what gathers."""
        if self.path is not None:
            check_own(
                self.path, MARK, "the found cell", "move it away, use it (-p), or write to another place", self.force
            )
        return CellsWriter(self, context)


class CellsWriter:
    """Gathers cells, and looks at them now and then."""

    def __init__(self, stage: Cells, context: Context) -> None:
        self._stage = stage
        self._board = context.board
        self._log = context.log
        self._target = _target(context)
        given = context.upstream.get(GivenLattice)
        self._given = given.lattice if given is not None else None
        self._found = Clusters(stage.length_percent, stage.angle_deg)
        self._elsewhere = Clusters(stage.length_percent, stage.angle_deg)
        self._methods: Counter[str] = Counter()
        self._indices = Indices()
        self._factors: array[float] = array("d")
        self._num_hits = self._num_indexed = self._num_verified = self._num_elsewhere = self._num_small = 0
        self._next_look = _FIRST_LOOK
        self._displacement, self._num_before = Displacement(), 0
        self._last: Consensus | None = None
        self._posted: UnitCell | None = None
        self._written = False
        self._warned: set[str] = set()
        self._now = CellsNow(self._consensus)

    def write(self, encoded: Seen) -> None:
        """Gather the cells of one hit."""
        if encoded.displacement != self._displacement:
            self._begin_anew(encoded.displacement)
        self._num_hits += 1
        self._num_indexed += bool(encoded.reduced)
        self._num_verified += encoded.num_verified > 0
        self._num_elsewhere += bool(encoded.elsewhere)
        self._num_small += encoded.is_small
        self._factors.extend(encoded.factors)
        for said in encoded.obeyed:
            self._indices.add(said)
        self._methods.update(encoded.methods)
        for basis in encoded.reduced:
            self._found.add(basis)
        for basis in encoded.elsewhere:
            self._elsewhere.add(basis)
        if self._found.num_crystals >= self._next_look:
            self._look()
        if encoded.elsewhere and self._is_loud(self._num_elsewhere):
            self._warn_once("cell", self._not_this_cell())
        if encoded.factors and self._is_loud(len(self._factors)):
            self._warn_once("distance", self._not_this_distance())

    def _begin_anew(self, displacement: Displacement) -> None:
        """Forget cells that were found with the detector elsewhere: they are off by as much as the detector was."""
        self._displacement = displacement
        self._num_before += self._found.num_crystals
        self._found, self._elsewhere = (Clusters(self._stage.length_percent, self._stage.angle_deg) for _ in range(2))
        self._factors = array("d")
        self._num_verified = self._num_elsewhere = 0
        self._next_look = _FIRST_LOOK
        self._last = self._posted = None

    def status(self) -> str:
        """The consensus in a few words."""
        if self._last is None:
            return ""
        return f"cell {cell_in_words(self._last.cell)} of {self._last.mean.num_crystals} crystals"

    def figures_now(self) -> dict[str, Any]:
        """The consensus of the last look, and the cells beside it."""
        told = self._now.figures(self._last, self._found, self._elsewhere, self._not_this_cell)
        return {**told, "is_stable": self._posted is not None}

    def findings(self) -> Findings:
        """The whole account; the cell file is written here for the last time."""
        consensus = self._last = self._consensus(self._main())
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
        lattice, in_axes = conventional(cluster, self._given)
        cell = UnitCell.from_vectors(impose_bravais(in_axes.basis, lattice), lattice)
        return Consensus(cell, in_axes, is_of_target=False)

    def _look(self) -> None:
        n = self._found.num_crystals
        self._next_look = n + max(5, n // 10)
        self._warn_once("indices", self._missing_indices())
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
            "%d of %d crystals agree on the cell %s%s",
            consensus.mean.num_crystals,
            self._found.num_crystals,
            cell,
            nearly_in_words(cell),
        )

    def _write_file(self, consensus: Consensus) -> None:
        assert self._stage.path is not None
        mark = f"{MARK} in {consensus.mean.num_crystals} of {self._found.num_crystals} crystals"
        first, _, rest = cell_text(consensus.cell).partition("\n")
        path = self._stage.path
        write_own(path, f"{first}\n{mark}\n{rest}", "the cell file")
        self._written = True

    # --- what is said -----------------------------------------------------------------------------------------------

    def _lines(self, consensus: Consensus | None) -> list[str]:
        n = self._found.num_crystals
        if consensus is None:
            lines = [f"{n} crystals, too few that agree to speak of a cell"]
        else:
            share = percent(consensus.mean.num_crystals / n)
            words = lattice_in_words(consensus.cell) + nearly_in_words(consensus.cell)
            lines = [f"{consensus.mean.num_crystals} of {n} crystals ({share}) agree on {words}"]
            lines += self._table(consensus)
            lines += self._beside_target(consensus)
        if self._num_before:
            lines.append(f"cells of {self._num_before} crystals from before the detector was followed are left out")
        lines += self._alternatives()
        if len(self._methods) > 1:
            lines.append("found by " + ", ".join(f"{method} {n}" for method, n in sorted(self._methods.items())))
        lines += self._not_this_cell() + self._not_this_distance() + self._missing_indices() + self._too_few_peaks()
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
        if self._target is None:
            return []
        if not consensus.is_of_target:
            return [f"this is NOT the given cell, {cell_in_words(self._target)}"]
        factor = common_factor_of(consensus, self._target)
        return [] if factor is None else [f"the cell is {distance_in_words(factor)}"]

    def _alternatives(self) -> list[str]:
        n = self._found.num_crystals
        others = [cluster for cluster in self._found.ranked()[1:] if len(cluster) >= _FEWEST][:3]
        lines = []
        for cluster in others:
            found = self._consensus(cluster)
            assert found is not None
            words = cell_in_words(found.cell) + nearly_in_words(found.cell)
            lines.append(f"besides: {len(cluster)} ({percent(len(cluster) / n)}) {words}")
        main = self._main()
        scattered = n - sum(map(len, others)) - (len(main) if main is not None else 0)
        if scattered and main is not None:
            lines.append(f"besides: {scattered} ({percent(scattered / n)}) that agree with few others or none")
        return lines

    def _is_loud(self, num: int) -> bool:
        least, part = _LOUD
        return num >= least and num >= part * self._num_verified

    def _warn_once(self, what: str, lines: list[str]) -> None:
        """Say something while the run goes on; once, it stands in the report anyway."""
        if lines and what not in self._warned:
            self._warned.add(what)
            self._log.warning("%s", lines[0])

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
            line += f"; {len(ranked[0])} of them fit {cell_in_words(found.cell)}{nearly_in_words(found.cell)}"
        return [line]

    def _not_this_distance(self) -> list[str]:
        if not self._factors:
            return []
        return [
            f"NOT THIS DISTANCE: of {self._num_verified} hits in which another lattice was looked for, {len(self._factors)} "
            f"fit the given cell if it is {distance_in_words(float(np.median(self._factors)))}"
        ]

    def _missing_indices(self) -> list[str]:
        missing = self._indices.missing()
        return [] if missing is None else [str(missing)]

    def _too_few_peaks(self) -> list[str]:
        if not self._num_small or self._num_small < _MANY_SMALL * self._num_hits:
            return []
        return [
            f"{self._num_small} of {self._num_hits} hits have fewer than {FEWEST_TO_INDEX} peaks, and such hits are never "
            f"indexed: --min-peaks={FEWEST_TO_INDEX} counts them as no hits, a lower threshold of the peak search may find more"
        ]

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
            "verified": self._num_verified,
            "elsewhere": self._num_elsewhere,
            "elsewhere_cells": [
                figures(self._consensus(cluster)) for cluster in self._elsewhere.ranked()[:5] if len(cluster) >= _FEWEST
            ],
            "factor": float(np.median(self._factors)) if self._factors else None,
            "num_factors": len(self._factors),
            "missing_indices": None if (missing := self._indices.missing()) is None else missing.figures(),
            "small_hits": self._num_small,
            "path": str(self._stage.path) if self._written else None,
        }


def _target(context: Context) -> UnitCell | None:
    """The target cell that a stage upstream has published."""
    target = context.upstream.get(TargetCell)
    return target.cell if target is not None else None


def _cell(basis: NDArray[np.float64], like: UnitCell) -> UnitCell:
    return UnitCell.from_vectors(basis, like.lattice)
