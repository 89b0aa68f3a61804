"""What a browser is sent: one message when it is ready, each kind in its turn, and the frame that it looks at."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_served import about_run, frame, head

from stages.monitor import session as session_module
from stages.monitor.blob import decode, encode
from stages.monitor.session import LONGEST_REQUEST, NoRequest, Session
from stages.monitor.state import KINDS, State


def state_of(*contents: dict[str, Any]) -> State:
    state = State("tcp://127.0.0.1:1")
    for content in contents:
        state.take(content["kind"].encode(), bytes(encode(content)))
    return state


def say(session: Session, **request: Any) -> None:
    session.hear(json.dumps(request))


def sent(session: Session) -> dict[str, Any] | None:
    """What is sent when the browser is ready."""
    say(session, ready=True)
    message = session.next()
    return None if message is None else decode(message)


def everything(session: Session, most: int = 20) -> list[str]:
    """The kinds that are sent until there is nothing new."""
    found = []
    while (message := sent(session)) is not None:
        found.append(message["kind"])
        assert len(found) < most
    return found


def looks_at(session: Session, **look: Any) -> int | None:
    say(session, look=look)
    message = sent(session)
    assert message is not None
    if message["kind"] == "gone":
        return None
    assert message["kind"] == "frame"
    assert (message["panels"][0]["data"].astype(int) + message["panels"][0]["offset"] == message["serial"]).all()
    return int(message["serial"])


@pytest.fixture
def state() -> State:
    """Six frames: indexed 1 and 4, hits 2 and 5, blanks 3 and 6."""
    return state_of(*(frame(n, ("blank", "indexed", "hit")[n % 3]) for n in range(1, 7)))


@pytest.fixture
def session(state: State) -> Session:
    """A browser that wants frames alone."""
    session = Session(state)
    say(session, kinds=["frame"])
    return session


def test_nothing_is_sent_before_the_browser_is_ready_and_one_message_then() -> None:
    session = Session(state_of(about_run()))
    assert session.next() is None

    say(session, ready=True)

    assert session.next() is not None
    assert session.next() is None


def test_being_ready_twice_is_being_ready_once() -> None:
    session = Session(state_of(about_run(), head("cells")))
    say(session, ready=True)
    say(session, ready=True)

    assert session.next() is not None
    assert session.next() is None


def test_each_kind_is_sent_once_until_there_is_something_new() -> None:
    state = state_of(about_run(), head("cells"), head("history"), frame(1))
    session = Session(state)

    assert sorted(everything(session)) == ["cells", "frame", "history", "monitor", "pixels_powder", "run"]
    state.take(b"cells", bytes(encode(head("cells", number=1))))
    assert everything(session) == ["cells"]


def test_a_kind_that_is_always_new_takes_no_others_turn() -> None:
    state = state_of(about_run(), head("cells"), head("history"))
    session = Session(state)
    found = []
    for n in range(6):
        state.take(b"run", bytes(encode(about_run(number=n))))
        message = sent(session)
        assert message is not None
        found.append(message["kind"])

    assert {"cells", "history"} <= set(found)


def test_a_browser_gets_the_kinds_that_it_asks_for() -> None:
    session = Session(state_of(about_run(), head("cells"), frame(1)))
    say(session, kinds=["cells", "no such kind"])

    assert everything(session) == ["cells"]


def test_a_browser_that_was_slow_gets_the_latest() -> None:
    state = state_of(*(about_run(number=n) for n in range(5)))
    session = Session(state)
    say(session, kinds=["run"])

    message = sent(session)

    assert message is not None
    assert message["number"] == 4
    assert sent(session) is None


def test_frames_are_chosen_by_category_and_by_how_far_back(session: Session) -> None:
    assert looks_at(session, category="any") == 6
    assert looks_at(session, category="indexed") == 4
    assert looks_at(session, category="indexed", back=1) == 1
    assert looks_at(session, category="hit", back=1) == 2
    assert looks_at(session, category="any", back=3) == 3
    assert looks_at(session, category="any", back=10**30) == 1


def test_a_frame_says_where_it_stands_among_those_that_are_kept(session: Session) -> None:
    say(session, look={"category": "indexed", "back": 1})
    message = sent(session)

    assert message is not None
    assert message["back"] == 1
    assert message["kept"] == {"any": 6, "indexed": 2, "hit": 2, "blank": 2}
    assert message["serials"].tolist() == [4, 1]
    assert message["is_whole"] is True


def test_a_frame_that_is_looked_at_again_is_sent_again_and_else_once(session: Session) -> None:
    assert looks_at(session, category="any") == 6
    assert sent(session) is None
    assert looks_at(session, category="any") == 6


def test_while_paused_nothing_moves(state: State, session: Session) -> None:
    assert looks_at(session, category="any", paused=True) == 6
    state.take(b"frame", bytes(encode(frame(7))))

    assert sent(session) is None
    assert looks_at(session, category="any", back=1, paused=True) == 5
    assert looks_at(session, category="any", paused=False) == 7
    state.take(b"frame", bytes(encode(frame(8))))
    message = sent(session)
    assert message is not None
    assert message["serial"] == 8


def test_a_frame_is_found_by_its_serial_and_stays(state: State, session: Session) -> None:
    assert looks_at(session, serial=3) == 3
    state.take(b"frame", bytes(encode(frame(7))))

    assert sent(session) is None


def test_a_frame_that_is_not_kept_is_said_to_be_gone(session: Session) -> None:
    assert looks_at(session, serial=99) is None
    assert sent(session) is None


def test_a_category_of_which_there_is_none_is_said_to_be_empty() -> None:
    session = Session(state_of(frame(1, "blank")))
    say(session, kinds=["frame"])

    assert looks_at(session, category="indexed") is None


def test_a_part_of_a_frame_is_sent_before_all_else(session: Session) -> None:
    say(session, tile={"serial": 2, "panel": 0, "fs0": 1, "ss0": 2, "fs1": 3, "ss1": 4})
    message = sent(session)

    assert message is not None
    assert (message["kind"], message["serial"], message["fs0"], message["ss0"]) == ("tile", 2, 1, 2)
    assert message["data"].shape == (2, 2)


def test_a_part_that_is_too_large_ends_after_some_rows(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    monkeypatch.setattr(session_module, "MOST_PIXELS", 8)
    say(session, tile={"serial": 2, "panel": 0, "fs0": 0, "ss0": 1, "fs1": 4, "ss1": 10**40})
    message = sent(session)

    assert message is not None
    assert message["data"].shape == (2, 4)


@pytest.mark.parametrize("wrong", [{"serial": 99}, {"panel": 1}, {"panel": -1}, {"fs0": 4}, {"fs1": -(10**30)}])
def test_a_part_that_is_not_there_is_said_to_be_gone(session: Session, wrong: dict[str, int]) -> None:
    say(session, tile={"serial": 2, "panel": 0, "fs0": 0, "ss0": 0, "fs1": 4, "ss1": 4, **wrong})
    message = sent(session)

    assert message is not None
    assert (message["kind"], message["what"]) == ("gone", "tile")


def test_only_so_many_parts_wait(session: Session) -> None:
    for n in range(100):
        say(session, tile={"serial": 2, "panel": 0, "fs0": 0, "ss0": 0, "fs1": 4, "ss1": n})

    assert everything(session).count("gone") + 1 <= session_module.MOST_TILES


def test_another_run_is_sent_from_the_beginning(session: Session, state: State) -> None:
    assert looks_at(session, category="any", paused=True) == 6
    state.take(b"frame", bytes(encode(frame(1, run="run2"))))
    message = sent(session)

    assert message is not None
    assert (message["run"], message["serial"]) == ("run2", 1)


def test_sums_of_pixels_are_sent_at_once_and_then_seldom(state: State) -> None:
    session = Session(state)
    say(session, kinds=["pixels_powder"])
    message = sent(session)
    assert message is not None
    assert message["frames"] == 6
    np.testing.assert_array_equal(message["maximum"][0], np.full((4, 4), 6))

    state.take(b"frame", bytes(encode(frame(7))))
    assert sent(session) is None


def test_sums_of_pixels_begin_anew_when_that_is_asked_for(state: State) -> None:
    session = Session(state)
    say(session, kinds=["pixels_powder"], reset_powder=True)
    assert sent(session) is None
    state.take(b"frame", bytes(encode(frame(9))))

    message = sent(session)

    assert message is not None
    assert message["frames"] == 1


def test_a_browser_is_up_to_date_when_it_has_taken_all_and_is_ready_again() -> None:
    session = Session(state_of(about_run(), head("cells")))
    assert not session.is_up_to_date
    everything(session)

    assert session.is_up_to_date


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        "null",
        '"ready"',
        "[" * 50000,
        '{"kinds": "run"}',
        '{"kinds": {"run": 1}}',
        '{"look": null}',
        '{"look": {"category": "best"}}',
        '{"look": {"category": ["any"]}}',
        '{"look": {"back": 1.5}}',
        '{"look": {"back": true}}',
        '{"look": {"serial": "1"}}',
        '{"look": {"paused": 1}}',
        '{"tile": []}',
        '{"tile": {"serial": 1}}',
        '{"tile": {"serial": 1, "panel": 0, "fs0": 0, "ss0": 0, "fs1": 1, "ss1": NaN}}',
        '{"ready": true' + " " * LONGEST_REQUEST + "}",
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_request_is_refused(session: Session, text: str) -> None:
    with pytest.raises(NoRequest):
        session.hear(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(["ready", "kinds", "look", "tile", "reset_powder"])
PARTS = st.dictionaries(
    st.sampled_from(["category", "back", "serial", "paused", "panel", "fs0", "ss0", "fs1", "ss1"]),
    JSON | st.integers(-5, 10) | st.sampled_from(["any", "hit"]),
)
REQUESTS = st.dictionaries(WORDS, JSON | PARTS | st.just(True) | st.lists(st.sampled_from(KINDS)))


@given(st.lists(REQUESTS, max_size=8))
def test_whatever_a_browser_says_is_refused_or_answered(requests: list[dict[str, Any]]) -> None:
    session = Session(state_of(frame(1), frame(2, "indexed"), about_run()))
    for request in requests:
        try:
            session.hear(json.dumps(request))
        except NoRequest:
            continue
        message = session.next()
        if message is not None:
            assert decode(message)["kind"] in (*KINDS, "tile", "gone")
