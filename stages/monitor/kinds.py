"""The kinds of messages, and of frames in them, that a run publishes: what it and the monitor have to agree on."""

from __future__ import annotations

FRAME = "frame"

HANDED_ON = ("run", "history", "cells", "resolution", "powder")
"""Kinds that are cumulative, of which the latest is all that counts."""

PUBLISHED = (*HANDED_ON, FRAME)
"""All kinds that a run publishes; each is a topic."""

CATEGORIES = ("indexed", "hit", "blank")
"""What a frame may be: indexed, a hit that is not indexed, or no hit."""
