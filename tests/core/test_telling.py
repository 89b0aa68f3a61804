"""What stages tell each other outside frames is declared and checked; what they count is said as they say."""

from __future__ import annotations

import pytest
from toy_stages import Decode, Double, Doubled, Keep, Number, Numbers, ToyVerdict

from pipeline import Context, stage
from pipeline.composing.graph import Graph, GraphError
from pipeline.composing.join import Join
from pipeline.counts import FRAMES, Count
from pipeline.running.job import run
from pipeline.running.wiring import Replica, Setup


class Greeting(str):
    """Told downstream."""


@stage("tell/toy", publishes=(Greeting,))
class Tell:
    """Tells those downstream a greeting."""

    def open(self, context: Context) -> ToldDoubled:
        context.publish(Greeting("good morning"))
        return ToldDoubled("")


@stage("hear/toy", needs=(Greeting,))
class Hear:
    """Needs the greeting."""

    def open(self, context: Context) -> ToldDoubled:
        return ToldDoubled(context.upstream[Greeting])


class ToldDoubled:
    def __init__(self, greeting: str) -> None:
        self.greeting = greeting

    def __call__(self, number: Number) -> Doubled:
        return Doubled(2 * number)


def test_what_a_stage_needs_and_nobody_upstream_publishes_is_named_with_the_route_and_who_would() -> None:
    made = Graph.chain(Numbers((1,)), Decode(), Hear(), Keep())
    with pytest.raises(
        GraphError,
        match=r"node 'hear' \(hear/toy\) needs Greeting, which nothing upstream publishes \(route: source -> decode -> hear\)"
        "; tell/toy publishes it",
    ):
        made.check()
    Graph.chain(Numbers((1,)), Decode(), Tell(), Hear(), Keep()).check()


def test_a_stage_sees_what_it_has_declared_and_publishes_nothing_else() -> None:
    setup = Setup(Graph.chain(Numbers((1,)), Decode(), Tell(), Hear(), Double(), Keep()))
    Replica(setup).close()
    context = setup.context_of(setup.graph.node("hear"), 0)
    assert context.upstream[Greeting] == "good morning"
    with pytest.raises(TypeError, match="str is not declared: name it in the stage's `needs` or `uses`"):
        context.upstream.get(str)
    with pytest.raises(TypeError, match="int is not declared: name it in the stage's `publishes`"):
        context.publish(3)
    with pytest.raises(TypeError, match="Greeting is not declared"):
        setup.context_of(setup.graph.node("double"), 0).upstream[Greeting]


class Word(str):
    """A number in letters."""

    shown = (Count("words", share_of=FRAMES), Count("letters"), Count("vowels", detail_of="letters"))

    def counts(self) -> dict[str, int]:
        return {"words": 1, "letters": len(self), "vowels": sum(letter in "aeiou" for letter in self), "silent": 0}


@stage("spell/toy")
class Spell:
    """Writes numbers as words."""

    def __call__(self, number: Number) -> Word:
        return Word("one" if number == 1 else "many")


def test_a_users_own_counts_are_said_as_shares_and_in_their_places() -> None:
    report = run(Graph.chain(Numbers((1, 2, -1)), Decode(), Spell(), Keep()))
    assert "words 2 of 3 (66.7 %), letters 7 (3 vowels), hits 2\n" in report.text()


def test_a_graph_that_counts_nothing_says_nothing_of_it() -> None:
    graph = Graph.chain(Numbers((1,)), Decode(), Double(), Keep())
    assert graph.counts_at("sink") == ()


def test_behind_a_join_only_that_is_counted_which_all_branches_share() -> None:
    shared = Graph.chain(Numbers((1, 2)), Decode(), Spell())
    alone = Graph.chain(Numbers((1, 2)), Decode())
    apart = alone.add(Spell(), name="one", after="decode").add(Spell(), name="other", after="decode")
    both = shared.add(Double(), name="one", after="spell").add(Double(), name="other", after="spell")
    for graph, words in ((apart, []), (both, ["words", "letters", "vowels"])):
        joined = graph.add(Join(), name="both", after=["one", "other"]).add(ToyVerdict(), name="verdict")
        assert joined.check() is None
        assert [count.name for count in joined.counts_at("verdict")] == words
