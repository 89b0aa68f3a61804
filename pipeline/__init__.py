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

if TYPE_CHECKING:
    from pipeline.graph import Graph as Graph
    from pipeline.job import run as run
    from pipeline.options import RunOptions as RunOptions

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
    "SenderNumber",
    "Spent",
    "UserError",
    "Variant",
    "run",
    "stage",
]

if not TYPE_CHECKING:  # a type checker would take any name for granted
    __getattr__ = lazy_loader.attach(
        __name__, submod_attrs={"graph": ["Graph"], "job": ["run"], "options": ["RunOptions"]}
    )[0]
