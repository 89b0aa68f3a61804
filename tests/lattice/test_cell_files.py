"""Unit cell files: CrystFEL's own, PDB, and everything else that a user may name."""

from __future__ import annotations

import logging
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import UserError
from stages.files.cell import cell_text, read_cell
from stages.lattices.cell import LATTICE_TYPES, Lattice, UnitCell

LYSOZYME = """CrystFEL unit cell file version 1.0

; hen egg white
lattice_type = tetragonal
centering = P
unique_axis = c
a = 79.1 A
b = 7.91 nm
c = 37.9 A
al = 90 deg
be = 1.5707963267948966 rad
ga = 90.0 deg
"""
CRYST1 = "CRYST1{:9.3f}{:9.3f}{:9.3f}{:7.2f}{:7.2f}{:7.2f} {:<11s}{:4d}\n"


def written(tmp_path, text, name="some.cell"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_cell_file_is_read_in_both_units_and_handed_on_verbatim(tmp_path):
    cell, text = read_cell(written(tmp_path, LYSOZYME))
    assert cell.parameters == pytest.approx((79.1, 79.1, 37.9, *3 * [math.pi / 2]))
    assert cell.lattice == Lattice("tetragonal", "P", "c")
    assert text == LYSOZYME


def test_line_ends_of_windows_and_a_byte_order_mark_do_not_matter(tmp_path):
    cell, _ = read_cell(written(tmp_path, b"\xef\xbb\xbf" + LYSOZYME.replace("\n", "\r\n").encode()))
    assert cell.a == 79.1


def test_a_file_without_lattice_type_is_triclinic_and_primitive_as_in_crystfel(tmp_path):
    text = "CrystFEL unit cell file version 1.0\na = 40 A\nb = 50 A\nc = 60 A\nal = 80 deg\nbe = 85 deg\nga = 95 deg\n"
    assert read_cell(written(tmp_path, text))[0].lattice == Lattice("triclinic", "P", "*")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("a = 79.1 A\n", "a=79.1 A\n", (":7:", "'a = 79.1 A'", "blanks")),
        ("a = 79.1 A\n", "a = 79.1\n", (":7:", "unit A or nm", "none")),
        ("a = 79.1 A\n", "a = 79.1 um\n", (":7:", "unit A or nm", "'um'")),
        ("a = 79.1 A\n", "a = wide A\n", (":7:", "expected a number", "'wide'")),
        ("a = 79.1 A\n", "a = nan A\n", (":7:", "expected a number", "'nan'")),
        ("a = 79.1 A\n", "a = inf A\n", (":7:", "expected a number", "'inf'")),
        ("a = 79.1 A\n", "a = -79.1 A\n", ("above 0",)),
        ("a = 79.1 A\n", "", ("found no a",)),
        ("al = 90 deg", "al = 90 grad", (":10:", "unit deg or rad", "'grad'")),
        ("al = 90 deg", "al = 200 deg", ("no unit cell has the angles",)),
        ("al = 90 deg", "al = 1 deg", ("below 10 degrees",)),
        ("tetragonal", "quadratic", (":4:", "'quadratic'", "monoclinic")),
        ("centering = P", "centering = Q", (":5:", "'Q'")),
        ("centering = P", "centering = H", ("centering H", "hexagonal")),
        ("unique_axis = c", "unique_axis = d", (":6:", "'d'")),
        ("unique_axis = c", "; none", ("tetragonal", "unique_axis = c")),
    ],
)
def test_a_fault_is_named_with_file_and_line_and_what_was_expected(tmp_path, old, new, words):
    assert old in LYSOZYME
    path = written(tmp_path, LYSOZYME.replace(old, new))
    with pytest.raises(UserError) as caught:
        read_cell(path)
    assert all(word in str(caught.value) for word in (str(path), *words)), str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"\x00\xff" * 400,
        b"\x89HDF\r\n\x1a\n" + bytes(600),
        b"adu_per_photon = 1\nres = 13333\n",
        b"CRYST",
    ],
)
def test_a_file_that_is_no_cell_file_says_what_was_expected(tmp_path, content):
    with pytest.raises(
        UserError, match=r"no unit cell file: expected the first line 'CrystFEL unit cell file version 1\.0'"
    ):
        read_cell(written(tmp_path, content))


def test_a_missing_version_line_is_recognised(tmp_path):
    with pytest.raises(UserError, match="first line is missing"):
        read_cell(written(tmp_path, LYSOZYME.split("\n", 1)[1]))


def test_a_missing_file_and_a_folder_are_user_errors(tmp_path):
    for path in (tmp_path / "nowhere.cell", tmp_path):
        with pytest.raises(UserError, match="cannot read the unit cell file"):
            read_cell(path)


def test_what_crystfel_ignores_is_ignored_with_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "streamajig.cell_file"):
        read_cell(written(tmp_path, LYSOZYME + "hello\nmosaicity = 3 deg\n"))
    assert "hello" in caplog.text
    assert "mosaicity" in caplog.text


def test_a_cell_that_does_not_obey_its_lattice_type_is_taken_with_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "streamajig.cell_file"):
        cell, _ = read_cell(written(tmp_path, LYSOZYME.replace("7.91 nm", "8.05 nm")))
    assert cell.b == pytest.approx(80.5)
    assert "does not obey" in caplog.text


def test_hexagonal_with_centering_r_is_taken_as_h(tmp_path, caplog):
    hexagonal = cell_text(
        UnitCell(66, 66, 150, math.pi / 2, math.pi / 2, 2 * math.pi / 3, Lattice("hexagonal", "H", "c"))
    )
    with caplog.at_level(logging.WARNING, "streamajig.cell_file"):
        cell, _ = read_cell(written(tmp_path, hexagonal.replace("centering = H", "centering = R")))
    assert cell.lattice.centering == "H"
    assert "taken as H" in caplog.text


