"""All that is looked for."""

from __future__ import annotations

from stages.diagnosis.subject import Subject
from stages.diagnosis.units import Units

SUBJECTS: tuple[Subject, ...] = (Units(),)
"""In the order in which the report has them."""
