"""What a diagnosis says: one sentence for people, figures for programs, and what to change in the geometry file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.files.geom.edits import Edit
from stages.records.displacement import Displacement


@dataclass(frozen=True)
class Finding:
    """One thing that is known about the experiment.

    Attributes
    ----------
    key
        What it is about, one word or several with underscores; the same for as long as it is the same thing: ``ice``.
    text
        One sentence: what, how much, how sure, what to do.
    brief
        The same in a few words, for the progress line.
    num_frames
        How many frames, hits or crystals it rests on.
    is_wrong
        Whether something should be changed. What is said only to be known (``tetragonal within the errors``) is not wrong.
    figures
        Estimates and uncertainties for JSON, each with its unit in its name: ``shift_x_m``, ``shift_x_error_m``.
    edits
        What to change in the geometry file, besides what follows from `displacement`.
    displacement
        Where the detector stands, as seen from where the geometry file has it, if that is what was found.
    """

    key: str
    text: str
    brief: str
    num_frames: int
    is_wrong: bool = True
    figures: Mapping[str, Any] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    displacement: Displacement | None = None
