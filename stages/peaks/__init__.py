"""Peaks, taken from the message or searched in the image."""

from pipeline.lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
