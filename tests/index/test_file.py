"""index/file: crystals of a solution file, under whatever name a frame stands there, in the right units."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import Context, Event, UserError
from pipeline.by_type import ByType
from pipeline.composing.graph import Graph
from pipeline.contract import contract_of
from pipeline.running.job import run
from stages.decode.headers_only import HeadersOnly
from stages.files.cell import cell_text
from stages.files.solution import code_of, keys_of, parse_code, parse_line, read_solutions, solution_lines
from stages.files.stream import read_stream
from stages.geometry_map.map_panels import MapPanels
from stages.index.file import FromFile, Listed
from stages.lattices.cell import LATTICE_TYPES, Lattice, UnitCell
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.records.crystal import Crystal, Crystals
from stages.records.peaklist import Hit
from stages.records.told import IndexingMethods
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.simulation.spot_lists import XRAYS
from stages.sink.headers_only import HeadersOnly as StreamWithoutPixels
from stages.sink.memory import Memory
from stages.source.simulate import Simulate

CELL = "0.125 0 0  0 0.125 0  0 0 0.25"
HIT = Hit(True, 30)


NO_PEAKS, GEOM = XRAYS.peaks_of(np.zeros((0, 3)))


def indexed(tmp_path: Path, text: str, event: str, earlier: Crystals | None = None, **parameters: object) -> Crystals:
    """The crystals of a file as they stand there, whatever the peaks."""
    (tmp_path / "a.sol").write_text(text)
    running = FromFile(file=tmp_path / "a.sol", check_peaks=False, **parameters).open(Context())
    crystals, _ = running(HIT, Event(event), NO_PEAKS, GEOM, earlier)
    return crystals


def test_vectors_are_in_inverse_nanometres_and_shifts_in_millimetres(tmp_path: Path) -> None:
    (crystal,) = indexed(tmp_path, f"run //12 {CELL} 0.25 -0.5 tIc\n", "run // 12")
    assert np.diag(crystal.real_space_angstrom).tolist() == [80.0, 80.0, 40.0]
    assert crystal.det_shift_m == (0.00025, -0.0005)
    assert crystal.lattice == Lattice("tetragonal", "I", "c")
    assert crystal.indexed_by == "file"
    assert math.isnan(crystal.profile_radius_per_angstrom)
    assert crystal.reflections is None


def test_the_vectors_are_those_of_the_reciprocal_lattice_and_stand_in_rows(tmp_path: Path) -> None:
    real = UnitCell(40, 50, 60, 1.4, 1.6, 1.8).real_space_angstrom
    stars = 10 * np.linalg.inv(real).T
    (line,) = solution_lines("run", "run // 12", [(stars, Lattice(), (0.0, 0.0))])
    (crystal,) = indexed(tmp_path, line, "run // 12")
    assert np.allclose(crystal.real_space_angstrom, real, rtol=1e-12)
    hkl = np.array([1, -2, 3])
    assert np.allclose(crystal.real_space_angstrom @ (hkl @ stars / 10), hkl)


@pytest.mark.parametrize(
    "name",
    ["run 7 //12", "run 7 // 12", "run 7 12", "run 7 run 7 // 12", "run  7 //12"],
    ids=["CrystFEL", "as sent", "stream2sol", "file and event", "more blanks"],
)
def test_a_frame_is_known_by_every_spelling_of_its_name(tmp_path: Path, name: str) -> None:
    assert len(indexed(tmp_path, f"{name} {CELL} 0 0 tPc\n", "run 7 // 12")) == 1
    assert len(indexed(tmp_path, f"{name} {CELL} 0 0 tPc\n", "run 7 // 13")) == 0


def test_an_event_without_a_file_stands_under_the_name_that_streams_give_it(tmp_path: Path) -> None:
    assert len(indexed(tmp_path, f"ZMQdata shot-12 {CELL} 0 0 tPc\n", "shot-12")) == 1
    assert len(indexed(tmp_path, f"ZMQdata //12 {CELL} 0 0 tPc\n", "//12")) == 1


def test_several_lines_of_a_frame_are_several_crystals(tmp_path: Path) -> None:
    text = f"# two\nrun //1 {CELL} 0 0 tPc\n\nrun //2 {CELL} 0 0 tPc\nrun //1 0.1 0 0 0 0.1 0 0 0 0.1 0 0 cF\n; end\n"
    assert [c.lattice.lattice_type for c in indexed(tmp_path, text, "run // 1")] == ["tetragonal", "cubic"]
    assert len(indexed(tmp_path, text, "run // 2")) == 1


def test_commas_may_stand_between_the_numbers(tmp_path: Path) -> None:
    assert len(indexed(tmp_path, f"run //1 {CELL.replace('  ', ',')} 0, 0, tPc\n", "run // 1")) == 1


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("run //1 0.1 0 0 tPc", r"a\.sol:2: expected a file name.*found 6"),
        (f"run //1 {CELL.replace('0.25', 'x')} 0 0 tPc", r"a\.sol:2: expected a number, found 'x'"),
        (f"run //1 {CELL.replace('0.25', 'nan')} 0 0 tPc", r"a\.sol:2: expected a number, found 'nan'"),
        (f"run //1 {CELL.replace('0.25', '0')} 0 0 tPc", r"a\.sol:2: the three reciprocal vectors lie in one plane"),
        (f"run //1 {CELL} 0 0 xP", r"a\.sol:2: lattice 'xP': the first letter should be one of a \(triclinic\)"),
        (f"run //1 {CELL} 0 0 aX", r"a\.sol:2: lattice 'aX': the second letter"),
        (f"run //1 {CELL} 0 0 tP", r"a\.sol:2: lattice 'tP' needs its unique axis"),
        (f"run //1 {CELL} 0 0 oPc", r"a\.sol:2: lattice 'oPc': a orthorhombic lattice has no unique axis"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_what_was_wanted(tmp_path: Path, line: str, wanted: str) -> None:
    with pytest.raises(UserError, match=wanted):
        indexed(tmp_path, f"run //1 {CELL} 0 0 tPc\n{line}\n", "run // 1")


def test_a_file_that_is_missing_or_empty_is_said_before_the_first_frame(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the solution file"):
        FromFile(file=tmp_path / "none.sol").open(Context())
    (tmp_path / "a.sol").write_text("# nothing\n")
    with pytest.raises(UserError, match="holds no solution"):
        FromFile(file=tmp_path / "a.sol").open(Context())


@given(st.sampled_from(LATTICE_TYPES), st.sampled_from("PABCIFRH"), st.sampled_from("abc"))
def test_lattice_codes_survive_writing_and_reading(kind: str, centering: str, axis: str) -> None:
    lattice = Lattice(kind, centering, axis if kind in ("monoclinic", "tetragonal", "hexagonal") else "*")
    assert parse_code(code_of(lattice)) == lattice


@given(
    st.sampled_from(["run", "run 7", "/data/a b/run.h5"]),
    st.integers(0, 10**6),
    st.lists(st.floats(-0.5, 0.5), min_size=9, max_size=9),
    st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
)
def test_lines_survive_writing_and_reading(file: str, n: int, numbers: list[float], shift: tuple[float, float]) -> None:
    stars = np.array(numbers).reshape(3, 3) + 2 * np.eye(3)
    event = f"{file} // {n}"
    (line,) = solution_lines(file, event, [(stars, Lattice("cubic", "F"), shift)])
    solution = parse_line(line)
    assert solution.frame in keys_of(event)
    assert np.allclose(solution.crystal.reciprocal_per_angstrom * 10, stars, rtol=1e-9, atol=1e-9)
    assert np.allclose(np.multiply(solution.crystal.det_shift_m, 1e3), shift)


def test_crystals_of_an_earlier_method_are_passed_on_and_tries_add_up(tmp_path: Path) -> None:
    text = f"run //1 {CELL} 0 0 tPc\n"
    before = Crystals((Crystal(np.eye(3) * 50, indexed_by="pairs"),), num_tries=3)
    assert indexed(tmp_path, text, "run // 1", before) is before
    assert indexed(tmp_path, text, "run // 1", Crystals(num_tries=3)).num_tries == 4
    assert indexed(tmp_path, text, "run // 2", Crystals(num_tries=3)) == Crystals(num_tries=4)


def test_frames_that_are_no_hits_pass_by_and_hits_that_are_not_in_the_file_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.sol").write_text(f"run //1 {CELL} 0 0 tPc\n")
    running = FromFile(file=tmp_path / "a.sol", check_peaks=False).open(Context())
    assert running(Hit(False, 3), Event("run // 1"), NO_PEAKS, GEOM, None) == (Crystals(), Listed(False))
    crystals, listed = running(HIT, Event("run // 2"), NO_PEAKS, GEOM, None)
    assert (len(crystals), listed.counts()) == (0, {"hits_not_in_file": 1, "crystals_refused_by_peaks": 0})
    crystals, listed = running(HIT, Event("run // 1"), NO_PEAKS, GEOM, None)
    assert (len(crystals), listed.counts()) == (1, {"hits_not_in_file": 0, "crystals_refused_by_peaks": 0})


def test_with_a_cell_crystals_are_given_in_its_axes_and_others_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lys.cell"
    path.write_text(cell_text(UnitCell(79, 79, 38, *3 * [math.pi / 2], Lattice("tetragonal", "P", "c"))))
    turned = "0 0 0.2632  0.1266 0 0  0 0.1266 0"
    text = f"run //1 {turned} 0 0 aP\nrun //1 0.2 0 0 0 0.2 0 0 0 0.2 0 0 cP\n"
    (crystal,) = indexed(tmp_path, text, "run // 1", cell=path)
    assert np.linalg.norm(crystal.real_space_angstrom, axis=1).round(1).tolist() == [79.0, 79.0, 38.0]
    assert crystal.lattice == Lattice("tetragonal", "P", "c")
    assert "1 of the 2 crystals" in caplog.text
    kept = indexed(tmp_path, text, "run // 1", cell=path, check_cell=False)
    assert [c.lattice.lattice_type for c in kept] == ["tetragonal", "cubic"]


def test_the_stage_says_what_it_is_and_is_read_once_for_all_replicas(tmp_path: Path) -> None:
    (tmp_path / "a.sol").write_text(f"run //1 {CELL} 0 0 tPc\n")
    context = Context(upstream=ByType([IndexingMethods(("pairs",))]))
    stage = FromFile(file=tmp_path / "a.sol")
    one, two = stage.open(context), stage.open(context)
    assert one._solutions is two._solutions
    assert context.published == {IndexingMethods: IndexingMethods(("pairs", "file"))}
    assert contract_of(FromFile).writes == (Crystals, Listed)


def test_crystals_of_a_stream_of_ours_come_back_the_same(tmp_path: Path) -> None:
    apparatus = Apparatus.make(Settings(), size="512x512", distance_mm=45.0)
    geometry, stream, solutions = tmp_path / "sim.geom", tmp_path / "a.stream", tmp_path / "a.sol"
    geometry.write_text(apparatus.geometry_text)
    rng = np.random.default_rng(5)
    with solutions.open("w") as file:
        for n in range(0, 8, 2):
            stars = np.diag([0.125, 0.2, 0.3]) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
            file.writelines(
                f"{line}\n"
                for line in solution_lines("sim", f"sim // {n:04d}", [(stars, Lattice("orthorhombic", "C"), (0.1, 0))])
            )

    def index(output: Path) -> Graph:
        chain = Graph.chain(
            Simulate(frames=8, seed=1, hits=1.0, image=False, size="512x512", distance_mm=45.0),
            HeadersOnly(),
            MapPanels(geometry=geometry),
            FromMessage(),
            HitFinder(min_peaks=1),
            FromFile(file=solutions, check_peaks=False),
            StreamWithoutPixels(path=output),
        )
        return chain.add(Memory(), name="memory", after="index")

    report = run(index(stream))
    assert report.counts["indexed"] == 4
    assert report.counts["hits_not_in_file"] == report.counts["hits"] - 4
    assert f"hits not in file {report.counts['hits'] - 4}" in report.text()
    read = read_stream(stream)
    assert read.indexing == "file"
    first = {frame.event: frame[Crystals] for frame in report.outputs["memory"]}
    lines = [
        line
        for chunk in read.chunks
        for line in solution_lines(
            chunk.filename, chunk.event, [(c.reciprocal_per_nm, c.lattice, c.det_shift_mm) for c in chunk.crystals]
        )
    ]
    solutions.write_text("\n".join(lines))
    assert len(read_solutions(solutions)) == 4
    again = {frame.event: frame[Crystals] for frame in run(index(tmp_path / "b.stream")).outputs["memory"]}
    for event, crystals in first.items():
        assert len(again[event]) == len(crystals)
        for one, other in zip(crystals, again[event], strict=True):
            assert np.allclose(one.real_space_angstrom, other.real_space_angstrom, rtol=0, atol=1e-3)
            assert (one.lattice, one.det_shift_m) == (other.lattice, other.det_shift_m)
