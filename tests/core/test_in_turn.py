"""Methods in turn are a chain: each stage takes what is there already, if anything is, and passes it on."""

from __future__ import annotations

from typing import Any

import pytest
from toy_stages import Decode, Keep, Number, Numbers

from pipeline import Context, Event, stage
from pipeline.composing.graph import Graph, GraphError
from pipeline.contract import contract_of
from pipeline.running.job import run


class Factors(tuple[int, ...]):
    """The divisors found so far."""

    __slots__ = ()


class RunningTry:
    def __init__(self, divisor: int) -> None:
        self._divisor = divisor

    def __call__(self, number: Number, earlier: Factors | None) -> Factors:
        if earlier or number % self._divisor:
            return earlier or Factors()
        return Factors((self._divisor,))


class Divisors(tuple[int, ...]):
    """Those that are tried, told downstream."""


@stage("try/toy", publishes=(Divisors,), uses=(Divisors,))
class Try:
    """Finds one divisor, if nothing has been found yet."""

    divisor: int = 2

    def open(self, context: Context) -> RunningTry:
        context.publish(Divisors((*context.upstream.get(Divisors, ()), self.divisor)))
        return RunningTry(self.divisor)


@stage("look/toy")
class Look:
    """Needs what the chain has found."""

    def __call__(self, found: Factors, event: Event) -> Number:
        return Number(100 * (found[0] if found else 0) + int(event.rpartition(" ")[2]))


def chain(*divisors: int) -> Graph:
    made = Graph.chain(Numbers(tuple(range(1, 10))), Decode())
    for n, divisor in enumerate(divisors):
        made = made.add(Try(divisor), name=f"try_{n}")
    return made.add(Look()).add(Keep())


@pytest.mark.parametrize("backend", ["serial", "serial:debug", "threads:2"])
def test_each_method_of_a_chain_tries_what_the_ones_before_it_have_not_found(backend: str) -> None:
    made = chain(2, 3, 5).with_options(backend=backend)
    made.check()
    numbers = _numbers(made)
    assert numbers == {1: 0, 2: 2, 3: 3, 4: 2, 5: 5, 6: 2, 7: 0, 8: 2, 9: 3}


def test_the_order_of_the_chain_decides_who_comes_first() -> None:
    assert _numbers(chain(3, 2))[6] == 3
    assert _numbers(chain(2, 3))[6] == 2


def test_the_contract_of_such_a_stage_writes_what_it_may_read() -> None:
    contract = contract_of(Try)
    assert (contract.reads, contract.optional, contract.writes) == ((Number, Factors), (Factors,), (Factors,))


def test_a_chain_survives_its_yaml() -> None:
    made = chain(2, 3, 5)
    assert Graph.from_yaml(made.to_yaml()) == made


def test_what_nothing_writes_is_still_missed() -> None:
    made = Graph.chain(Numbers((1,)), Decode(), Look(), Keep())
    with pytest.raises(GraphError, match="reads Factors, which nothing upstream writes"):
        made.check()


def test_each_node_sees_what_those_before_it_have_published() -> None:
    from pipeline.running.wiring import Replica, Setup

    setup = Setup(chain(2, 3, 5))
    Replica(setup).close()
    assert setup.context_of(setup.graph.node("try_2"), 0).upstream[Divisors] == (2, 3)
    assert setup.published["try_1"][Divisors] == (2, 3)


def _numbers(graph: Graph) -> dict[int, int]:
    """Number -> the divisor that was found, 0 if none was."""
    kept: dict[int, int] = {}

    def keep(outcome: Any) -> Any:
        number = int(outcome[Number])
        kept[number % 100] = number // 100

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keep, "open", lambda self, context: keep)
        assert run(graph).is_conserved
    return kept
