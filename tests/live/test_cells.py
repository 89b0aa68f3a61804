"""live/cells: the cell on which crystals agree, whatever the basis in which each was found."""

from __future__ import annotations

import json
import logging
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import Context, Frame, Rejected, UserError
from pipeline.by_type import ByType
from stages.files.cell import TargetCell, cell_text, read_cell
from stages.lattices.cell import Lattice, UnitCell
from stages.lattices.clusters import Clusters, basis_of, parameters_of
from stages.lattices.setting import Setting, in_setting_of, reduced_primitive
from stages.live.cells import Cells, CellsWriter
from stages.records import Crystal, Crystals, Hit
from stages.records.told import AgreedCell


def looking_for(target: UnitCell) -> Context:
    """What an analysis is told where a stage upstream looks for this cell."""
    return Context(upstream=ByType([TargetCell(target, cell_text(target))]))


def cell(a: float, b: float, c: float, al: float, be: float, ga: float, *lattice: str) -> UnitCell:
    return UnitCell(a, b, c, math.radians(al), math.radians(be), math.radians(ga), Lattice(*lattice))


CELLS = {
    "tP": cell(79.1, 79.1, 37.9, 90, 90, 90, "tetragonal", "P", "c"),
    "oP": cell(52, 61, 75, 90, 90, 90, "orthorhombic", "P"),
    "oI": cell(60, 70, 80, 90, 90, 90, "orthorhombic", "I"),
    "oC": cell(60, 100, 50, 90, 90, 90, "orthorhombic", "C"),
    "cF": cell(100, 100, 100, 90, 90, 90, "cubic", "F"),
    "cI": cell(100, 100, 100, 90, 90, 90, "cubic", "I"),
    "hR": cell(92, 92, 130, 90, 90, 120, "hexagonal", "H", "c"),
    "hP": cell(92, 92, 130, 90, 90, 120, "hexagonal", "P", "c"),
    "mP": cell(50, 65, 72, 90, 104, 90, "monoclinic", "P", "b"),
    "mC": cell(90, 50, 60, 90, 100, 90, "monoclinic", "C", "b"),
    "aP": cell(40, 50, 60, 80, 95, 102, "triclinic", "P"),
    "large": cell(281, 281, 165, 90, 90, 90, "tetragonal", "P", "c"),
}


