"""Tables that follow from the geometry file are made while a stage opens, so that no frame waits for them."""

from __future__ import annotations

from collections.abc import Callable

from pipeline import Context, RejectFrame
from stages.files.geom.detector import Detector
from stages.records.geometry import DetGeom


def prepare_ahead(context: Context, prepare: Callable[[DetGeom], object]) -> None:
    """Call `prepare` with the geometry that frames will have, if a stage upstream has published the detector.

    Where the frames turn out to have another one (the header shifts the detector, a stage in between masks pixels), what is
    different is made anew then. A geometry that is refused is not refused here: each frame will be, with the reason.
    """
    detector = context.upstream.get(Detector)
    if detector is None:
        return
    try:
        prepare(detector.geom_ahead())
    except RejectFrame:
        return
