"""What is compiled is compiled anew when anything that it is made of has changed, and only then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stages.compute import kernel
from stages.index._kernels.known import judge, search

OUTER = """
from parts.inner import BIAS, inner
from stages.compute.kernel import kernel


@kernel
def outer(x):
    return inner(x) + BIAS


print(outer(1.0), sum(outer.stats.cache_hits.values()))
"""
INNER = """
from stages.compute.kernel import kernel

BIAS = {bias}


@kernel
def inner(x):
    return {factor} * x
"""


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "outer.py").write_text(OUTER)
    (folder / "inner.py").write_text(INNER.format(bias=0, factor=2))
    (folder / "aside.py").write_text("")
    return folder


def run(parts: Path) -> tuple[float, int]:
    """Call the outer kernel in a new process; return its result, and how often machine code was found on disk."""
    command = [sys.executable, "-c", "import parts.outer"]
    out = subprocess.run(command, cwd=parts.parent, capture_output=True, text=True, check=True).stdout
    value, hits = out.split()
    return float(value), int(hits)


def test_an_edit_of_a_callee_in_another_file_is_seen(parts):
    assert run(parts) == (2.0, 0)
    assert run(parts) == (2.0, 1)
    (parts / "inner.py").write_text(INNER.format(bias=0, factor=3))
    assert run(parts) == (3.0, 0)


def test_an_edit_of_a_constant_in_another_file_is_seen(parts):
    run(parts)
    (parts / "inner.py").write_text(INNER.format(bias=7, factor=2))
    assert run(parts) == (9.0, 0)


def test_an_edit_of_a_file_that_is_not_imported_costs_nothing(parts):
    run(parts)
    (parts / "aside.py").write_text("x = 1\n")
    assert run(parts) == (2.0, 1)


TUPLES = """
from typing import NamedTuple


class {name}(NamedTuple):
    x: float


Pair = {name}
"""
TAKES_A_TUPLE = """
from parts.tuples import Pair
from stages.compute.kernel import kernel


@kernel
def outer(pair):
    return 2 * pair.x


print(outer(Pair(1.0)), sum(outer.stats.cache_hits.values()))
"""


def test_code_for_a_named_tuple_that_is_no_longer_there_is_compiled_anew(parts):
    (parts / "outer.py").write_text(TAKES_A_TUPLE)
    (parts / "tuples.py").write_text(TUPLES.format(name="Before"))
    assert run(parts) == (2.0, 0)
    assert run(parts) == (2.0, 1)
    (parts / "tuples.py").write_text(TUPLES.format(name="After"))
    assert run(parts) == (2.0, 0)
    assert run(parts) == (2.0, 1)


def test_the_stamp_of_a_kernel_covers_what_it_reaches_in_several_steps():
    reached = kernel._reached(search.__name__)
    assert {
        "stages.compute.algebra",
        "stages.index._kernels.spots",
        "stages.index._kernels.known.judge",
        "stages.compute.kernel",
    } <= reached
    assert not any(name.startswith("numpy") for name in reached)
    assert kernel.stamp(search.__name__) != kernel.stamp(judge.__name__)
