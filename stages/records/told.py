"""What stages tell each other outside frames: when they open, to those downstream, or while frames run, on the noticeboard.

The geometry file that frames are mapped with is told as a :class:`~stages.files.geom.detector.Detector`, the target cell as a
:class:`~stages.files.cell.TargetCell`; what is simpler stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.lattices.cell import Lattice, UnitCell
from stages.records.displacement import Displacement


@dataclass(frozen=True)
class PixelsDecoded:
    """Whether messages are decoded with their pixels; told by the decoder.

    Attributes
    ----------
    named
        Whether the arrays of pixels have names, which the geometry file's ``data`` says.
    has_sentinels
        Whether some values mark pixels that are bad, whatever the geometry file says.
    """

    wanted: bool
    named: bool = True
    has_sentinels: bool = False


@dataclass(frozen=True)
class SeriesKeys:
    """Keys under which every frame's header has what the series' header says, for what the geometry file leaves open.

    Attributes
    ----------
    energy_ev, distance_m
        The key of the photon energy, in eV, and of the distance from sample to detector, in metres.
    saturation
        The key of the highest value that a pixel can have and be right; headers may be without it.
    """

    energy_ev: str
    distance_m: str
    saturation: str


@dataclass(frozen=True)
class IndexingMethods:
    """The names of the indexing methods so far, in the order in which they are tried; none for ``--indexing=none``.

    >>> IndexingMethods(("pairs",)).and_then("lattice")
    IndexingMethods(names=('pairs', 'lattice'))
    >>> str(IndexingMethods(("pairs", "lattice"))), str(IndexingMethods())
    ('pairs,lattice', 'none')
    """

    names: tuple[str, ...] = ()

    def and_then(self, *names: str) -> IndexingMethods:
        """Return these methods and those that come after them."""
        return IndexingMethods((*self.names, *names))

    def __str__(self) -> str:
        return ",".join(self.names) or "none"


@dataclass(frozen=True)
class IndexingStages:
    """The indexing stages so far, as they were set: who looks at many frames may open one and try it on another geometry.

    Told by each index stage that searches, after those upstream of it. Each has ``without_cell()``, which returns the
    stage that searches like it and knows no cell.
    """

    stages: tuple[Any, ...] = ()

    def and_then(self, stage: Any) -> IndexingStages:
        """Return these stages and one that comes after them."""
        return IndexingStages((*self.stages, stage))


@dataclass(frozen=True)
class GivenLattice:
    """Lattice type and centring to which a search without a cell is restricted; told by that search when it opens."""

    lattice: Lattice


@dataclass(frozen=True)
class AgreedCell:
    """The cell on which the crystals of a run agree; posted by live/cells each time it changes."""

    cell: UnitCell


@dataclass(frozen=True)
class DetectorMoved:
    """Where the detector stands, as many frames together tell; posted by live/diagnosis each time it knows better.

    Attributes
    ----------
    displacement
        As seen from where the geometry file has it, whatever was posted before.
    number
        Counts what has been posted, from 1.
    num_frames
        How many frames, hits or crystals it rests on.
    """

    displacement: Displacement
    number: int
    num_frames: int
