"""All that is looked for."""

from __future__ import annotations

from stages.diagnosis.pixels import Pixels
from stages.diagnosis.place.subject import DetectorPlace
from stages.diagnosis.rings.subject import PowderRings
from stages.diagnosis.subject import Subject
from stages.diagnosis.thresholds import Thresholds
from stages.diagnosis.units import Units

SUBJECTS: tuple[Subject, ...] = (Units(), Thresholds(), DetectorPlace(), PowderRings(), Pixels())
"""In the order in which the report has them."""
