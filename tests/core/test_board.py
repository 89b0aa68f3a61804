"""The noticeboard: what one part of a run finds out reaches all others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from toy_stages import Decode, Double, Doubled, Keep, Number, Numbers

from pipeline import Context, Frame, Noticeboard, Outcome, stage
from pipeline.graph import Graph
from pipeline.run import run


def test_each_post_has_a_version_and_takes_the_place_of_the_last() -> None:
    board = Noticeboard()
    assert board.read("cell") == (0, None)
    assert [board.post("cell", value) for value in ("a", "b")] == [1, 2]
    assert board.post("other", None) == 1
    assert board.read("cell") == (2, "b")
    assert board.read("other") == (1, None)


def test_what_is_posted_cannot_be_changed_afterwards() -> None:
    board, mine = Noticeboard(), [1, 2]
    board.post("list", mine)
    mine.append(3)
    assert board.read("list") == (1, [1, 2])


def test_what_could_not_cross_to_another_process_is_refused() -> None:
    board = Noticeboard()
    with pytest.raises(TypeError, match="'lock' must be picklable"):
        board.post("lock", threading.Lock())
    with pytest.raises(TypeError, match="'local' must be picklable"):
        board.post("local", lambda: None)
    assert board.read("lock") == (0, None)


def test_many_threads_may_post_at_once_and_no_version_is_given_twice() -> None:
    board = Noticeboard()
    versions: list[int] = []

    def post(n: int) -> None:
        versions.extend(board.post("n", (n, k)) for k in range(200))

    threads = [threading.Thread(target=post, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == list(range(1, 801))
    assert board.read("n")[0] == 800


class RunningFollower:
    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, number: Number) -> Doubled:
        _, factor = self._context.board.read("factor")
        return Doubled(number * (factor or 2))


@stage("double/toy_follower")
class Follower:
    """Doubles, until another factor is posted."""

    def open(self, context: Context) -> RunningFollower:
        return RunningFollower(context)


class Poster:
    def __init__(self, context: Context) -> None:
        self._board = context.board
        self._seen = 0

    def write(self, encoded: int) -> None:
        self._seen += 1
        if self._seen == 3:
            self._board.post("factor", 10)

    def close(self) -> None:
        pass


@stage("live/toy_poster")
class Post:
    """Posts a factor after three numbers."""

    in_order: bool = True
    reads: ClassVar[tuple[type, ...]] = (Doubled,)

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return lambda outcome: int(outcome[Doubled]) if isinstance(outcome, Frame) else None

    def open_writer(self, context: Context) -> Poster:
        return Poster(context)


def graph(backend: str, n: int) -> Graph:
    made = Graph.chain(Numbers(tuple(range(1, n))), Decode(), Follower(), Keep(in_order=True)).with_options(
        backend=backend, in_flight=1
    )
    return made.add(Post(), name="post", after="double")


def test_what_an_analysis_posts_reaches_the_frames_that_follow() -> None:
    made = graph("serial", 8)
    made.check()
    seen: list[Any] = []
    keep = Keep.open_writer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keep, "open_writer", lambda self, context: seen.append(keep(self, context)) or seen[-1])
        assert run(made).is_conserved
    assert [value for _, _, value in seen[0].outcomes] == [2, 4, 6, 40, 50, 60, 70]


def test_two_runs_have_noticeboards_of_their_own() -> None:
    assert Context().board is not Context().board
    for _ in range(2):  # the second run begins with the factor of the first stage, not with what the first run posted
        test_what_an_analysis_posts_reaches_the_frames_that_follow()


def test_a_toy_chain_without_a_board_is_as_before() -> None:
    made = Graph.chain(Numbers((1, 2)), Decode(), Double(), Keep())
    assert run(made).received == 2
