"""Those who follow a run harm nobody."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from toy_stages import Decode, Double, Doubled, Keep, Numbers

from pipeline import Frame, Graph, Message
from pipeline.running.follow import Follower


def graph(*numbers: int) -> Graph:
    return Graph.chain(Numbers(numbers=numbers, endless=True), Decode(), Double(), Keep())


def frame(serial: int) -> Frame:
    return Frame(serial, values={Doubled: Doubled(2 * serial), Message: Message(b"", 0, (b"x",))})


def followed(follower: Follower, most: int) -> tuple[list[Any], threading.Event]:
    seen: list[Any] = []
    enough = threading.Event()

    def take(value: Any) -> None:
        seen.append(value)
        if len(seen) >= most:
            enough.set()

    follower.stream.sink(take)
    return seen, enough


def test_frames_come_in_turn_and_without_their_messages() -> None:
    follower = Follower(10)
    seen, enough = followed(follower, 3)
    for serial in (1, 2, 3):
        follower.put(frame(serial))
    assert enough.wait(120)
    assert [(f.serial, Message in f) for f in seen] == [(1, False), (2, False), (3, False)]
    follower.close()


def test_the_oldest_of_those_that_wait_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(2)
    at_work, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    seen: list[int] = []

    def slow(value: Frame) -> None:
        at_work.set()
        go_on.wait(120)
        seen.append(value.serial)
        if value.serial == 5:
            ended.set()

    follower.stream.sink(slow)
    follower.put(frame(1))
    assert at_work.wait(120)
    for serial in (2, 3, 4, 5):
        follower.put(frame(serial))
    assert follower.left_out == 2
    go_on.set()
    assert ended.wait(120)
    assert seen == [1, 4, 5]


def test_what_raises_is_logged_once_and_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(100)
    reached = threading.Event()

    def fail(value: Frame) -> None:
        if value.serial == 4:
            reached.set()
        raise SystemExit("of the user's operator")

    follower.stream.sink(fail)
    with caplog.at_level(logging.ERROR, "streamajig.follow"):
        for serial in (1, 2, 3, 4):
            follower.put(frame(serial))
        assert reached.wait(120)
    assert [record.message for record in caplog.records if "frame 1" in record.message] == [
        record.message for record in caplog.records
    ]
    assert "SystemExit: of the user's operator" in caplog.text


def test_operators_with_a_loop_of_their_own_work_and_hold_nobody_up() -> None:
    with graph(*range(20, 60)).start() as handle:
        windows: list[int] = []
        filled = threading.Event()

        def take(window: list[Frame]) -> None:
            windows.append(len(window))
            if sum(windows):
                filled.set()

        frames = handle.stream()
        follower = frames.timed_window(0.02)
        follower.sink(take)
        handle._receiver.write(frame(1))
        assert filled.wait(120)
    assert handle.report.is_conserved
