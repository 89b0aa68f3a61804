"""A sender that has nothing to send: in the log when it lasts and when frames come again, and not when it is explained."""

from __future__ import annotations

import pytest
from toy_stages import Decode, Double, Keep, Numbers, RunningNumbers

from pipeline import Context, Graph, Message, run, stage
from pipeline.running import silence
from pipeline.running.silence import Silence
from pipeline.watching import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def unexplained() -> bool:
    return False


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", "streamajig")
    return caplog


def test_a_silence_is_said_once_and_so_is_its_end(heard: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    quiet = Silence(clock)
    quiet.end()
    for clock.now in (10.0, 29.0, 31.0, 500.0, 3600.0):
        quiet.go_on(unexplained)
    quiet.end()
    clock.now += 20
    quiet.go_on(unexplained)
    quiet.end()
    assert [(record.levelname, record.getMessage()) for record in heard.records] == [
        ("INFO", "no frame has come for 31 s; waiting on"),
        ("INFO", "frames come again, after 1 h 0 min"),
    ]


def test_before_the_first_frame_and_while_the_sender_is_lost_there_is_nothing_to_say(
    heard: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    quiet = Silence(clock)
    clock.now = 100.0
    quiet.go_on(unexplained)
    quiet.end()
    clock.now = 200.0
    quiet.go_on(lambda: True)
    quiet.end()
    assert not heard.records


def test_while_nothing_is_asked_for_the_silence_is_not_the_senders(heard: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    quiet = Silence(clock)
    quiet.end()
    for clock.now in range(0, 100, 10):
        quiet.excuse()
        assert quiet.seconds == 0.0
    quiet.go_on(unexplained)
    assert not heard.records


class RunningPausing(RunningNumbers):
    """Has nothing for some calls in the middle."""

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        if len(self._numbers) == 5 and self.pauses:
            self.pauses -= 1
            return []
        return list(super().receive(timeout_s, credit))

    pauses = 20


@stage("source/toy_pausing")
class Pausing(Numbers):
    """Pauses in the middle."""

    def open(self, context: Context) -> RunningPausing:
        return RunningPausing(self.numbers, False, context, 1)


def test_a_pause_of_a_run_stands_in_its_log_and_in_its_progress(
    heard: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SAID_AFTER_S", 0.0)
    seen: list[Progress] = []
    report = run(
        Graph.chain(Pausing(tuple(range(20, 30))), Decode(), Double(), Keep()).with_options(backend="serial"),
        on_progress=seen.append,
    )
    assert report.received == 10
    said = [record.getMessage() for record in heard.records if record.name == "streamajig.ingest"]
    assert said[:2] == ["no frame has come for 0 s; waiting on", "frames come again, after 0 s"]
    assert all(progress.silent_s >= 0.0 for progress in seen)
