"""All that is looked for."""

from __future__ import annotations

from stages.diagnosis.place.subject import DetectorPlace
from stages.diagnosis.subject import Subject

SUBJECTS: tuple[Subject, ...] = (DetectorPlace(),)
"""In the order in which the report has them."""
