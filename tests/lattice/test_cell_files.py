"""Unit cell files: CrystFEL's own, PDB, and everything else that a user may name."""

from __future__ import annotations

import logging
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import UserError
from stages.files.cell import cell_text, lattice_alone, read_cell
from stages.lattices.cell import LATTICE_TYPES, WITH_UNIQUE_AXIS, Lattice, UnitCell, impose_bravais
from stages.lattices.restrictions import centrings_of

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


# --- cells that contradict themselves -----------------------------------------------------------------------------------


def cell_file(lattice: str, parameters: tuple[float, ...]) -> str:
    """A cell file of a lattice type, a centring and perhaps a unique axis, and the six parameters."""
    kind, centering, *axis = lattice.split()
    lines = [f"lattice_type = {kind}", f"centering = {centering}", *(f"unique_axis = {word}" for word in axis)]
    lines += [f"{key} = {x} A" for key, x in zip("abc", parameters[:3], strict=True)]
    lines += [f"{key} = {x} deg" for key, x in zip(("al", "be", "ga"), parameters[3:], strict=True)]
    return "\n".join(["CrystFEL unit cell file version 1.0", *lines, ""])


CONTRADICTIONS = {
    "rhombohedral R with hexagonal axes": (
        ("rhombohedral R", (66.2, 66.2, 150.2, 90, 90, 120)),
        "lattice_type = rhombohedral asks for a = b = c and al = be = ga, but the cell is 66.2 66.2 150.2 A, 90 90 120 deg. "
        "Is it meant to be a rhombohedral lattice on hexagonal axes: 'lattice_type = hexagonal', 'centering = H' and "
        "'unique_axis = c'?",
    ),
    "hexagonal H with rhombohedral axes": (
        ("hexagonal H c", (60, 60, 60, 75, 75, 75)),
        "lattice_type = hexagonal with unique_axis = c asks for a = b, al = be = 90 deg and ga = 120 deg, but the cell is "
        "60 60 60 A, 75 75 75 deg. Is it meant to be a rhombohedral lattice on its own axes: 'lattice_type = rhombohedral' and "
        "'centering = R'?",
    ),
    "tetragonal, a and b slightly different": (
        ("tetragonal P c", (79.1, 80.5, 37.9, 90, 90, 90)),
        "lattice_type = tetragonal with unique_axis = c asks for a = b and al = be = ga = 90 deg, but the cell is "
        "79.1 80.5 37.9 A, 90 90 90 deg. Is it meant to be 'lattice_type = orthorhombic'? If the lattice type is right, write "
        "79.803 79.803 37.9 A, 90 90 90 deg.",
    ),
    "tetragonal about another axis": (
        ("tetragonal P c", (37.9, 79.1, 79.1, 90, 90, 90)),
        "lattice_type = tetragonal with unique_axis = c asks for a = b and al = be = ga = 90 deg, but the cell is "
        "37.9 79.1 79.1 A, 90 90 90 deg. Is it meant to be 'unique_axis = a'?",
    ),
    "orthorhombic, oblique": (
        ("orthorhombic C", (120, 50, 66, 90, 103, 90)),
        "lattice_type = orthorhombic asks for al = be = ga = 90 deg, but the cell is 120 50 66 A, 90 103 90 deg. Is it meant "
        "to be 'lattice_type = monoclinic' and 'unique_axis = b'?",
    ),
    "monoclinic about another axis": (
        ("monoclinic P c", (63, 50, 66, 90, 106, 90)),
        "lattice_type = monoclinic with unique_axis = c asks for al = be = 90 deg, but the cell is 63 50 66 A, 90 106 90 deg. "
        "Is it meant to be 'unique_axis = b'?",
    ),
    "monoclinic, two angles oblique": (
        ("monoclinic P b", (63, 50, 66, 95, 106, 90)),
        "lattice_type = monoclinic with unique_axis = b asks for al = ga = 90 deg, but the cell is 63 50 66 A, 95 106 90 deg. "
        "Is it meant to be 'lattice_type = triclinic'?",
    ),
    "hexagonal about another axis": (
        ("hexagonal P a", (93.3, 93.3, 130.9, 90, 90, 120)),
        "lattice_type = hexagonal with unique_axis = a asks for b = c, be = ga = 90 deg and al = 120 deg, but the cell is "
        "93.3 93.3 130.9 A, 90 90 120 deg. Is it meant to be 'unique_axis = c'?",
    ),
    "hexagonal with 60 degrees": (
        ("hexagonal P c", (93.3, 93.3, 130.9, 90, 90, 60)),
        "lattice_type = hexagonal with unique_axis = c asks for a = b, al = be = 90 deg and ga = 120 deg, but the cell is "
        "93.3 93.3 130.9 A, 90 90 60 deg. The same lattice has axes with 120 deg instead of 60: write that.",
    ),
    "cubic, one axis longer": (
        ("cubic I", (78, 78, 98.5, 90, 90, 90)),
        "lattice_type = cubic asks for a = b = c and al = be = ga = 90 deg, but the cell is 78 78 98.5 A, 90 90 90 deg. Is it "
        "meant to be 'lattice_type = tetragonal' and 'unique_axis = c'?",
    ),
    "a centring that the lattice type cannot have": (
        ("cubic C", (78, 78, 78, 90, 90, 90)),
        "centering C is impossible for a cubic lattice, which has P, I or F",
    ),
    "a centring across the wrong axis": (
        ("tetragonal A c", (79.1, 79.1, 37.9, 90, 90, 90)),
        "centering A is impossible for a tetragonal lattice with unique axis c, which has P, C, I or F",
    ),
    "centring R of no rhombohedral lattice": (
        ("orthorhombic R", (46, 58, 71, 90, 90, 90)),
        "centering R goes with 'lattice_type = rhombohedral', whose axes are equal, found an orthorhombic lattice; on "
        "hexagonal axes such a lattice is 'lattice_type = hexagonal', 'centering = H', 'unique_axis = c'",
    ),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_a_cell_that_contradicts_itself_is_refused_with_what_it_could_be_meant_to_be(tmp_path, what):
    (lattice, parameters), sentence = CONTRADICTIONS[what]
    path = written(tmp_path, cell_file(lattice, parameters))
    with pytest.raises(UserError) as caught:
        read_cell(path)
    assert str(caught.value) == f"{path}: {sentence}"


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_what_is_proposed_instead_is_taken(tmp_path, what):
    (lattice, parameters), sentence = CONTRADICTIONS[what]
    words = dict(zip(("lattice_type", "centering", "unique_axis"), [*lattice.split(), "*"], strict=False))
    proposed = dict(re.findall(r"'(\w+) = (\w+)'", sentence.partition("meant to be")[2]))
    words.update(proposed)
    if "120 deg instead" in sentence:
        parameters = (*parameters[:5], 120)
    elif not proposed:
        words["centering"] = "P"
    lattice = " ".join(words[key] for key in ("lattice_type", "centering", "unique_axis") if words.get(key, "*") != "*")
    if words["lattice_type"] not in WITH_UNIQUE_AXIS:
        lattice = " ".join(lattice.split()[:2])
    assert read_cell(written(tmp_path, cell_file(lattice, parameters)))[0].lattice.lattice_type == words["lattice_type"]


@pytest.mark.parametrize(
    ("parameters", "group", "sentence"),
    [
        (
            (63, 50, 66, 90, 103, 90),
            "P 21 21 21",
            "the space group 'P 21 21 21' is orthorhombic and asks for al = be = ga = 90 deg, but the cell is 63 50 66 A, "
            "90 103 90 deg. Such a cell is monoclinic P, unique axis b: is the space group right?",
        ),
        (
            (63, 50, 66, 90, 90, 106),
            "P 1 21 1",
            "the space group 'P 1 21 1' is monoclinic and asks for al = ga = 90 deg, but the cell is 63 50 66 A, 90 90 106 "
            "deg. Such a cell is monoclinic P, unique axis c: is the space group right?",
        ),
    ],
)
def test_a_pdb_file_whose_cell_is_not_its_space_groups_is_refused_in_its_words(tmp_path, parameters, group, sentence):
    path = written(tmp_path, CRYST1.format(*parameters, group, 4), "some.pdb")
    with pytest.raises(UserError) as caught:
        read_cell(path)
    assert str(caught.value) == f"{path}:1: {sentence}"


@pytest.mark.parametrize(
    ("lattice", "parameters"),
    [
        ("rhombohedral R", (60, 60, 60, 75, 75, 75)),
        ("hexagonal H c", (66.2, 66.2, 150.2, 90, 90, 120)),
        ("tetragonal I a", (37.9, 79.1, 79.1, 90, 90, 90)),
        ("monoclinic C b", (120, 50, 66, 90, 106, 90)),
        ("triclinic P", (79.1, 79.1, 37.9, 90, 90, 90)),
        ("orthorhombic F", (60, 60, 60, 90, 90, 90)),
    ],
)
def test_a_cell_that_obeys_its_lattice_type_is_taken_as_it_is_though_a_higher_one_would_do(
    tmp_path, caplog, lattice, parameters
):
    cell, _ = read_cell(written(tmp_path, cell_file(lattice, parameters)))
    assert cell.parameters[:3] == parameters[:3]
    assert not caplog.records


def only_lattice(*lines: str) -> str:
    return "\n".join(["CrystFEL unit cell file version 1.0", *lines, ""])


def test_a_file_of_lattice_type_and_centring_alone_is_read_as_such(tmp_path):
    path = written(tmp_path, only_lattice("lattice_type = monoclinic", "centering = A", "unique_axis = c"))
    assert lattice_alone(path) == Lattice("monoclinic", "A", "c")
    with pytest.raises(UserError) as caught:
        read_cell(path)
    assert str(caught.value) == (
        f"{path} has a lattice type and no parameters, and a whole unit cell is needed here: add a, b, c, al, be and ga, or "
        "index without a cell, which the lattice type restricts (--indexing=auto or lattice)"
    )


def test_whole_cells_and_other_files_are_no_lattice_alone(tmp_path):
    assert lattice_alone(written(tmp_path, LYSOZYME)) is None
    assert lattice_alone(written(tmp_path, LYSOZYME.replace("a = 79.1 A\n", ""))) is None
    assert lattice_alone(written(tmp_path, CRYST1.format(46, 58, 71, 90, 90, 90, "P 1", 1), "some.pdb")) is None
    assert lattice_alone(written(tmp_path, only_lattice("centering = P"))) is None
    assert lattice_alone(tmp_path / "nowhere.cell") is None


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (("lattice_type = tetragonal", "centering = P"), "needs its unique axis: add e.g. 'unique_axis = c'"),
        (
            ("lattice_type = tetragonal", "centering = F", "unique_axis = c"),
            "a tetragonal lattice with centering F is one with a smaller cell: the centring of a tetragonal lattice is P or I",
        ),
        (
            ("lattice_type = cubic", "centering = C"),
            "centering C is impossible for a cubic lattice, which has P, I or F",
        ),
        (("lattice_type = cubik", "centering = P"), "lattice_type 'cubik' is unknown"),
    ],
)
def test_a_lattice_alone_that_there_is_not_is_refused(tmp_path, lines, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        lattice_alone(written(tmp_path, only_lattice(*lines)))


def test_what_rounding_leaves_is_made_equal_with_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "streamajig.cell_file"):
        cell, _ = read_cell(written(tmp_path, LYSOZYME.replace("7.91 nm", "7.93 nm")))
    assert cell.parameters[:3] == pytest.approx((79.2, 79.2, 37.9), abs=1e-3)
    assert (
        "asks for a = b and al = be = ga = 90 deg; it is off by 0.3 %, 0.0 degrees, and is taken as 79.2 79.2 37.9 A, "
        "90 90 90 deg" in caplog.text
    )


def test_a_rhombohedral_lattice_called_primitive_is_taken_as_r(tmp_path, caplog):
    text = cell_file("rhombohedral P", (60, 60, 60, 75, 75, 75))
    assert read_cell(written(tmp_path, text))[0].lattice == Lattice("rhombohedral", "R")
    assert "is written R in unit cell files; it is taken as R" in caplog.text


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
    which=st.integers(0, 7),
    axis=st.sampled_from("abc"),
    lengths=st.tuples(*3 * [st.floats(5, 500).map(lambda x: round(x, 4))]),
)
@settings(max_examples=40, deadline=None)
def test_a_cell_survives_its_own_text(tmp_path_factory, kind, which, axis, lengths):
    axis = axis if kind in WITH_UNIQUE_AXIS else "*"
    possible = centrings_of(kind, axis)
    lattice = Lattice(kind, possible[which % len(possible)], axis)
    oblique = UnitCell(*lengths, math.radians(80), math.radians(95), math.radians(88.5))
    cell = UnitCell.from_vectors(impose_bravais(oblique.real_space_angstrom, lattice), lattice)
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
