"""Signals that come within a moment of each other are one."""

from __future__ import annotations

import signal

import pytest

from pipeline.running.signals import SAME_S, Ending


@pytest.mark.parametrize(("apart_s", "are_two"), [(0.0, False), (0.99 * SAME_S, False), (1.01 * SAME_S, True)])
def test_what_a_launcher_hands_on_at_once_is_one_signal_and_what_comes_later_is_two(
    apart_s: float, are_two: bool
) -> None:
    ending = Ending()
    ending.opened()
    for came_s in (100.0, 100.0 + apart_s):
        ending._take(signal.SIGINT, came_s)
    assert ending.stopping.is_set()
    assert ending.abandon.is_set() is are_two
