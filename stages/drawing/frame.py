"""A picture of a frame, as a run has left it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Frame, UserError
from stages.drawing.pattern import Marks, figure_of, plane
from stages.lattices.cell import UnitCell
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList


def plot(frame: Frame) -> Any:
    """Draw a frame as a matplotlib ``Figure``, which a notebook shows and ``figure.savefig("frame.png")`` writes.

    The pixels are assembled as the geometry says; peaks that were found are circles, reflections that are predicted of all
    its crystals squares; resolution rings; an enlarged part beside it. What the frame does not hold is left out, but for
    pixels and geometry, without which it cannot be drawn.
    """
    image, geom = frame.get(Image), frame.get(DetGeom)
    if image is None:
        raise UserError(
            f"frame {frame.serial} keeps no pixels to draw: handle.latest() has them, and so has a frame of "
            "graph.frames(keep_image=True) and of sink/memory with keep_image"
        )
    if geom is None:
        raise UserError(
            f"frame {frame.serial} has no geometry to draw it with: put geometry_map/map_panels into the graph"
        )
    crystals = frame.get(Crystals) or Crystals()
    said = [f"{len(crystals)} crystals" if len(crystals) > 1 else str(_cell(crystals))] if crystals.found else []
    caption = "; ".join([*said, f"{geom.photon_energy_ev:.0f} eV, detector at {1000 * geom.mean_clen_m:.0f} mm"])
    by = f", indexed by {crystals[0].indexed_by}" if crystals.found else ""
    marks = Marks(_found(frame.get(PeakList), geom), _predicted(crystals, geom))
    return figure_of(geom, image.arrays, marks, f"{frame.event or f'frame {frame.serial}'}{by}", caption)


def _cell(crystals: Crystals) -> UnitCell:
    return UnitCell.from_vectors(crystals[0].real_space_angstrom, crystals[0].lattice)


def _found(peaks: PeakList | None, geom: DetGeom) -> NDArray[np.float64]:
    return np.zeros((0, 2)) if peaks is None or not len(peaks) else plane(geom, peaks.panel, peaks.fs, peaks.ss)


def _predicted(crystals: Crystals, geom: DetGeom) -> NDArray[np.float64]:
    listed = [crystal.reflections for crystal in crystals if crystal.reflections is not None]
    return np.concatenate([np.zeros((0, 2)), *(plane(geom, r.panel, r.fs, r.ss) for r in listed if len(r))])
