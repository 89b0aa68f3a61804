"""When a sender was lost and when it came back: in the log as it happens, in the report when the run ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("streamajig.source")

KEPT = 100
"""Losses whose times are kept; a sender that is lost more often than that has been seen to be."""

_LISTED = 5
"""Losses whose times stand in the report for people."""


@dataclass
class Loss:
    """A time without the sender: when it began and ended, as seconds since 1970, and how."""

    began: float
    why: str
    ended: float | None = None


class Losses:
    """The times at which none of a source's connections was there any more, after there had been one.

    A source with several connections to one sender loses them one by one: this is one loss, from the first that goes until all
    that went are back.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._missing: set[int] = set()
        self._is_over = False
        self.count = 0
        self.kept: list[Loss] = []

    @property
    def since(self) -> float | None:
        """Since when the sender is missing; None if it is not."""
        return self._last.began if self._missing and self._last else None

    def lost(self, connection: int, why: str) -> None:
        """Say that a connection has ended."""
        if self._is_over:
            return
        if not self._missing:
            self.count += 1
            log.warning("the connection to %s was lost: %s; trying on", self.address, why)
            del self.kept[KEPT - 1 :]
            self.kept.append(Loss(time.time(), why))
        self._missing.add(connection)

    def stop(self) -> None:
        """Note nothing more: a sender that goes when nothing is wanted of it any more is not lost."""
        self._is_over = True

    def back(self, connection: int) -> None:
        """Say that a connection is there."""
        if self._is_over or connection not in self._missing:
            return
        self._missing.discard(connection)
        if not self._missing and self._last is not None:
            self._last.ended = time.time()
            seconds = self._last.ended - self._last.began
            log.info("connected to %s again, after %.1f s", self.address, seconds)

    def text(self) -> str:
        """What the report says of it, "" if there was no loss."""
        if not self.count:
            return ""
        times = [_times(loss) for loss in self.kept[-_LISTED:]]
        last = f", the last {_LISTED} of them" if self.count > _LISTED else ""
        return f"the connection was lost {self.count} {'time' if self.count == 1 else 'times'}{last}: " + "; ".join(
            times
        )

    def figures(self) -> dict[str, Any]:
        """The same for programs; times are seconds since 1970."""
        return {
            "losses": self.count,
            "lost": [
                {"began": loss.began, "ended": loss.ended, "why": loss.why, "address": self.address}
                for loss in self.kept
            ],
        }

    @property
    def _last(self) -> Loss | None:
        return self.kept[-1] if self.kept else None


def of_several(losses: Sequence[Losses]) -> tuple[str, dict[str, Any]]:
    """What the report says of several senders, each with its address, and the same for programs."""
    if len(losses) == 1:
        return losses[0].text(), losses[0].figures()
    text = "\n".join(f"{one.address}: {one.text()}" for one in losses if one.count)
    lost = sorted((loss for one in losses for loss in one.figures()["lost"]), key=lambda loss: loss["began"])
    return text, {"losses": sum(one.count for one in losses), "lost": lost}


def lost_since(losses: Iterable[Losses]) -> float | None:
    """Since when one of several senders is missing, in seconds since 1970; None if all are there."""
    return min((one.since for one in losses if one.since is not None), default=None)


def _times(loss: Loss) -> str:
    began = time.strftime("%H:%M:%S", time.localtime(loss.began))
    length = "not back" if loss.ended is None else f"for {loss.ended - loss.began:.1f} s"
    return f"{began} {length} ({loss.why})"
