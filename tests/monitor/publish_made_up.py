"""Publish a run that never was: all kinds of messages at their rates, and the numbers move.

For whoever works on the page::

    python tests/monitor/publish_made_up.py tcp://127.0.0.1:5555
    python -m streamajig monitor tcp://127.0.0.1:5555

``--panels=128`` has a detector of many panels; ``--help`` has the rest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import zmq
from made_up_frames import Camera, agipd, eiger
from made_up_run import MadeUpRun

from stages.monitor.blob import encode

EVERY_S = {"about_run": 0.5, "frame": 0.5, "history": 2.0, "cells": 2.0, "resolution": 2.0, "powder": 5.0}
"""How often each kind is published."""


def published(run: MadeUpRun, seconds: float, step_s: float = 0.5) -> Iterator[list[Any]]:
    """What a run publishes in this time, message by message; None says that `step_s` have gone by."""
    due = dict.fromkeys(EVERY_S, 0.0)
    for n in range(round(seconds / step_s)):
        run.advance(step_s)
        for name, every_s in EVERY_S.items():
            if n * step_s >= due[name]:
                due[name] += every_s
                yield message(getattr(run, name)())
        yield []


def message(content: dict[str, Any]) -> list[Any]:
    """Write a message in the parts that are sent."""
    return [content["kind"].encode(), encode(content)]


def main() -> None:
    """Publish at the design's rates until the time is up, or Ctrl-C."""
    parser = argparse.ArgumentParser(description="publish a run that never was")
    parser.add_argument("address", help="where to publish, tcp://127.0.0.1:5555")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--panels", type=int, choices=(1, 128), default=1)
    parser.add_argument("--size", default="2167x2070", help="HEIGHTxWIDTH of the one panel")
    parser.add_argument("--dtype", default="<u2", help="of the pixels: u1 <u2 <i2 <u4 <i4 <f4 <f8")
    parser.add_argument("--no-pixels", action="store_true", help="as with --no-image-data")
    parser.add_argument("--no-groups", action="store_true", help="as without --group-by")
    parser.add_argument("--before", type=float, default=600.0, help="seconds that the run has been going on already")
    parser.add_argument("--seconds", type=float, default=1e9, help="end after so long, and say why")
    parser.add_argument("--rate", type=float, default=120.0, help="frames a second")
    wanted = parser.parse_args()

    height, width = map(int, wanted.size.split("x"))
    panels = agipd() if wanted.panels > 1 else eiger(height, width)
    camera = None if wanted.no_pixels else Camera(panels, wanted.seed, wanted.dtype)
    run = MadeUpRun(
        wanted.seed, panels, camera, time.time() - wanted.before, wanted.rate, has_groups=not wanted.no_groups
    )
    while run.elapsed_s < wanted.before:
        run.advance(2.0, most_crystals=20)
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.set_hwm(4)
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(wanted.address)
        print(f"publishing run {run.run} at {wanted.address}; Ctrl-C ends it")
        started_s, steps = time.monotonic(), 0
        try:
            for parts in published(run, wanted.seconds):
                if parts:
                    socket.send_multipart(parts, zmq.DONTWAIT)
                    continue
                steps += 1
                time.sleep(max(0.0, started_s + 0.5 * steps - time.monotonic()))
        except KeyboardInterrupt:
            pass
        run.ended = "the sender says that its stream has ended"
        for content in (run.about_run(), run.history()):
            socket.send_multipart(message(content))
        time.sleep(0.3)  # nothing else says that a subscriber has it


if __name__ == "__main__":
    main()
