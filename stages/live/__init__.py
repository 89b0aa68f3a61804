"""Analyses that run with the frames: sinks that keep state over the whole run and stand in its report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
