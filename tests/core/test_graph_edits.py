from __future__ import annotations

import pytest
from toy_stages import Compare, Decode, Double, Keep, Numbers, RefuseMultiples, Slow

from pipeline import Graph, UserError
from pipeline.composing.join import Join

CHAIN = Graph.chain(Numbers((1, 2)), Decode(), Double(), Keep())
FORK = (
    CHAIN.add(Double(by=3), name="triple", after="decode")
    .add(Join(), name="join", after=("double", "triple"))
    .add(Compare(), name="compare")
    .add(Keep(), name="sink_2")
)


def afters(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {node.name: node.after for node in graph.nodes}


def test_a_node_is_inserted_after_another_and_before_all_that_followed_it() -> None:
    graph = FORK.insert(Slow(), after="decode")

    assert afters(graph) == {**afters(FORK), "slow": ("decode",), "double": ("slow",), "triple": ("slow",)}
    assert graph.names[:4] == ("source", "decode", "slow", "double")
    graph.check()
    assert Graph.from_yaml(graph.to_yaml()) == graph


def test_a_node_is_inserted_before_one_node_alone() -> None:
    graph = FORK.insert(Slow(), before="triple", name="wait")

    assert afters(graph) == {**afters(FORK), "wait": ("decode",), "triple": ("wait",)}
    graph.check()


def test_a_node_is_inserted_between_two() -> None:
    graph = FORK.insert(RefuseMultiples(), after="double", before="join")

    assert afters(graph) == {**afters(FORK), "refuse": ("double",), "join": ("refuse", "triple")}
    assert afters(graph)["sink"] == ("double",)
    graph.check()


def test_a_node_after_a_leaf_of_the_work_comes_last() -> None:
    graph = Graph.chain(Numbers(), Decode()).insert(Slow(), after="decode")
    assert graph.names == ("source", "decode", "slow")


def test_a_node_is_removed_and_those_behind_it_come_after_its_parents() -> None:
    assert CHAIN.remove("double") == Graph.chain(Numbers((1, 2)), Decode(), Keep())
    assert afters(FORK.remove("triple"))["join"] == ("double", "decode")
    assert afters(FORK.remove("double").remove("triple"))["join"] == ("decode",)
    assert FORK.remove("sink").names == tuple(name for name in FORK.names if name != "sink")


def test_what_was_inserted_is_gone_when_it_is_removed() -> None:
    for node in FORK.nodes[:-1]:
        if node.role != "sink":
            assert afters(FORK.insert(Slow(), after=node.name).remove("slow")) == afters(FORK)


def test_a_place_that_cannot_be_is_said() -> None:
    cases = {
        "the graph has no node 'doubel'; did you mean 'double'?": {"after": "doubel"},
        "the graph has no node 'doubel'; did you mean 'double'": {"before": "doubel"},
        "say where 'slow' comes: before=... or after=... a node": {},
        "'slow' cannot come before 'join', which comes after double and triple: say between which two": {
            "before": "join"
        },
        "'slow' cannot come before 'source', which is where frames come from": {"before": "source"},
        "'join' does not come directly after 'decode': nothing can be put between them": {
            "after": "decode",
            "before": "join",
        },
        "there is a node 'double' already; give the new one another name": {"after": "decode", "name": "double"},
    }
    for wanted, where in cases.items():
        with pytest.raises(UserError) as caught:
            FORK.insert(Slow(), **where)  # type: ignore[arg-type]
        assert str(caught.value).startswith(wanted)
    with pytest.raises(UserError, match="the graph has no node 'doubel'; did you mean 'double'"):
        FORK.remove("doubel")
