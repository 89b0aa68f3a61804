from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_stages import Compare, Decode, Double, Keep, Numbers, RefuseMultiples, Slow

from pipeline import UserError
from pipeline.composing.graph import Graph, GraphError
from pipeline.composing.join import Join
from pipeline.composing.node import Node
from pipeline.composing.options import RunOptions

CHAIN = Graph.chain(Numbers((1, 2)), Decode(), Double(), Keep())


def problems_of(graph: Graph) -> list[str]:
    with pytest.raises(GraphError) as caught:
        graph.check()
    return caught.value.problems


def test_a_chain_names_its_nodes_after_their_kinds() -> None:
    assert CHAIN.names == ("source", "decode", "double", "sink")
    assert CHAIN.node("double").after == ("decode",)
    CHAIN.check()


def test_further_nodes_of_a_kind_are_named_after_what_they_are_then_numbered() -> None:
    graph = Graph.chain(Numbers(), Decode(), Double(), Double(by=3), Double(by=4), Keep())
    assert graph.names[2:] == ("double", "toy", "double_2", "sink")


def test_replace_makes_a_neighbour_and_leaves_the_graph_alone() -> None:
    changed = CHAIN.replace("double", Double(by=5))
    assert changed.node("double").stage.by == 5
    assert CHAIN.node("double").stage.by == 2
    assert changed != CHAIN
    assert changed.replace("double", Double(by=2)) == CHAIN


def test_an_unknown_node_is_answered_with_the_closest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'double'"):
        CHAIN.replace("duoble", Double())


def test_a_graph_can_be_pickled_and_compared() -> None:
    assert pickle.loads(pickle.dumps(CHAIN)) == CHAIN


def test_an_empty_graph_is_a_problem() -> None:
    assert "no nodes" in problems_of(Graph(()))[0]


def test_a_value_that_nothing_writes_is_named_with_the_route() -> None:
    (problem,) = problems_of(Graph.chain(Numbers(), Double(), Keep()))
    assert "node 'double' (double/toy) reads Number, which nothing upstream writes" in problem
    assert "source -> double" in problem
    assert "decode/toy" in problem


def test_a_stage_behind_which_nothing_comes_is_a_problem() -> None:
    assert "leads nowhere" in problems_of(Graph.chain(Numbers(), Decode(), Keep()).add(Double(), after="decode"))[0]


def test_a_graph_without_sink_or_source_is_a_problem() -> None:
    text = "\n".join(problems_of(Graph.chain(Decode(), Double())))
    assert "exactly one source" in text
    assert "no sink" in text


def test_a_cycle_is_named() -> None:
    graph = Graph(
        (Node("source", Numbers()), Node("a", Decode(), ("b",)), Node("b", Decode(), ("a",)), Node("s", Keep(), ("b",)))
    )
    (problem,) = problems_of(graph.add(Keep(), name="other", after="source"))
    assert "circle" in problem
    assert "a -> b -> a" in problem or "b -> a -> b" in problem


def test_nothing_comes_after_a_sink() -> None:
    assert "nothing leaves a sink" in "\n".join(problems_of(CHAIN.add(Keep(), after="sink")))


def test_two_nodes_of_one_name_are_a_problem() -> None:
    assert "two nodes are called 'sink'" in problems_of(CHAIN.add(Keep(), name="sink", after="double"))[0]


def test_only_a_join_takes_several_branches() -> None:
    graph = CHAIN.add(Double(), name="d2", after="decode").add(Keep(), name="s2", after=("double", "d2"))
    assert "only graph/join takes several branches" in "\n".join(problems_of(graph))


def test_a_join_of_one_branch_is_a_problem() -> None:
    graph = Graph.chain(Numbers(), Decode(), Join(), Compare(), Keep())
    assert "name two nodes or more" in "\n".join(problems_of(graph))


def test_after_a_join_values_of_single_branches_are_not_there() -> None:
    graph = Graph.chain(Numbers(), Decode(), Double()).add(Double(by=3), name="triple", after="decode")
    graph = graph.add(Join(), name="join", after=("double", "triple"))
    assert "reads Doubled" in problems_of(graph.add(RefuseMultiples()).add(Keep()))[-1]
    graph.add(Compare()).add(RefuseMultiples()).add(Keep()).check()


def test_an_unknown_backend_is_found_by_check() -> None:
    assert "there is no backend 'treads'" in problems_of(CHAIN.with_options(backend="treads"))[0]


def test_the_mermaid_picture_has_every_node_and_edge() -> None:
    picture = CHAIN.to_mermaid()
    assert picture.startswith("flowchart LR")
    assert 'double["double<br/>double/toy"]' in picture
    assert "double --> sink" in picture


def stages() -> st.SearchStrategy[object]:
    return st.one_of(
        st.builds(Double, by=st.integers(-5, 5)),
        st.builds(RefuseMultiples, n=st.integers(1, 9)),
        st.builds(Slow, seconds=st.floats(0, 1e-3)),
    )


options = st.builds(
    RunOptions,
    backend=st.sampled_from(["serial", "serial:debug", "threads:1", "threads:7"]),
    max_frames=st.none() | st.integers(1, 10**6),
    no_data_timeout_s=st.none() | st.floats(0.1, 1e6),
    serial_offset=st.integers(-5, 10**9),
    in_flight=st.none() | st.integers(1, 100),
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random graphs with branches and joins that pass check()."""
    graph = Graph.chain(
        Numbers(tuple(draw(st.lists(st.integers(-3, 30), max_size=12)))), Decode(), Double(by=draw(st.integers(0, 9)))
    )
    graph = graph.with_options(**{f: getattr(draw(options), f) for f in ("max_frames", "serial_offset")})
    ends = ["double"]
    for n in range(draw(st.integers(0, 5))):
        parent = draw(st.sampled_from(ends))
        if draw(st.booleans()):
            graph = graph.add(draw(stages()), name=f"n{n}", after=parent)
            if draw(st.booleans()):
                ends.remove(parent)
            ends.append(f"n{n}")
        elif len(ends) > 1:
            both = tuple(draw(st.permutations(ends))[:2])
            graph = graph.add(Join(), name=f"j{n}", after=both).add(Compare(), name=f"c{n}")
            ends = [end for end in ends if end not in both] + [f"c{n}"]
    for name in graph.names:
        if name != "source" and not graph.children(name):
            graph = graph.add(Keep(), name=f"sink_{name}", after=name)
    return graph


@given(graph=graphs(), run_options=options)
@settings(max_examples=60, deadline=None)
def test_a_graph_written_as_yaml_and_read_again_is_the_same_graph(graph: Graph, run_options: RunOptions) -> None:
    graph = Graph(graph.nodes, run_options)
    assert Graph.from_yaml(graph.to_yaml()) == graph


def test_two_modules_cannot_declare_one_stage() -> None:
    namespace = {"__name__": "another_module"}
    with pytest.raises(
        UserError, match=r"two stages are called 'double/toy': Double in .*toy_stages.py and Double in another_module"
    ):
        exec("from pipeline import stage\n@stage('double/toy')\nclass Double:\n    n: int = 1\n", namespace)
