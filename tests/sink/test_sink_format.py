"""The kernels that write numbers, against Python's own formatting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.records import Panel
from stages.sink._kernels.text import LIMIT, LONGEST_LINE
from stages.sink._lines import LONGEST_TEXT, PanelNames, one_line, peak_lines, reflection_lines

NAMES = PanelNames((Panel("p0"), Panel("q1a15"), Panel("detector/über")))
ORDINARY = st.floats(-LIMIT, LIMIT, exclude_min=True, exclude_max=True)
ANY = st.floats(allow_nan=True, allow_infinity=True)
TIES = st.integers(-(10**9), 10**9).map(lambda n: n / 8)
HUNDREDTHS = st.integers(-(10**10), 10**10).map(lambda n: n / 1000)


def clipped(value: float) -> float:
    largest = float(np.finfo(np.float32).max)
    return value if np.isnan(value) else min(max(value, -largest), largest)


def peak_line_of_c(fs: float, ss: float, inverse_d: float, intensity: float, panel: str) -> str:
    numbers = tuple(map(clipped, (fs, ss, inverse_d, intensity)))
    return "%7.2f %7.2f %10.2f  %10.2f   %s\n" % (*numbers, panel)  # noqa: UP031 - C's format is the point


def reflection_line_of_c(hkl: tuple[int, ...], numbers: tuple[float, ...], panel: str) -> str:
    form = "%4i %4i %4i %10.2f %10.2f %10.2f %10.2f %6.1f %6.1f %s\n"
    return form % (*hkl, *map(clipped, numbers), panel)


def one_peak(numbers: tuple[float, ...], panel: int = 0) -> str:
    return peak_lines(*[np.array([number]) for number in numbers], np.array([panel], np.int32), NAMES).decode()


@pytest.mark.parametrize("strategy", [ORDINARY, TIES, HUNDREDTHS, ANY], ids=["ordinary", "ties", "hundredths", "any"])
def test_peak_lines_are_what_printf_makes(strategy: st.SearchStrategy[float]) -> None:
    @settings(max_examples=300, deadline=None)
    @given(st.tuples(strategy, strategy, strategy, strategy), st.integers(0, 2))
    def agrees(numbers: tuple[float, ...], panel: int) -> None:
        assert one_peak(numbers, panel) == peak_line_of_c(*numbers, NAMES.names[panel])

    agrees()


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 3) | st.tuples(*[st.integers(-30, 30)] * 3),
    st.tuples(*[ORDINARY | TIES] * 6) | st.tuples(*[ANY] * 6),
    st.integers(0, 2),
)
@example((0, 0, 0), (0.125, -0.125, 2.675, 1.005, 0.25, -0.05), 0)
@example((-1, 10, 1000), (-0.0, -0.004, 0.995, 999999999.995, 0.35, 99999.95), 1)
def test_reflection_lines_are_what_printf_makes(hkl: tuple[int, ...], numbers: tuple[float, ...], panel: int) -> None:
    values = np.array(numbers[:4]).reshape(4, 1)
    fs, ss = np.array(numbers[4:5]), np.array(numbers[5:])
    lines = reflection_lines(np.array([hkl], np.int32), values, fs, ss, np.array([panel], np.int32), NAMES)
    assert lines.decode() == reflection_line_of_c(hkl, numbers, NAMES.names[panel])


def test_many_lines_follow_each_other() -> None:
    rng = np.random.default_rng(7)
    n = 5000
    hkl = rng.integers(-99, 100, (n, 3)).astype(np.int32)
    values = rng.normal(0, 10.0 ** rng.integers(-3, 9, (4, n)))
    fs, ss = rng.uniform(0, 5000, n), rng.uniform(0, 5000, n)
    panel = rng.integers(0, 3, n).astype(np.int32)
    lines = reflection_lines(hkl, values, fs, ss, panel, NAMES).decode()
    wanted = [
        reflection_line_of_c(tuple(hkl[k]), (*values[:, k], fs[k], ss[k]), NAMES.names[panel[k]]) for k in range(n)
    ]
    assert lines == "".join(wanted)


def test_the_longest_line_fits_the_buffer() -> None:
    widest = -np.nextafter(LIMIT, 0)
    one, panel = np.array([widest]), np.zeros(1, np.int32)
    lines = reflection_lines(np.full((1, 3), -(2**31), np.int32), np.full((4, 1), widest), one, one, panel, NAMES)
    assert len(lines) <= LONGEST_LINE + len("p0")


def test_a_panel_that_the_geometry_does_not_have_is_refused() -> None:
    one = np.zeros(1)
    for panel in (-1, 3):
        with pytest.raises(ValueError, match="the geometry has 3 panels"):
            peak_lines(one, one, one, one, np.array([panel], np.int32), NAMES)


def test_no_rows_are_no_lines() -> None:
    none = np.zeros(0)
    assert peak_lines(none, none, none, none, np.zeros(0, np.int32), NAMES) == b""


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=3000), st.integers(40, 1000))
def test_any_text_fits_on_one_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line.splitlines()) <= 1
    assert len(line.encode()) <= limit
    assert "\x00" not in line


@given(st.text(st.characters(exclude_categories=("C", "Zl", "Zp"), exclude_characters="-="), max_size=200))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert one_line(text) == text


def test_long_names_that_differ_stay_different() -> None:
    for length in (1000, 5000, 1_000_000):
        one, other = one_line("x" * length + "a"), one_line("x" * length + "b")
        assert one != other
        assert len(one) == len(other) == LONGEST_TEXT


@pytest.mark.parametrize(
    "words",
    ["----- Begin chunk -----", "--- End crystal", "End of reflections", "photon_energy_eV = 3", "astar = 1 2 3"],
)
def test_words_that_readers_look_for_are_broken_up(words: str) -> None:
    assert words not in one_line(f"run {words} 3")
