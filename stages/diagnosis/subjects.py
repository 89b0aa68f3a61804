"""All that is looked for."""

from __future__ import annotations

from stages.diagnosis.pixels import Pixels
from stages.diagnosis.subject import Subject
from stages.diagnosis.units import Units

SUBJECTS: tuple[Subject, ...] = (Units(), Pixels())
"""In the order in which the report has them."""
