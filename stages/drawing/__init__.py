"""Pictures of frames: :func:`plot` is what ``frame.plot()`` does."""

from stages.drawing.frame import plot

__all__ = ["plot"]
