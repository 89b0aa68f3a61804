"""Indexing with a known cell: right on simulated and real stills, silent on noise and on degenerate input."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import UserError
from pipeline.contract import contract_of
from pipeline.stage import Context
from stages.files.cell import TargetCell, cell_text, read_cell
from stages.index._attempts import px_per_angstrom
from stages.index.none import NoIndexing
from stages.index.pairs import Pairs
from stages.lattices.cell import UnitCell, misorientation, rotations
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit, PeakList
from stages.records.told import IndexingMethods, IndexingStages
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, Setup, cell, noise, simulate

WAVELENGTH_ANGSTROM = XRAYS.wavelength_angstrom
CONTEXT = Context()


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A function: unit cell, q list -> Crystals, by way of a cell file, a virtual panel and the stage."""
    folder = tmp_path_factory.mktemp("cells")
    running: dict[tuple[UnitCell, tuple], object] = {}

    def run(unit_cell: UnitCell, q, wavelength_angstrom=WAVELENGTH_ANGSTROM, **parameters) -> Crystals:
        key = (unit_cell, tuple(parameters.items()))
        if key not in running:
            path = folder / f"{len(running)}.cell"
            path.write_text(cell_text(unit_cell))
            running[key] = Pairs(cell=path, **parameters).open(CONTEXT)
        peaks, geom = Setup(wavelength_angstrom).peaks_of(np.asarray(q, np.float64))
        return running[key](Hit(True, len(peaks)), peaks, geom, None)

    return run


def degrees_off(crystals: Crystals, truth, unit_cell: UnitCell) -> float:
    (crystal,) = crystals
    return math.degrees(misorientation(crystal.real_space_angstrom, truth, rotations(unit_cell, 1e-4)))


@pytest.mark.parametrize("spurious", [0.0, 0.25])
@pytest.mark.parametrize("name", [name for name in CELLS if name not in ("large", "nearly_tetragonal")])
def test_the_true_orientation_is_found_in_every_kind_of_lattice(index, name, spurious):
    unit_cell = CELLS[name]
    rng = np.random.default_rng(11)
    right = 0
    for _ in range(12):
        still = simulate(unit_cell, rng, 50, spurious, **SUITABLE.get(name, {}))
        found = index(unit_cell, still.q)
        if len(found):
            assert degrees_off(found, still.real_space_angstrom, unit_cell) < 1.0
            right += degrees_off(found, still.real_space_angstrom, unit_cell) < 0.5
    assert right >= 11


def test_a_cell_of_281_angstrom_is_indexed(index):
    rng = np.random.default_rng(12)
    right = 0
    for _ in range(8):
        still = simulate(CELLS["large"], rng, 100, 0.25, **SUITABLE["large"])
        found = index(CELLS["large"], still.q)
        right += len(found) == 1 and degrees_off(found, still.real_space_angstrom, CELLS["large"]) < 0.5
    assert right >= 7


@pytest.mark.parametrize(("n_spots", "spurious"), [(30, 0.0), (30, 0.25), (60, 0.25), (150, 0.25), (600, 0.25)])
def test_at_least_99_of_100_lysozyme_patterns_are_right_within_half_a_degree(index, n_spots, spurious):
    unit_cell = CELLS["lysozyme"]
    rng = np.random.default_rng(13)
    right = 0
    for _ in range(100):
        still = simulate(unit_cell, rng, n_spots, spurious)
        found = index(unit_cell, still.q)
        right += len(found) == 1 and degrees_off(found, still.real_space_angstrom, unit_cell) < 0.5
    assert right >= 99


@pytest.mark.parametrize("n_spots", [6, 10, 15, 30, 60, 120, 300])
@pytest.mark.parametrize("name", ["lysozyme", "triclinic", "cubic_i"])
def test_noise_is_not_indexed(index, name, n_spots):
    rng = np.random.default_rng(14)
    accepted = sum(len(index(CELLS[name], noise(rng, n_spots))) for _ in range(60))
    assert accepted == 0


@pytest.mark.parametrize("other", ["orthorhombic", "triclinic", "hexagonal", "rhombohedral_h"])
def test_patterns_of_another_crystal_are_not_indexed(index, other):
    rng = np.random.default_rng(15)
    accepted = sum(len(index(CELLS["lysozyme"], simulate(CELLS[other], rng, 60, 0.1).q)) for _ in range(40))
    assert accepted <= 1