def found_in(rng: np.random.Generator, true: UnitCell, error: float = 0.003) -> Crystal:
    """A crystal of a cell, turned and deformed at random, as a primitive cell in any basis of a few vectors."""
    strain = np.eye(3) + rng.normal(0, error, (3, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    real = reduced_primitive(true.real_space_angstrom @ strain @ turn, true.lattice)
    change = np.eye(3, dtype=int)
    for _ in range(3):
        i, j = rng.choice(3, 2, replace=False)
        change[i] += rng.integers(-1, 2) * change[j]
    return Crystal(change @ real, indexed_by="lattice")


def junk(rng: np.random.Generator) -> Crystal:
    return Crystal(
        reduced_primitive(rng.uniform(30, 90, 3)[:, None] * np.linalg.qr(rng.normal(size=(3, 3)))[0], Lattice())
    )


def gathered(stage: Cells, crystals: list[Crystals], context: Context | None = None) -> CellsWriter:
    context = context or Context()
    encode, writer = stage.open(context), stage.open_writer(context)
    for serial, one in enumerate(crystals, 1):
        encoded = encode(Frame(serial).with_values(one, Hit(True, 50)))
        if encoded is not None:
            writer.write(pickle.loads(pickle.dumps(encoded)))
    return writer


def run_of(rng: np.random.Generator, true: UnitCell, n: int = 80, error: float = 0.003) -> list[Crystals]:
    return [Crystals((found_in(rng, true, error),)) for _ in range(n)]


def parameters(found: UnitCell) -> NDArray[np.float64]:
    return np.array([*found.parameters[:3], *np.degrees(found.parameters[3:])])


# --- one lattice, many bases --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_every_basis_of_a_lattice_is_found_in_the_setting_of_the_reference(name: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(40):
        crystal = found_in(rng, CELLS[name], 0.002)
        real = in_setting_of(crystal.real_space_angstrom, crystal.lattice, CELLS[name])
        off = parameters_of((real @ real.T)[None])[0] - parameters(CELLS[name])
        assert np.abs(off[:3] / parameters(CELLS[name])[:3]).max() < 0.015
        assert np.abs(off[3:]).max() < 1.5
        assert np.linalg.det(real) > 0
        inverse = np.linalg.solve(crystal.real_space_angstrom.T, real.T).T  # the same lattice, not one like it
        assert np.abs(inverse * 6 - np.rint(inverse * 6)).max() < 1e-6


def test_the_setting_of_a_basis_is_itself() -> None:
    for true in CELLS.values():
        basis = reduced_primitive(true.real_space_angstrom, true.lattice)
        change, metric = Setting.of(basis).find(basis)
        assert np.allclose(metric, basis @ basis.T)
        assert round(np.linalg.det(change)) == 1


def test_six_parameters_make_the_basis_they_came_from() -> None:
    for true in CELLS.values():
        basis = basis_of(parameters(true))
        assert np.allclose(parameters_of((basis @ basis.T)[None])[0], parameters(true))


# --- clusters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_all_crystals_of_a_lattice_are_one_cluster_and_junk_is_beside_it(name: str) -> None:
    rng = np.random.default_rng(8)
    clusters = Clusters(3.0, 2.0)
    for n in range(60):
        crystal = found_in(rng, CELLS[name]) if n % 6 else junk(rng)
        clusters.add(reduced_primitive(crystal.real_space_angstrom, crystal.lattice))
    assert clusters.num_crystals == 60
    assert len(clusters.ranked()[0]) == 50
    assert len(clusters.ranked()[1]) <= 2


def test_two_crystal_forms_are_two_clusters_whichever_comes_first() -> None:
    rng = np.random.default_rng(9)
    for first in ("oP", "mP"):
        clusters = Clusters(3.0, 2.0)
        second = "mP" if first == "oP" else "oP"
        for n in range(40):
            crystal = found_in(rng, CELLS[second if n % 4 == 3 else first])
            clusters.add(reduced_primitive(crystal.real_space_angstrom, crystal.lattice))
        assert [len(cluster) for cluster in clusters.ranked()] == [30, 10]


def test_clusters_that_began_at_the_edges_of_one_are_united() -> None:
    clusters = Clusters(3.0, 2.0)
    for scale in (0.98, 1.02, *[1.0] * 20):  # the first two differ by more than the tolerance
        clusters.add(np.diag([40.0, 55.0, 70.0]) * scale)
    assert [len(cluster) for cluster in clusters.ranked()] == [22]


def test_memory_is_bounded_when_no_two_cells_agree() -> None:
    rng = np.random.default_rng(10)
    clusters = Clusters(3.0, 2.0)
    for _ in range(300):
        clusters.add(reduced_primitive(junk(rng).real_space_angstrom, Lattice()))
    assert clusters.num_crystals == 300
    assert len(clusters.ranked()) <= 40


# --- the consensus ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_the_consensus_has_the_right_bravais_type_and_cell(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    path = tmp_path / "found.cell"
    writer = gathered(Cells(path=path), run_of(rng, CELLS[name]))
    figures = writer.findings().figures["consensus"]
    found, text = read_cell(path)
    assert found.lattice == CELLS[name].lattice, writer.findings().text
    off = parameters(found) - parameters(_in_axes_of(found, CELLS[name]))
    assert np.abs(off[:3] / parameters(found)[:3]).max() < 0.003
    assert np.abs(off[3:]).max() < 0.3
    assert figures["crystals"] == 80
    assert "; found by streamajig in 80 of 80 crystals" in text


def _in_axes_of(found: UnitCell, true: UnitCell) -> UnitCell:
    """The true cell in the axes that were chosen (a and c of a monoclinic cell, say, may be others)."""
    return UnitCell.from_vectors(in_setting_of(true.real_space_angstrom, true.lattice, found))


@pytest.mark.parametrize("name", CELLS)
def test_with_a_target_the_mean_is_in_its_axes_and_the_report_says_how_far_off_it_is(name: str) -> None:
    rng = np.random.default_rng(12)
    true = CELLS[name]
    given = UnitCell(*[1.01 * x for x in true.parameters[:3]], *true.parameters[3:], true.lattice)
    found = gathered(Cells(), run_of(rng, true), looking_for(given)).findings()
    consensus = found.figures["consensus"]
    assert consensus["is_given_cell"]
    assert np.allclose(consensus["parameters"][:3], true.parameters[:3], rtol=3e-3)
    (off,) = [line.split() for line in found.text.splitlines() if line.lstrip().startswith("off ")]
    assert [float(x) for x in off[1:6:2]] == pytest.approx([-0.99] * 3, abs=0.3)


def test_crystals_of_another_lattice_than_the_given_one_are_called_so() -> None:
    rng = np.random.default_rng(13)
    context = looking_for(CELLS["tP"])
    found = gathered(Cells(), run_of(rng, CELLS["mP"]), context).findings()
    assert not found.figures["consensus"]["is_given_cell"]
    assert "this is NOT the given cell, tetragonal P 79.10 79.10 37.90 A" in found.text


def test_nearly_equal_axes_are_told_apart_if_crystals_are_clear_about_it() -> None:
    rng = np.random.default_rng(14)
    true = cell(78.0, 80.0, 37.9, 90, 90, 90, "orthorhombic", "P")
    figures = gathered(Cells(), run_of(rng, true, error=0.001)).findings().figures["consensus"]
    assert (figures["lattice_type"], figures["centering"]) == ("orthorhombic", "P")
    assert sorted(figures["parameters"][:3]) == pytest.approx([37.9, 78.0, 80.0], rel=3e-3)


def test_what_does_not_agree_is_named_with_its_share() -> None:
    rng = np.random.default_rng(15)
    crystals = run_of(rng, CELLS["tP"], 60) + run_of(rng, CELLS["oI"], 15) + [Crystals((junk(rng),)) for _ in range(5)]
    rng.shuffle(crystals)  # type: ignore[arg-type]
    found = gathered(Cells(), crystals).findings()
    assert found.text.startswith("60 of 80 crystals (75.0 %) agree on tetragonal P, unique axis c")
    assert "besides: 15 (18.8 %) orthorhombic I" in found.text
    assert "besides: 5 (6.2 %) that agree with few others or none" in found.text
    (other,) = found.figures["alternatives"]
    assert (other["crystals"], other["lattice_type"]) == (15, "orthorhombic")


def test_outliers_do_not_move_the_mean() -> None:
    rng = np.random.default_rng(16)
    crystals = run_of(rng, CELLS["oP"], 60, error=0.001)
    crystals[::10] = [Crystals((Crystal(np.diag([52, 61, 75]) * 1.02),)) for _ in crystals[::10]]
    figures = gathered(Cells(), crystals).findings().figures["consensus"]
    assert figures["crystals"] == 60
    assert figures["crystals_in_mean"] <= 54
    assert figures["parameters"][:3] == pytest.approx([52, 61, 75], rel=1e-3)


def test_the_order_of_the_frames_hardly_matters_and_the_same_order_gives_the_same() -> None:
    rng = np.random.default_rng(17)
    crystals = run_of(rng, CELLS["tP"], 60)
    one, two, back = (
        gathered(Cells(), c).findings().figures["consensus"] for c in (crystals, crystals, crystals[::-1])
    )
    assert one == two
    assert one["parameters"] == pytest.approx(back["parameters"], rel=1e-3)


# --- notices and files --------------------------------------------------------------------------------------------------


def test_a_stable_consensus_is_posted_once_and_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(18)
    context, path = Context(), tmp_path / "found.cell"
    posts: list[object] = []
    post = context.board.post
    monkeypatch.setattr(context.board, "post", lambda value: posts.append(value) or post(value))
    with caplog.at_level(logging.INFO, "streamajig"):
        gathered(Cells(path=path, agreeing=25), run_of(rng, CELLS["tP"], 24), context)
        assert context.board.get(AgreedCell) is None
        assert not path.exists()
        gathered(Cells(path=path, agreeing=25), run_of(rng, CELLS["tP"], 100), context)
    assert len(posts) == 1
    posted = context.board[AgreedCell].cell
    assert posted.lattice == CELLS["tP"].lattice
    assert posted.parameters[:3] == pytest.approx(CELLS["tP"].parameters[:3], rel=5e-3)
    assert path.exists(), "it is there before the run ends"
    assert "crystals agree on the cell tetragonal P" in caplog.text


def test_crystals_of_which_no_half_agrees_give_no_stable_consensus(tmp_path: Path) -> None:
    rng = np.random.default_rng(19)
    crystals = [crystals for name in ("tP", "oI", "mP") for crystals in run_of(rng, CELLS[name], 40)]
    rng.shuffle(crystals)  # type: ignore[arg-type]
    context = Context()
    found = gathered(Cells(), crystals, context).findings()
    assert context.board.get(AgreedCell) is None
    assert not found.figures["is_stable"]
    assert found.figures["consensus"]["crystals"] == 40


def test_a_short_run_writes_what_it_has_when_it_ends(tmp_path: Path) -> None:
    rng = np.random.default_rng(20)
    path = tmp_path / "found.cell"
    writer = gathered(Cells(path=path), run_of(rng, CELLS["oP"], 6))
    assert not path.exists()
    assert f"the cell is in {path}" in writer.findings().text
    assert read_cell(path)[0].parameters[:3] == pytest.approx([52, 61, 75], rel=1e-2)
    assert [file.name for file in tmp_path.iterdir()] == ["found.cell"], "nothing is left beside it"


def test_a_cell_file_of_the_users_is_never_overwritten(tmp_path: Path) -> None:
    rng = np.random.default_rng(21)
    path = tmp_path / "mine.cell"
    path.write_text(cell_text(CELLS["tP"]))
    with pytest.raises(UserError, match=r"mine\.cell is there, and streamajig has not written it"):
        Cells(path=path).open_writer(Context())
    ours = tmp_path / "ours.cell"
    for _ in range(2):
        gathered(Cells(path=ours), run_of(rng, CELLS["tP"], 6)).findings()


def test_a_place_that_cannot_be_written_ends_in_a_user_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(22)
    writer = gathered(Cells(path=tmp_path / "no" / "found.cell"), run_of(rng, CELLS["tP"], 6))
    with pytest.raises(UserError, match="cannot write the cell file"):
        writer.findings()


# --- what else is said --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_crystals_are_no_consensus(n: int) -> None:
    rng = np.random.default_rng(23)
    writer = gathered(Cells(), run_of(rng, CELLS["tP"], n))
    assert writer.findings().text == f"{n} crystals, too few that agree to speak of a cell"
    assert writer.status() == ""


def test_frames_that_are_no_hits_and_rejected_ones_say_nothing() -> None:
    encode = Cells().open(Context())
    assert encode(Frame(1).with_values(Crystals(), Hit(False, 3))) is None
    assert encode(Rejected(1, "", 0, "peaks", "broken", "", Frame(1))) is None


def test_hits_that_fit_another_cell_better_are_reported_loudly(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(24)
    other = CELLS["oI"]

    def frame(n: int) -> Crystals:
        if n % 3:
            return Crystals((found_in(rng, CELLS["tP"]),))
        reduced = reduced_primitive(found_in(rng, other).real_space_angstrom, Lattice())
        return Crystals(num_verified=1, elsewhere=(UnitCell.from_vectors(reduced),))

    frames = [frame(n) for n in range(90)]
    frames += [Crystals(num_verified=1)] * 10
    writer = gathered(Cells(), frames, looking_for(CELLS["tP"]))
    found, now = writer.findings(), writer.figures_now()
    assert now["not_this_cell"] in found.text
    assert [(each["crystals"], each["share"]) for each in now["elsewhere"]] == [(30, 1.0)]
    assert (
        "NOT THIS CELL: of 40 hits in which another lattice was looked for, 30 do not fit the given cell, "
        "tetragonal P 79.10 79.10 37.90 A 90.0 90.0 90.0 deg, and fit another; 30 of them fit orthorhombic I"
        in found.text
    )
    assert found.figures["elsewhere"] == 30
    (cells,) = found.figures["elsewhere_cells"]
    assert sorted(cells["parameters"][:3]) == pytest.approx([60, 70, 80], rel=5e-3)
    assert caplog.text.count("NOT THIS CELL") == 1
    assert sum(f.counts().get("not_this_cell", 0) for f in frames) == 30


def test_while_the_run_goes_on_the_cells_are_told_in_brief() -> None:
    rng = np.random.default_rng(8)
    true = CELLS["tP"]
    crystals = [*run_of(rng, true, 60), *run_of(rng, CELLS["oI"], 20)]
    writer = gathered(Cells(), crystals, looking_for(true))
    found = writer.figures_now()
    consensus = found["consensus"]
    assert consensus["cell"] == pytest.approx([79.1, 79.1, 37.9, 90, 90, 90], rel=0.01)
    assert (consensus["lattice"], consensus["centring"]) == ("tetragonal", "P")
    assert (consensus["crystals"], consensus["share"], consensus["is_given_cell"]) == (60, 0.75, True)
    assert all(0 < sigma < 1 for sigma in consensus["sigma"])
    assert [(other["crystals"], other["centring"]) for other in found["alternatives"]] == [(20, "I")]
    assert (found["crystals"], found["elsewhere"], found["not_this_cell"], found["is_stable"]) == (80, [], "", True)
    json.dumps(found)


def test_what_is_told_of_cells_is_made_anew_only_with_another_look() -> None:
    rng = np.random.default_rng(9)
    writer = gathered(Cells(), run_of(rng, CELLS["oP"], 95))
    assert gathered(Cells(), []).figures_now()["consensus"] is None
    told = [writer.figures_now()["consensus"]]
    encode = Cells().open(Context())
    for n, crystals in enumerate(run_of(rng, CELLS["oP"], 12)):
        encoded = encode(Frame(n).with_values(crystals, Hit(True, 50)))
        assert encoded is not None
        writer.write(encoded)
        now = writer.figures_now()
        assert now["crystals"] == 96 + n
        told.append(now["consensus"])
    assert 2 <= len({id(one) for one in told}) <= 3, "a look comes with a tenth more"
    assert told[0]["crystals"] < told[-1]["crystals"]
    said = writer.findings().figures["consensus"]["crystals"]
    assert writer.figures_now()["consensus"]["crystals"] == said > 100, "at the end it is exact"


def test_the_methods_that_found_the_crystals_are_counted() -> None:
    rng = np.random.default_rng(25)
    found = [found_in(rng, CELLS["tP"]) for _ in range(8)]
    by_pairs = [Crystals((Crystal(c.real_space_angstrom, indexed_by="pairs"),)) for c in found[:3]]
    said = gathered(Cells(), [*by_pairs, *[Crystals((c,)) for c in found[3:]]]).findings()
    assert "found by lattice 5, pairs 3" in said.text
    assert said.figures["methods"] == {"pairs": 3, "lattice": 5}


def test_several_crystals_of_a_frame_all_count() -> None:
    rng = np.random.default_rng(26)
    frames = [Crystals(tuple(found_in(rng, CELLS["tP"]) for _ in range(3))) for _ in range(5)]
    figures = gathered(Cells(), frames).findings().figures
    assert (figures["hits"], figures["indexed"], figures["crystals"]) == (5, 5, 15)


def test_the_figures_are_what_json_can_hold() -> None:
    rng = np.random.default_rng(27)
    found: Any = gathered(Cells(), run_of(rng, CELLS["mC"], 30)).findings().figures
    assert json.loads(json.dumps(found, allow_nan=False))["consensus"]["crystals"] == 30


# --- how nearly, how large, and how few ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("true", "said"),
    [
        (cell(60.0, 60.36, 95.0, 90, 90, 90, "orthorhombic", "P"), "nearly tetragonal (0.6 %, 0.0 degrees)"),
        (cell(50.0, 65.0, 72.0, 90, 90.9, 90, "monoclinic", "P", "b"), "nearly orthorhombic (0.0 %, 0.9 degrees)"),
        (cell(66.0, 66.0, 66.7, 90, 90, 90, "tetragonal", "P", "c"), "nearly cubic (1.1 %, 0.0 degrees)"),
    ],
)
def test_beside_the_strict_bravais_type_stands_the_one_that_the_cell_nearly_has(true: UnitCell, said: str) -> None:
    rng = np.random.default_rng(40)
    text = gathered(Cells(), run_of(rng, true, error=0.0002)).findings().text
    assert f"agree on {true.lattice.lattice_type} P" in text
    assert said in text.splitlines()[0]


@pytest.mark.parametrize("name", ["tP", "oP", "mP", "aP", "hR"])
def test_of_a_cell_that_is_near_no_higher_type_nothing_is_said(name: str) -> None:
    rng = np.random.default_rng(41)
    assert "nearly" not in gathered(Cells(), run_of(rng, CELLS[name])).findings().text


def test_a_cell_that_is_larger_in_all_axes_is_said_to_be_so_and_not_called_another_cell() -> None:
    rng = np.random.default_rng(42)
    larger = UnitCell(
        *[1.021 * x for x in CELLS["oP"].parameters[:3]], *CELLS["oP"].parameters[3:], CELLS["oP"].lattice
    )
    text = gathered(Cells(), run_of(rng, larger), looking_for(CELLS["oP"])).findings().text
    assert (
        "the cell is 2.1 % larger in all axes: check the distance (clen times about 0.980) or the photon energy (times 1.021)"
        in text
    )
    assert "NOT" not in text


def test_a_cell_of_which_one_axis_is_longer_is_no_matter_of_the_distance() -> None:
    rng = np.random.default_rng(43)
    longer = cell(52, 61, 77.2, 90, 90, 90, "orthorhombic", "P")
    text = gathered(Cells(), run_of(rng, longer), looking_for(CELLS["oP"])).findings().text
    assert "+2.9" in text
    assert "in all axes" not in text


def test_hits_that_fit_the_given_cell_at_another_distance_are_reported_loudly(caplog: pytest.LogCaptureFixture) -> None:
    frames = [Crystals(num_verified=1, factors=(1.063 + 0.001 * (n - 8),)) for n in range(17)]
    frames += [Crystals(num_verified=1)] * 3
    found = gathered(Cells(), frames, looking_for(CELLS["tP"])).findings()
    sentence = (
        "NOT THIS DISTANCE: of 20 hits in which another lattice was looked for, 17 fit the given cell if it is 6.3 % larger in "
        "all axes: check the distance (clen times about 0.941) or the photon energy (times 1.063)"
    )
    assert sentence in found.text
    assert "NOT THIS CELL" not in found.text
    assert found.figures["num_factors"] == 17
    assert caplog.text.count("NOT THIS DISTANCE") == 1


def test_hits_of_too_few_peaks_are_counted_and_said_if_they_are_many() -> None:
    def report(small: int) -> Any:
        encode, writer = Cells().open(Context()), Cells().open_writer(Context())
        for n in range(50):
            writer.write(encode(Frame(n + 1).with_values(Crystals(), Hit(True, 5 if n < small else 6))))  # type: ignore[arg-type]
        return writer.findings()

    assert (
        "31 of 50 hits have fewer than 6 peaks, and such hits are never indexed: --min-peaks=6 counts them as no hits, a lower "
        "threshold of the peak search may find more" in report(31).text
    )
    assert "fewer than 6 peaks" not in report(4).text
    assert report(4).figures["small_hits"] == 4
