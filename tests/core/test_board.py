"""The noticeboard: what one part of a run finds out reaches all others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from toy_stages import Decode, Double, Doubled, Keep, Number, Numbers

from pipeline import Context, Frame, Noticeboard, Outcome, stage
from pipeline.composing.graph import Graph, GraphError
from pipeline.running.job import run


class Name(str):
    """Something to post."""


class Count(tuple[int, int]):
    """Something else."""


def test_each_post_takes_the_place_of_the_last_of_its_type() -> None:
    board = Noticeboard()
    assert board.get(Name) is None
    board.post(Name("a"))
    board.post(Count((1, 2)))
    first = board[Name]
    assert board[Name] is first, "the same object until there is news"
    board.post(Name("a"))
    assert board[Name] == first
    assert board[Name] is not first
    assert (board[Name], board[Count]) == ("a", (1, 2))


def test_what_has_not_been_posted_is_missed_by_name() -> None:
    with pytest.raises(KeyError, match="nothing of type Name has been posted"):
        Noticeboard()[Name]


def test_what_is_posted_cannot_be_changed_afterwards() -> None:
    board, mine = Noticeboard(), [1, 2]
    board.post(mine)
    mine.append(3)
    assert board[list] == [1, 2]


def test_what_could_not_cross_to_another_process_is_refused() -> None:
    board = Noticeboard()
    with pytest.raises(TypeError, match="posted as lock must be picklable"):
        board.post(threading.Lock())
    with pytest.raises(TypeError, match="posted as function must be picklable"):
        board.post(lambda: None)
    assert board.get(type(lambda: None)) is None


def test_many_threads_may_post_at_once_and_a_whole_value_of_one_of_them_stands_there() -> None:
    board = Noticeboard()

    def post(n: int) -> None:
        for k in range(200):
            board.post(Count((n, k)))

    threads = [threading.Thread(target=post, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert board[Count] in {Count((n, 199)) for n in range(4)}


class Factor(int):
    """By what numbers are multiplied."""


class RunningFollower:
    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, number: Number) -> Doubled:
        return Doubled(number * (self._context.board.get(Factor) or 2))


@stage("double/toy_follower", awaits=(Factor,))
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
            self._board.post(Factor(10))

    def close(self) -> None:
        pass


@stage("live/toy_poster", posts=(Factor,))
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


def test_a_graph_in_which_nobody_posts_what_a_stage_waits_for_is_refused() -> None:
    made = Graph.chain(Numbers((1, 2)), Decode(), Follower(), Keep())
    with pytest.raises(GraphError, match=r"waits for Factor on .* where no node posts it; live/toy_poster posts it"):
        made.check()


def test_two_runs_have_noticeboards_of_their_own() -> None:
    assert Context().board is not Context().board
    for _ in range(2):  # the second run begins with the factor of the first stage, not with what the first run posted
        test_what_an_analysis_posts_reaches_the_frames_that_follow()


def test_a_toy_chain_without_a_board_is_as_before() -> None:
    made = Graph.chain(Numbers((1, 2)), Decode(), Double(), Keep())
    assert run(made).received == 2
