"""Stages that know crystallography, and what they are made of; the folders are layers (``docs/architecture.md``)."""

KINDS = (
    "source",
    "decode",
    "geometry_map",
    "peaks",
    "index",
    "refine",
    "integrate",
    "sink",
    "live",
)
"""The folders that hold stages: in ``stages/KIND/WHICH.py`` lies the stage ``KIND/WHICH``, and nothing else that is public."""

VERDICT = "live/verdict"
"""The stage that compares variants, where a graph has them and does not say which."""

MONITOR = "live/monitor"
"""The stage that shows a run while it goes on, and writes the report of it."""

DRAWS_FRAMES = "stages.drawing.frame:plot"
"""What ``frame.plot()`` calls."""