@pytest.mark.parametrize(
    ("parameters", "group", "lattice"),
    [
        ((79.1, 79.1, 37.9, 90, 90, 90), "P 43 21 2", ("tetragonal", "P", "c")),
        ((93.3, 93.3, 130.9, 90, 90, 120), "P 61 2 2", ("hexagonal", "P", "c")),
        ((66.2, 66.2, 150.2, 90, 90, 120), "P 31 2 1", ("hexagonal", "P", "c")),
        ((66.2, 66.2, 150.2, 90, 90, 120), "H 3 2", ("hexagonal", "H", "c")),
        ((66.2, 66.2, 150.2, 90, 90, 120), "R 3", ("hexagonal", "H", "c")),
        ((60, 60, 60, 75, 75, 75), "R 3", ("rhombohedral", "R", "*")),
        ((96.4, 96.4, 96.4, 90, 90, 90), "P 21 3", ("cubic", "P", "*")),
        ((96.4, 96.4, 96.4, 90, 90, 90), "F 4 3 2", ("cubic", "F", "*")),
        ((63, 50, 66, 90, 106, 90), "P 1 21 1", ("monoclinic", "P", "b")),
        ((120, 50, 66, 90, 106, 90), "C 1 2 1", ("monoclinic", "C", "b")),
        ((120, 50, 66, 90, 106, 90), "I 1 2 1", ("monoclinic", "I", "b")),
        ((63, 50, 66, 90, 90, 106), "P 1 1 21", ("monoclinic", "P", "c")),
        ((46, 58, 71, 90, 90, 90), "P 21 21 21", ("orthorhombic", "P", "*")),
        ((46, 58, 71, 90, 90, 90), "I 2 2 2", ("orthorhombic", "I", "*")),
        ((60, 60, 71, 90, 90, 90), "P 21 21 21", ("orthorhombic", "P", "*")),
        ((43, 52, 61, 80, 75, 100), "P 1", ("triclinic", "P", "*")),
        # no symmetry given, or none that is known: the metric decides, as in CrystFEL
        ((46, 58, 71, 90, 90, 90), "P 1", ("orthorhombic", "P", "*")),
        ((79.1, 79.1, 37.9, 90, 90, 90), "", ("tetragonal", "P", "c")),
        ((37.9, 79.1, 79.1, 90, 90, 90), "", ("tetragonal", "P", "a")),
        ((79.1, 37.9, 79.1, 90, 90, 90), "P 1", ("tetragonal", "P", "b")),
        ((96.4, 96.4, 96.4, 90, 90, 90), "", ("cubic", "P", "*")),
        ((60, 60, 60, 75, 75, 75), "", ("rhombohedral", "R", "*")),
        ((66.2, 66.2, 150.2, 90, 90, 120), "P 1", ("hexagonal", "P", "c")),
        ((63, 50, 66, 90, 106, 90), "P 1", ("monoclinic", "P", "b")),
        ((63, 50, 66, 90, 106, 90), "C 9 9 9", ("monoclinic", "C", "b")),
    ],
)
def test_a_pdb_file_gives_lattice_type_and_centring(tmp_path, parameters, group, lattice):
    text = "HEADER    HYDROLASE\n" + CRYST1.format(*parameters, group, 8) + "END\n"
    cell, made = read_cell(written(tmp_path, text, "some.pdb"))
    assert cell.lattice == Lattice(*lattice)
    assert cell.parameters[:3] == pytest.approx(parameters[:3])
    assert [math.degrees(x) for x in cell.parameters[3:]] == pytest.approx(parameters[3:])
    assert read_cell(written(tmp_path, made))[0].lattice == cell.lattice


def test_a_cryst1_line_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"some.pdb:2: expected six numbers in columns 7 to 54"):
        read_cell(written(tmp_path, "HEADER\nCRYST1   79.1 what\n", "some.pdb"))


def test_the_dummy_cell_of_a_model_without_crystal_is_refused(tmp_path):
    text = CRYST1.format(1, 1, 1, 90, 90, 90, "P 1", 1)
    with pytest.raises(UserError, match="dummy cell"):
        read_cell(written(tmp_path, text, "some.pdb"))


@given(
    kind=st.sampled_from(LATTICE_TYPES),
    centering=st.sampled_from("PABCIF"),
    lengths=st.tuples(*3 * [st.floats(5, 500).map(lambda x: round(x, 4))]),
)
@settings(max_examples=40, deadline=None)
def test_a_cell_survives_its_own_text(tmp_path_factory, kind, centering, lengths):
    axis = "b" if kind in ("monoclinic", "tetragonal", "hexagonal") else "*"
    cell = UnitCell(*lengths, math.radians(80), math.radians(95), math.radians(88.5), Lattice(kind, centering, axis))
    path = tmp_path_factory.mktemp("cells") / "some.cell"
    path.write_text(cell_text(cell))
    again, _ = read_cell(path)
    assert again.lattice == cell.lattice
    assert again.parameters == pytest.approx(cell.parameters, rel=1e-7)


@pytest.mark.parametrize("seed", range(30))
def test_a_broken_cell_file_is_read_or_refused_but_never_crashes(tmp_path, seed):
    import random

    rng = random.Random(seed)
    raw = bytearray(LYSOZYME.encode())
    for _ in range(rng.randint(1, 12)):
        where = rng.randrange(len(raw))
        if rng.random() < 0.5:
            raw[where] = rng.randrange(256)
        else:
            del raw[where : where + rng.randint(1, 9)]
    try:
        cell, _ = read_cell(written(tmp_path, bytes(raw)))
    except UserError:
        return
    assert cell.volume > 0
