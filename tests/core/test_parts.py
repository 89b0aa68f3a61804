"""Kernels that others call are parts of these, and are made ready to run when Python calls them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import numpy as np
from stages.compute.kernel import kernel


@kernel
def innermost(x, limit=3.0):
    if x > limit:
        raise ValueError("beyond the limit")
    return 2.0 * x


@kernel
def inner(x):
    made = np.full(3, innermost(x))
    return made.sum()


@kernel
def outer(x):
    return inner(x) + innermost(x, limit=7.0)


@kernel
def three(x):
    return np.full(3, x)


@kernel
def sum_of_three(x):
    return three(x).sum()
"""


@pytest.fixture
def say(tmp_path: Path):
    """Run lines in a new process that has imported kernels that call each other; returns what they print."""
    (tmp_path / "chain.py").write_text(MODULE)

    def run(*lines: str) -> list[str]:
        command = [sys.executable, "-c", "\n".join(["from chain import *", *lines])]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()

    return run


SIGNATURES = "print(*(len(f.signatures) for f in (outer, inner, innermost)))"


def test_what_kernels_call_is_compiled_with_them_and_made_ready_when_python_calls_it(say):
    assert say("print(outer(1.0))", SIGNATURES) == ["8.0", "1", "0", "0"]
    assert say("print(outer(1.0))", SIGNATURES, "print(inner(1.0))", SIGNATURES) == [
        *("8.0", "1", "0", "0"),
        *("6.0", "1", "1", "0"),
    ]
    hits = "print(*(sum(f.stats.cache_hits.values()) for f in (outer, inner)))"
    assert say("print(inner(1.0), outer(1.0))", hits) == ["6.0", "8.0", "1", "1"]


def test_what_is_ready_is_taken_into_what_calls_it(say):
    assert say("print(innermost(1.0), inner(1.0), outer(1.0))") == ["2.0", "6.0", "8.0"]
    assert say("print(innermost(2.0), outer(2.0), inner(2.0))") == ["4.0", "16.0", "12.0"]


def test_what_is_ready_makes_its_result_where_its_part_was_there_before_by_itself_or_in_another(say):
    assert say("print(three(1.0)[0])") == ["1.0"]
    both = "print(sum_of_three(2.0), three(3.0)[0])"
    assert say(both) == ["6.0", "3.0"], "compiled with the part"
    assert say(both) == ["6.0", "3.0"], "what is ready of the other names the part's constants"


RAISES = """
for function, x in ((outer, 4.0), (innermost, 5.0)):
    try:
        function(x)
    except ValueError as error:
        print(str(error).split()[-1])
"""


def test_what_a_part_raises_comes_to_python_whether_it_is_compiled_or_found(say):
    assert say(RAISES) == ["limit", "limit"]
    assert say(RAISES) == ["limit", "limit"]


ABROAD = """
import pickle
again = pickle.loads(pickle.dumps(outer))
print(again(1.0), len(again.signatures))
"""


def test_a_kernel_can_be_pickled(say):
    assert say(ABROAD) == ["8.0", "1"]


OF_SOMEBODY = """
import numba

@numba.njit
def theirs(x):
    return outer(x) + 1.0

print(theirs(1.0), len(outer.signatures))
print(outer(1.0), len(outer.signatures))
"""


def test_a_function_of_numbas_calls_kernels(say):
    assert say(OF_SOMEBODY) == ["9.0", "0", "8.0", "1"]
    assert say(OF_SOMEBODY) == ["9.0", "0", "8.0", "1"]
