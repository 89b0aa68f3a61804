"""Analyses that run with the frames: sinks that keep state over the whole run and stand in its report."""

from pipeline.lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