def test_the_setting_is_that_of_the_cell_file(index):
    """Unique axis a, b or c: the found axes have the target's lengths in the target's order, right-handed."""
    still = simulate(CELLS["lysozyme"], np.random.default_rng(16), 60)
    for lengths, axis in (((79.1, 79.1, 37.9), "c"), ((37.9, 79.1, 79.1), "a"), ((79.1, 37.9, 79.1), "b")):
        unit_cell = cell(*lengths, 90, 90, 90, "tetragonal", "P", axis)
        (crystal,) = index(unit_cell, still.q)
        assert np.linalg.norm(crystal.real_space_angstrom, axis=1) == pytest.approx(lengths, rel=0.02)
        assert np.linalg.det(crystal.real_space_angstrom) > 0
        assert crystal.lattice == unit_cell.lattice
        assert crystal.indexed_by == "pairs"


def test_nearly_equal_axes_are_told_apart(index):
    unit_cell = CELLS["nearly_tetragonal"]
    rng = np.random.default_rng(17)
    for _ in range(10):
        still = simulate(unit_cell, rng, 80, cell_error=0.0, shift_px=0.0, jitter_px=0.2)
        found = index(unit_cell, still.q)
        assert degrees_off(found, still.real_space_angstrom, unit_cell) < 0.5


def test_axes_that_a_deformed_cell_could_exchange_are_told_apart(index):
    """a = 63 and c = 66: exchanged, a lattice is explained as well by a cell some percent off."""
    unit_cell = CELLS["monoclinic"]
    rng = np.random.default_rng(42)
    for _ in range(60):
        still = simulate(unit_cell, rng, 100, 0.25)
        assert degrees_off(index(unit_cell, still.q), still.real_space_angstrom, unit_cell) < 1.0


def test_the_same_frame_gives_the_same_crystal_to_the_last_bit(index):
    still = simulate(CELLS["triclinic"], np.random.default_rng(18), 40, 0.5)
    first, second = index(CELLS["triclinic"], still.q), index(CELLS["triclinic"], still.q)
    assert len(first) == len(second) == 1
    assert np.array_equal(first.found[0].real_space_angstrom, second.found[0].real_space_angstrom)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_peaks_does_not_matter(index, seed):
    rng = np.random.default_rng(seed)
    still = simulate(CELLS["lysozyme"], rng, 40, 0.2)
    found, shuffled = index(CELLS["lysozyme"], still.q), index(CELLS["lysozyme"], rng.permutation(still.q))
    assert len(found) == len(shuffled) == 1
    assert np.allclose(found.found[0].real_space_angstrom, shuffled.found[0].real_space_angstrom, atol=1e-6)


@given(
    q=st.lists(
        st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4)).map(lambda xy: (*xy, -0.6 * (xy[0] ** 2 + xy[1] ** 2))),
        max_size=60,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_peak_list_gives_finite_crystals_or_none(index, q):
    for crystal in index(CELLS["lysozyme"], np.array(q, np.float64).reshape(-1, 3)):
        assert np.isfinite(crystal.real_space_angstrom).all()


def on_the_detector(x, y) -> np.ndarray:
    """q of points of the plane z = 1, x and y being tangents of the scattering angle."""
    lab = np.column_stack([x, y, np.ones(len(x))])
    return (lab / np.linalg.norm(lab, axis=1)[:, None] - [0, 0, 1]) / WAVELENGTH_ANGSTROM


@pytest.mark.parametrize(
    "q",
    [
        np.zeros((0, 3)),
        np.zeros((50, 3)),
        on_the_detector(np.full(100, 0.1), np.full(100, 0.05)),
        on_the_detector(np.full(100, 0.1) + 1e-9 * np.arange(100), np.full(100, 0.05)),
        on_the_detector(np.linspace(0.0157, 0.0157 * 20, 20), np.zeros(20)),
        on_the_detector(np.linspace(0.02, 0.3, 60), np.linspace(0.04, 0.6, 60)),
        np.concatenate([on_the_detector(np.array([0.1, 0.2]), np.array([0.1, -0.1]))] * 20),
        np.full((40, 3), np.nan),
    ],
    ids=["none", "all in the beam", "one spot", "almost one spot", "one row", "a line", "two spots", "not numbers"],
)
@pytest.mark.parametrize("name", ["lysozyme", "triclinic"])
def test_degenerate_peak_lists_are_not_indexed(index, q, name):
    assert len(index(CELLS[name], q)) == 0


