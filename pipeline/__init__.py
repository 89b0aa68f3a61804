"""Graphs of stages over streams of frames: what runs streamajig, and knows no crystallography."""

from pipeline.board import Noticeboard
from pipeline.errors import RejectFrame, UserError
from pipeline.frame import Event, Frame, Joined, Message, Outcome, Rejected
from pipeline.stage import Context, EndOfStream, Findings, stage

__all__ = [
    "Context",
    "EndOfStream",
    "Event",
    "Findings",
    "Frame",
    "Joined",
    "Message",
    "Noticeboard",
    "Outcome",
    "RejectFrame",
    "Rejected",
    "UserError",
    "stage",
]
