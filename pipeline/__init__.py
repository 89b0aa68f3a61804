"""Graphs of stages over streams of frames: what runs streamajig, and knows nothing of what the frames show.

What a stage needs is here at once; ``Graph``, ``RunOptions`` and ``run`` are imported when they are asked for, since a stage
needs none of what they load.
"""

from typing import TYPE_CHECKING

import lazy_loader

from pipeline.board import Noticeboard
from pipeline.by_type import ByType
from pipeline.counts import FRAMES, Count
from pipeline.errors import RejectFrame, UserError
from pipeline.frame import Event, Frame, Joined, Message, Outcome, Preamble, Rejected, Spent
from pipeline.lost import Delivery
from pipeline.protocols import EndOfStream, Findings
from pipeline.sender_numbers import SenderNumber
from pipeline.stage import Context, stage
from pipeline.variant import Variant
from pipeline.watching import RunView

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph as Graph
    from pipeline.composing.options import RunOptions as RunOptions
    from pipeline.running.job import run as run

__all__ = [
    "FRAMES",
    "ByType",
    "Context",
    "Count",
    "Delivery",
    "EndOfStream",
    "Event",
    "Findings",
    "Frame",
    "Graph",
    "Joined",
    "Message",
    "Noticeboard",
    "Outcome",
    "Preamble",
    "RejectFrame",
    "Rejected",
    "RunOptions",
    "RunView",
    "SenderNumber",
    "Spent",
    "UserError",
    "Variant",
    "run",
    "stage",
]

if not TYPE_CHECKING:  # a type checker would take any name for granted
    __getattr__ = lazy_loader.attach(
        __name__,
        submod_attrs={"composing.graph": ["Graph"], "running.job": ["run"], "composing.options": ["RunOptions"]},
    )[0]
