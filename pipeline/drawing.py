"""Frames drawn by what knows what they show: the built-in stages name it in ``stages.DRAWS_FRAMES``, as they do their kinds."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pipeline.own_packages import built_in

if TYPE_CHECKING:
    from pipeline.frame import Frame


def plot(frame: Frame) -> Any:
    """Draw a frame as a matplotlib ``Figure``."""
    module, _, name = built_in("DRAWS_FRAMES").partition(":")
    return getattr(importlib.import_module(module), name)(frame)
