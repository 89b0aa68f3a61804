"""All that is looked for."""

from __future__ import annotations

from stages.diagnosis.subject import Subject

SUBJECTS: tuple[Subject, ...] = ()
"""In the order in which the report has them."""
