"""What is compiled is compiled anew when anything that it is made of has changed, and only then."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from numba import config

from stages.compute import code_on_disk, portable, stamps, turns
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


def run(parts: Path, before: str = "") -> tuple[float, int]:
    """Call the outer kernel in a new process; return its result, and how often machine code was found on disk."""
    command = [sys.executable, "-c", f"{before}\nimport parts.outer"]
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


KEPT = """
from stages.compute.kernel import kernel


@kernel
def doubled(x):
    return 2 * x
"""


@pytest.fixture
def doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], int]:
    """Declare a kernel as a new process would, and call it; returns how often machine code was found on disk."""
    (tmp_path / "kept.py").write_text(KEPT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code_on_disk, "_said", set())

    def declare_and_call() -> int:
        sys.modules.pop("kept", None)
        function = importlib.import_module("kept").doubled
        assert function(2.0) == 4.0
        return sum(function.stats.cache_hits.values())

    yield declare_and_call
    sys.modules.pop("kept", None)


def spoil(data: bytes) -> bytes:
    return bytes(byte ^ (i % 50 == 25) for i, byte in enumerate(data))


@pytest.mark.parametrize("harm", [lambda data: b"", spoil, lambda data: data[:-100], lambda data: b"rubbish" * 50])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_code_is_compiled_anew_and_replaced(doubled, tmp_path, kind, harm):
    assert (doubled(), doubled()) == (0, 1)
    for file in (tmp_path / "__pycache__").glob(f"*.{kind}"):
        file.write_bytes(harm(file.read_bytes()))
    assert doubled() == 0
    assert doubled() == 1


def test_code_of_another_user_is_not_run_and_that_is_said(doubled, tmp_path, monkeypatch, caplog):
    assert (doubled(), doubled()) == (0, 1)
    owner = code_on_disk._owner
    monkeypatch.setattr(code_on_disk, "_owner", lambda path: 4711 if "__pycache__" in path else owner(path))
    assert doubled() == 0
    assert "user 4711, whose code is not run" in caplog.text


def test_code_that_cannot_be_written_is_used_all_the_same_and_that_is_said_once(doubled, monkeypatch, caplog):
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(code_on_disk._Files, "_open_for_write", no_space)
    assert (doubled(), doubled()) == (0, 0)
    assert caplog.text.count("No space left on device") == 1


def test_without_a_place_for_code_the_program_compiles_in_memory_and_says_so(parts, tmp_path):
    (parts / "__pycache__").touch()  # a file where the folder should be
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": "/dev/null/cache",
        "HOME": "/dev/null",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", "import parts.outer"]
    done = subprocess.run(command, cwd=parts.parent, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "2.0 0\n"
    assert done.stderr.count("set XDG_CACHE_HOME or NUMBA_CACHE_DIR to a folder that you can write to") == 1


def test_a_wrong_setting_of_numbas_is_an_error_and_not_a_missing_place(doubled, monkeypatch):
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "NoSuch")
    with pytest.raises(RuntimeError, match="NoSuch"):
        doubled()


def test_the_stamp_of_a_kernel_covers_what_it_reaches_in_several_steps():
    reached = stamps.reached(search.__name__)
    assert {
        "stages.compute.algebra",
        "stages.index._kernels.spots",
        "stages.index._kernels.known.judge",
        "stages.compute.kernel",
    } <= reached
    assert not any(name.startswith("numpy") for name in reached)
    assert stamps.stamp(search.__name__) != stamps.stamp(judge.__name__)


CAME_ALONG = """
import sys
from pathlib import Path
from stages.compute.places import WithProgram