def test_peaks_that_are_not_finite_are_left_out(index):
    still = simulate(CELLS["lysozyme"], np.random.default_rng(19), 50)
    spoiled = np.concatenate([still.q, np.full((20, 3), np.nan)])
    assert degrees_off(index(CELLS["lysozyme"], spoiled), still.real_space_angstrom, CELLS["lysozyme"]) < 0.5


def test_five_spots_are_not_enough(index):
    still = simulate(CELLS["lysozyme"], np.random.default_rng(20), 5)
    assert len(index(CELLS["lysozyme"], still.q)) == 0


def test_no_pairs_leaves_it_to_the_scan_of_directions(index):
    rng = np.random.default_rng(21)
    right = 0
    for _ in range(20):
        still = simulate(CELLS["monoclinic"], rng, 60, 0.25)
        found = index(CELLS["monoclinic"], still.q, max_hypotheses=0)
        right += len(found) == 1 and degrees_off(found, still.real_space_angstrom, CELLS["monoclinic"]) < 0.5
    assert right >= 19


def test_a_cell_out_of_tolerance_is_refused_unless_unchecked(index):
    still = simulate(CELLS["lysozyme"], np.random.default_rng(22), 100, cell_error=0.0)
    q = still.q * 1.015  # a cell 1.5 % smaller
    strict = {"tolerance": (0.3, 0.3, 0.3, 1.5, 1.5, 1.5)}
    assert len(index(CELLS["lysozyme"], q)) == 1
    assert len(index(CELLS["lysozyme"], q, **strict)) == 0
    assert len(index(CELLS["lysozyme"], q, **strict, check_cell=False)) == 1


def test_of_too_many_peaks_the_strongest_are_used(tmp_path):
    still = simulate(CELLS["lysozyme"], np.random.default_rng(23), 60)
    rubbish = noise(np.random.default_rng(24), 940)
    peaks, geom = XRAYS.peaks_of(np.concatenate([rubbish, still.q]))
    strong = PeakList.make(peaks.panel, peaks.fs, peaks.ss, np.where(np.arange(1000) < 940, 1.0, 100.0))
    path = tmp_path / "some.cell"
    path.write_text(cell_text(CELLS["lysozyme"]))
    found = Pairs(cell=path, max_peaks=60).open(CONTEXT)(Hit(True, 1000), strong, geom, None)
    assert degrees_off(found, still.real_space_angstrom, CELLS["lysozyme"]) < 0.5


def test_a_frame_that_is_no_hit_passes_by(tmp_path):
    still = simulate(CELLS["lysozyme"], np.random.default_rng(25), 60)
    peaks, geom = XRAYS.peaks_of(still.q)
    path = tmp_path / "some.cell"
    path.write_text(cell_text(CELLS["lysozyme"]))
    running = Pairs(cell=path).open(CONTEXT)
    assert len(running(Hit(False, 60), peaks, geom, None)) == 0
    assert running(Hit(False, 60), peaks, geom, None).num_tries == 0
    assert len(running(Hit(True, 60), peaks, geom, None)) == 1


def test_replicas_share_the_tables_and_nothing_else(tmp_path):
    path = tmp_path / "some.cell"
    path.write_text(cell_text(CELLS["orthorhombic"]))
    context = Context()
    one, two = Pairs(cell=path).open(context), Pairs(cell=path).open(context)
    assert one.search.target is two.search.target
    assert one.search.scores is not two.search.scores
    assert context.published[TargetCell] == (read_cell(path).cell, path.read_text())
    assert context.published[IndexingMethods] == IndexingMethods(("pairs",))
    assert [stage.cell for stage in context.published[IndexingStages].stages] == [path]
    assert len(context.published) == 3


def test_the_stage_is_a_value_with_the_contract_of_the_pipeline(tmp_path):
    stage = Pairs(cell=tmp_path / "some.cell")
    assert contract_of(Pairs).reads == (Hit, PeakList, DetGeom, Crystals)
    assert contract_of(Pairs).optional == (Crystals,)
    assert contract_of(Pairs).writes == (Crystals,)
    assert pickle.loads(pickle.dumps(stage)) == stage
    assert hash(stage) == hash(Pairs(cell=tmp_path / "some.cell"))
    assert stage.tolerance == (5.0, 5.0, 5.0, 1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    "bad", [{"tolerance": (5, 5, 5)}, {"tolerance": (5, 5, 5, 0, 1, 1)}, {"max_peaks": 3}, {"cel": "x"}]
)
def test_parameters_that_make_no_sense_are_refused(tmp_path, bad):
    with pytest.raises(pydantic.ValidationError):
        Pairs(cell=tmp_path / "some.cell", **bad)