WithProgram.FOLDER = Path(sys.argv[1])
import parts.outer
"""


@pytest.fixture
def came_along(parts: Path, tmp_path: Path) -> Callable[..., str]:
    """Call the outer kernel in a new process that has no code of its own, but a program that brings some along."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    number = 0

    def call(**settings: str) -> str:
        nonlocal number
        number += 1
        own = {"NUMBA_CACHE_DIR": str(tmp_path / f"own{number}")}
        command = [sys.executable, "-c", CAME_ALONG, str(tmp_path / "program")]
        done = subprocess.run(
            command,
            cwd=parts.parent,
            env={**environment, **own, **settings},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return call


needs_level = pytest.mark.skipif(not portable.is_run_here(), reason=f"this processor is none of {portable.LEVEL}")


@needs_level
def test_code_that_came_with_the_program_is_run_where_there_is_no_other(came_along, tmp_path):
    assert came_along() == "2.0 0"
    assert came_along(**portable.SETTINGS) == "2.0 0"
    assert sorted(path.name for path in (tmp_path / "program").iterdir()) == ["parts.inner", "parts.outer"]
    assert came_along() == "2.0 1"


@needs_level
def test_code_that_came_with_the_program_is_of_its_source_and_for_this_processor_or_not_run(came_along, parts):
    came_along(**portable.SETTINGS)
    assert came_along(NUMBA_CPU_NAME="generic") == "2.0 0"
    (parts / "inner.py").write_text(INNER.format(bias=0, factor=3))
    assert came_along() == "3.0 0"


def test_processors_that_lack_something_of_the_level_run_no_code_of_it(monkeypatch):
    from llvmlite import binding

    has = dict.fromkeys(portable._NEEDS, True)
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: has)
    monkeypatch.setattr(binding, "get_default_triple", lambda: "x86_64-unknown-linux-gnu")
    portable.is_run_here.cache_clear()
    assert portable.is_run_here()
    has["fma"] = False
    portable.is_run_here.cache_clear()
    assert not portable.is_run_here()
    portable.is_run_here.cache_clear()


def test_code_that_is_found_needs_nothing_of_what_numba_knows_of_functions(parts):
    (parts / "outer.py").write_text(
        OUTER.replace("inner(x) + BIAS", "inner(np.ones(3).sum() * x)").replace(
            "from stages", "import numpy as np\nfrom stages", 1
        )
        + "import sys; print('numba.np.arraymath' in sys.modules, 'scipy.linalg' in sys.modules)"
    )
    command = [sys.executable, "-c", "import parts.outer"]
    said = [
        subprocess.run(command, cwd=parts.parent, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    assert said[0][:3] == ["6.0", "0", "True"]
    assert said[1] == ["6.0", "1", "False", "False"]


CALLS_WHAT_WAS_FOUND = """
import parts.outer
from parts.outer import outer
from stages.compute.kernel import kernel

@kernel
def outermost(x):
    return outer(x) + 1.0

print(outermost(1.0))
"""


OTHER_INSIDES = """
from stages.compute import loaded_code

def ready(target_context, payload):
    raise AttributeError("'JITCodeLibrary' object has no attribute of that name")

loaded_code.ready = ready
"""


def test_where_numba_is_another_one_inside_code_is_made_ready_as_numba_does_it(parts):
    value, _ = run(parts)
    assert run(parts, OTHER_INSIDES) == (value, 1)


def test_what_calls_code_that_was_found_is_compiled_with_it(parts):
    run(parts)
    (parts / "outermost.py").write_text(CALLS_WHAT_WAS_FOUND)
    command = [sys.executable, "-c", "import parts.outermost"]
    done = subprocess.run(command, cwd=parts.parent, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2.0", "1", "3.0"]


SLOW = """
from stages.compute.kernel import kernel


@kernel
def slow(x):
    return x + 1.0


print(slow(1.0), sum(slow.stats.cache_hits.values()))
"""


def test_of_two_processes_that_need_a_kernel_one_compiles_it_and_the_other_waits(parts):
    (parts / "slow.py").write_text(SLOW)
    command = [sys.executable, "-c", "import parts.slow"]
    both = [subprocess.Popen(command, cwd=parts.parent, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=120)[0] for process in both)
    assert said == ["2.0 0\n", "2.0 1\n"]


def test_a_lock_is_waited_for_no_longer_than_patience_lasts(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE_S", 0.1)
    holds = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    command = [sys.executable, "-c", holds, str(tmp_path / "a.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert turns.take(tmp_path / "a.lock")
        turns.leave(tmp_path / "a.lock")
        other.communicate("\n", timeout=60)
    assert not turns.take(tmp_path / "a.lock")
    turns.leave(tmp_path / "a.lock")


def test_a_process_that_gives_way_takes_no_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "_is_waited_for", True)
    turns.let_nobody_wait()
    assert not turns.take(tmp_path / "a.lock")
    assert not (tmp_path / "a.lock").exists()
    turns.leave(tmp_path / "a.lock")


def test_something_is_done_before_anything_is_compiled_and_only_then(doubled, monkeypatch):
    done: list[str] = []
    monkeypatch.setattr(code_on_disk, "_to_begin_with", [lambda: done.append("once")])
    assert (doubled(), doubled()) == (0, 1)
    assert done == ["once"]
    code_on_disk.before_anything_is_compiled(lambda: done.append("never"))
    assert doubled() == 1
    assert done == ["once"]