def test_a_missing_cell_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        Pairs(cell=tmp_path / "nowhere.cell").open(Context())


def test_a_pdb_file_publishes_a_cell_file(tmp_path):
    path = tmp_path / "some.pdb"
    path.write_text("CRYST1   79.100   79.100   37.900  90.00  90.00  90.00 P 43 21 2     8\n")
    context = Context()
    Pairs(cell=path).open(context)
    text = context.published[TargetCell].text
    assert text.startswith("CrystFEL unit cell file version 1.0\n")
    again = tmp_path / "again.cell"
    again.write_text(text)
    assert read_cell(again)[0] == read_cell(path)[0]


def test_no_indexing_finds_nothing_and_says_so():
    context = Context()
    running = NoIndexing().open(context)
    assert len(running(Hit(True, 100))) == 0
    assert context.published == {IndexingMethods: IndexingMethods()}


def test_a_pixel_is_kept_within_bounds_whatever_the_geometry():
    _, geom = XRAYS.peaks_of(np.zeros((1, 3)))
    assert px_per_angstrom(geom) == pytest.approx(XRAYS.px_per_angstrom)
    for origin in ([0.0, 0.0, 0.0], [0.0, 0.0, 1e9], [0.0, 0.0, 1e-9]):
        odd = DetGeom(
            geom.panels, np.array([origin]), geom.fs_m, geom.ss_m, geom.photon_energy_ev, geom.clen_m, geom.bad
        )
        assert 1e-4 < px_per_angstrom(odd) < 1e-2


# --- real spots -----------------------------------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("file", "unit_cell"),
    [
        ("thermolysin_cspad_3_stills", cell(93.3, 93.3, 130.9, 90, 90, 120, "hexagonal", "P", "c")),
        ("cunir_pilatus_1_still_raw", cell(96.4, 96.4, 96.4, 90, 90, 90, "cubic", "P")),
    ],
)
def test_real_stills_have_the_orientation_of_the_reference(index, shared_data: Path, file, unit_cell):
    for still in json.loads((shared_data / "spots" / f"{file}.json").read_text())["stills"]:
        found = index(unit_cell, still["q_per_A"], still["wavelength_A"])
        assert degrees_off(found, np.array(still["real_space_vectors_A"]), unit_cell) < 1.0


@pytest.mark.shared_data
def test_thirty_real_lists_of_one_crystal_agree(index, shared_data: Path):
    unit_cell = cell(36.9, 78.95, 78.95, 90, 90, 90, "tetragonal", "P", "a")
    files = sorted((shared_data / "spots" / "ffbidx_simple").glob("image*.txt"))
    assert len(files) == 30
    lists = []
    for file in files:
        q = np.loadtxt(file, skiprows=1)
        on_sphere = np.median(-2 * q[:, 2] / (q**2).sum(axis=1))  # the wavelength for which q lies on the Ewald sphere
        lists.append(index(unit_cell, q, float(round(on_sphere, 4))))
    assert all(len(crystals) == 1 for crystals in lists)
    first = lists[0].found[0].real_space_angstrom
    assert max(degrees_off(crystals, first, unit_cell) for crystals in lists) < 1.0


@pytest.mark.shared_data
@pytest.mark.parametrize("number", [0, 1, 2])
def test_exact_synthetic_lists_give_the_lattice_they_were_made_of(search_of, shared_data: Path, number):
    lines = (shared_data / "spots" / "ffbidx_simple" / f"test{number}.txt").read_text().splitlines()
    truth = np.array(lines[0].split(), np.float64).reshape(3, 3)
    q = np.array([line.split() for line in lines[1:]], np.float64)
    of_pairs = search_of(UnitCell.from_vectors(truth))
    found = of_pairs.search(np.ascontiguousarray(q), 1.0, 5e-4)
    assert found.accepted
    hkl = q @ (of_pairs.target.to_conventional @ found.basis).T
    assert np.abs(hkl - np.rint(hkl)).max() < 0.02
