"""What does indexing find, and how fast? Simulated spot lists of known truth, and real ones, with and without the cell.

    python docs/studies/indexing/study.py [--patterns 200] [--jobs 2] [--only known,unknown] [--quick]

puts the tables into README.md and writes ``figures.json`` and ``indexing.png`` beside itself; ``--quick`` takes a few patterns
and writes nothing; ``--only`` leaves the other tables as they are.

A pattern is *right* if one crystal is found and it is the true one: with a cell, turned less than 1 degree from the truth, up
to the lattice's rotations; without one, the change of basis between the found and the true primitive lattice is a unimodular
integer matrix within 0.15; with electrons up to half a turn about the beam, which their flat Ewald sphere does not show. It is
*wrong* if another one is found, else *missed*. Times are processor time of one thread for the call of the stage, from peaks to
crystals. Each condition has a seed of its own, made of its name.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Context, Graph, registry, run
from pipeline.composing.options import RunOptions
from stages.files.cell import cell_text, read_cell
from stages.index._attempts import primitive_basis
from stages.lattices.cell import UnitCell, misorientation, primitive, rotations
from stages.lattices.setting import in_setting_of
from stages.records import Crystals, DetGeom, Hit, PeakList
from stages.simulation.apparatus import Apparatus
from stages.simulation.experiment import Simulation
from stages.simulation.powder import BLANKS, ICE_ANGSTROM, rings
from stages.simulation.settings import Settings
from stages.simulation.spot_lists import CELLS, ELECTRONS, SUITABLE, XRAYS, noise, overlap, simulate
from stages.simulation.spot_lists import cell as make_cell

HERE = Path(__file__).parent
SEED = 2026
FRAMES, LYSOZYME = "simulated frames", "lysozyme"
RIGHT_DEGREES, SAME_LATTICE = 1.0, 0.15
KNOWN = [
    "lysozyme",
    "orthorhombic",
    "monoclinic",
    "triclinic",
    "cubic_i",
    "rhombohedral_h",
    "rhombohedral_r",
    "hexagonal",
    "small",
    "large",
]
UNKNOWN = [
    "lysozyme", "orthorhombic", "monoclinic", "monoclinic_c", "triclinic", "cubic_i", "cubic_f", "rhombohedral_h",
    "rhombohedral_r", "hexagonal", "small",
]  # fmt: skip
SPOTS = ((10, 0.0), (15, 0.0), (15, 0.25), (30, 0.0), (30, 0.25), (30, 0.5), (60, 0.25), (60, 0.5), (100, 0.25), (100, 0.5),
         (250, 0.5))  # fmt: skip
BLANK_TARGETS = {
    "cubic 10": make_cell(10, 10, 10, 90, 90, 90, "cubic"),
    "triclinic 14 18 23": make_cell(14, 18, 23, 80, 95, 105),
    "orthorhombic 25 31 40": make_cell(25, 31, 40, 90, 90, 90, "orthorhombic"),
    "monoclinic C 52 40 61": make_cell(52, 40, 61, 90, 112, 90, "monoclinic", "C", "b"),
    "tetragonal 58 58 150": make_cell(58, 58, 150, 90, 90, 90, "tetragonal", "P", "c"),
    "hexagonal 92 92 244": make_cell(92, 92, 244, 90, 90, 120, "hexagonal", "P", "c"),
    "rhombohedral 104": make_cell(104, 104, 104, 88, 88, 88, "rhombohedral", "R"),
    "cubic F 233": make_cell(233, 233, 233, 90, 90, 90, "cubic", "F"),
    "hexagonal 281 281 165": make_cell(281, 281, 165, 90, 90, 120, "hexagonal", "P", "c"),
    "orthorhombic 120 190 300": make_cell(120, 190, 300, 90, 90, 90, "orthorhombic"),
}
"""Cells that frames without a crystal are searched for."""
BLANK_PEAKS = (12, 300)
ICE = ((30, 30), (30, 90), (60, 60), (60, 180))
DISTORTIONS: dict[str, dict[str, Any]] = {
    "jitter 1 px": {"jitter_px": 1.0},
    "cell 1.5 %": {"cell_error": 0.015},
    "shift 2 px": {"shift_px": 0.0, "offset_px": 2.0},
    "shift 4 px": {"shift_px": 0.0, "offset_px": 4.0},
    "distance 1 %": {"distance_error": 0.01},
    "all of them": {"jitter_px": 1.0, "cell_error": 0.015, "shift_px": 0.0, "offset_px": 4.0, "distance_error": 0.01},
}


@dataclass(frozen=True)
class Condition:
    """Patterns of one kind, and how they are indexed.

    Attributes
    ----------
    method
        ``pairs`` or ``lattice``; with `` --no-check-peaks`` so.
    crystal
        Name of the cell that the patterns are of; "" for noise, or a kind of BLANKS; FRAMES for the frames of
        ``streamajig simulate``. With `` + 60 of ice`` so many peaks of six rings of ice lie over the pattern.
    target
        Name of the cell that pairs is given; may end in `` +5 %`` (its longest axis wrong).
    spots, spurious, lattices
        Number of spots (of each lattice), part of them that is spurious, number of overlapping lattices.
    more
        Further arguments of :func:`stages.simulation.spot_lists.simulate`, as sorted pairs.
    """

    method: str
    crystal: str
    target: str = ""
    spots: int | tuple[int, int] = 30
    spurious: float = 0.25
    lattices: int = 1
    electrons: bool = False
    more: tuple[tuple[str, float], ...] = ()

    @property
    def named(self) -> str:
        """The name of the crystal's cell."""
        return self.crystal.partition(" + ")[0]

    @property
    def offers_another_cell(self) -> bool:
        """Whether the cell that is looked for is not the crystal's."""
        return (
            self.method == "pairs" and self.crystal not in ("", FRAMES, *BLANKS) and self.target not in ("", self.named)
        )

    def pattern(self, rng: np.random.Generator) -> tuple[PeakList, DetGeom, tuple[NDArray[np.float64], ...]]:
        """The next pattern: its peaks in any order, where they lie, and its true crystals (none: noise)."""
        n = self.spots if isinstance(self.spots, int) else int(rng.integers(self.spots[0], self.spots[1] + 1))
        if self.crystal == FRAMES:
            made = simulation(round(n * (1 - self.spurious)), self.spurious, dict(self.more)["jitter_px"])
            frame = made.frame(int(rng.integers(1 << 30)), pixels=False)
            return frame.peaks, frame.geom, (frame.truth.real_space_angstrom,)
        how = {**SUITABLE.get(self.named, {}), **dict(self.more)}
        setup = ELECTRONS if self.electrons else XRAYS
        if not self.crystal:
            return *setup.peaks_of(noise(rng, n, setup=setup)), ()
        if self.crystal in BLANKS:
            return *setup.peaks_of(BLANKS[self.crystal](rng, n)), ()
        lists = [
            simulate(named_cell(self.crystal), rng, n, self.spurious, setup=setup, **how) for _ in range(self.lattices)
        ]
        spots = overlap(*lists)
        ice = rings(rng, self.num_of_ice, ICE_ANGSTROM, 1.0)
        q, intensity = np.concatenate([spots.q, ice]), np.concatenate([spots.intensity, rng.exponential(size=len(ice))])
        order = rng.permutation(len(q))
        return *setup.peaks_of(q[order], intensity[order]), spots.crystals

    @property
    def num_of_ice(self) -> int:
        """How many peaks of ice lie over a pattern."""
        return (
            int(self.crystal.partition(" + ")[2].removesuffix(" of ice") or 0)
            if self.crystal.endswith(" of ice")
            else 0
        )


@lru_cache(maxsize=64)
def simulation(peaks_per_hit: int, spurious: float, jitter_px: float) -> Simulation:
    """The experiment of `streamajig simulate`, all frames hits."""
    settings = Settings(seed=SEED, hits=1.0, peaks_per_hit=peaks_per_hit, spurious=spurious, jitter_px=jitter_px)
    return Apparatus.make(settings).simulation


def named_cell(name: str) -> UnitCell:
    """One of the cells, one of which the longest axis is wrong by so many per cent (`lysozyme +5 %`), or a `long axis 300`."""
    if name.startswith("long axis "):
        return make_cell(60, 70, float(name.removeprefix("long axis ")), 90, 90, 90, "orthorhombic")
    crystal, _, wrong = name.partition(" +")
    cell = {**CELLS, **BLANK_TARGETS}[crystal]
    if wrong and not wrong.endswith(" of ice"):
        factor = 1 + float(wrong.rstrip(" %")) / 100
        axis = max("abc", key=lambda a: getattr(cell, a))
        cell = replace(cell, **{a: getattr(cell, a) * factor for a in "abc" if getattr(cell, a) == getattr(cell, axis)})
    return cell


@lru_cache(maxsize=64)
def running(method: str, target: str, multi: bool, verify: bool) -> Any:
    """The stage at work; looking for other cells takes a bounded share of the hits, whose cost would blur the times."""
    method, _, option = method.partition(" ")
    parameters: dict[str, Any] = {"multi": multi, "check_peaks": option != "--no-check-peaks"}
    if method == "pairs":
        parameters["verify"] = verify
        folder = Path(tempfile.mkdtemp(prefix="indexing-study-"))
        parameters["cell"] = folder / "target.cell"
        parameters["cell"].write_text(cell_text(named_cell(target)))
    return registry.load(f"index/{method}")(**parameters).open(Context())


def is_right(found: NDArray[np.float64], truth: NDArray[np.float64], cell: UnitCell, method: str) -> bool:
    """Whether a crystal found is this true one; both bases conventional, though maybe in other settings."""
    if method == "pairs":
        return math.degrees(misorientation(found, truth, rotations(cell, 1e-4))) < RIGHT_DEGREES
    reduced = primitive(cell)
    true = np.linalg.solve(np.array(reduced.to_conventional, float), truth)
    change = found @ np.linalg.inv(true)
    whole = np.rint(change)
    return bool(np.abs(change - whole).max() < SAME_LATTICE and abs(round(np.linalg.det(whole))) == 1)


def measure(condition: Condition | Run, patterns: int) -> dict[str, Any]:
    """Index so many patterns, or a run of frames; return what became of them."""
    if isinstance(condition, Run):
        return consensus(condition, patterns)
    rng = np.random.default_rng([SEED, zlib.crc32(repr(condition).encode())])
    is_blank = condition.crystal == "" or condition.crystal in BLANKS
    cell = None if is_blank else named_cell(LYSOZYME if condition.crystal == FRAMES else condition.crystal)
    stage = running(
        condition.method, condition.target or condition.crystal, condition.lattices > 1, condition.offers_another_cell
    )
    right = wrong = lattices_found = false = powder = 0
    ms = np.empty(patterns)
    for k in range(patterns):
        peaks, geom, truths = condition.pattern(rng)
        hit = Hit(True, len(peaks))
        before = time.thread_time()
        crystals: Crystals = stage(hit, peaks, geom)
        ms[k] = 1e3 * (time.thread_time() - before)
        powder += crystals.powder
        if not truths or condition.offers_another_cell:
            wrong += len(crystals) > 0
            continue
        bases = [
            primitive_basis(crystal) if condition.method == "lattice" else crystal.real_space_angstrom
            for crystal in crystals
        ]
        # spots of a flat sphere are those of the lattice turned half about the beam, too: either is right
        also = [np.diag([-1.0, -1.0, 1.0])] if condition.electrons else []
        same = [
            [any(is_right(found, t @ turn, cell, condition.method) for turn in (np.eye(3), *also)) for t in truths]
            for found in bases
        ]
        lattices_found += sum(any(row[t] for row in same) for t in range(len(truths)))
        false += sum(not any(row) for row in same)
        right += any(any(row) for row in same)
        wrong += bool(same) and not any(any(row) for row in same)
    return {
        "patterns": patterns,
        "right": right / patterns,
        "wrong": wrong / patterns,
        "powder": powder / patterns,
        "ms median": float(np.median(ms)),
        "ms 95 %": float(np.quantile(ms, 0.95)),
        "lattices found": lattices_found / (patterns * condition.lattices),
        "false per 20": 20 * false / patterns,
    }


@dataclass(frozen=True)
class Run:
    """A whole run without a cell, of 200 frames of this crystal."""

    crystal: str
    hits: float = 0.7


def consensus(of: Run, patterns: int) -> dict[str, Any]:
    """Run the graph of a command line without a cell on simulated frames; return how far the consensus is off."""
    frames = min(200, 20 * patterns)
    cell = named_cell(of.crystal)
    with tempfile.TemporaryDirectory(prefix="indexing-study-") as name:
        folder = Path(name)
        (folder / "true.cell").write_text(cell_text(cell))
        (folder / "sim.geom").write_text(Apparatus.make(Settings(), cell=folder / "true.cell").geometry_text)
        stages: list[tuple[str, dict[str, Any]]] = [
            (
                "source/simulate",
                {"frames": frames, "seed": SEED, "hits": of.hits, "image": False, "cell": folder / "true.cell"},
            ),
            ("decode/headers_only", {}),
            ("geometry_map/map_panels", {"geometry": folder / "sim.geom"}),
            ("peaks/from_message", {}),
            ("peaks/hit", {"min_peaks": 15}),
            ("index/auto", {}),
            ("live/cells", {"path": folder / "found.cell"}),
        ]
        graph = Graph((), RunOptions(backend="serial"))
        for stage, parameters in stages:
            graph = graph.add(registry.load(stage)(**parameters), name=stage.partition("/")[2])
        report = run(graph)
        found, _ = read_cell(folder / "found.cell")
    figures = report.findings["cells"].figures
    true = in_setting_of(cell.real_space_angstrom, cell.lattice, found)
    off = 100 * np.abs(np.array(found.parameters[:3]) / np.linalg.norm(true, axis=1) - 1)
    return {
        "hits": figures["hits"],
        "indexed": figures["indexed"],
        "agreeing": figures["consensus"]["crystals"],
        "largest error of an axis, %": float(off.max()),
        "lattice": f"{found.lattice.lattice_type} {found.lattice.centering}",
        "true lattice": f"{cell.lattice.lattice_type} {cell.lattice.centering}",
        "with the cell": figures["methods"].get("pairs", 0),
    }


# --- the sections: each is a list of conditions and the table that is made of them -------------------------------

Results = Mapping[Condition | Run, Mapping[str, Any]]


@dataclass(frozen=True)
class Section:
    """A table of the study."""

    conditions: tuple[Condition | Run, ...]
    table: Callable[[Results], str]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    return "\n".join(["| " + " | ".join(r) + " |" for r in (head, ["---"] * len(head), *map(list, rows))])


def percent(value: float) -> str:
    """A fraction as per cent, 100 and 0 without a point."""
    return f"{100 * value:.1f}".removesuffix(".0")


def right_and_wrong(r: Mapping[str, Any]) -> str:
    """The per cent that is right, and, if there is any, the per cent that is wrong."""
    return percent(r["right"]) + (f" ({percent(r['wrong'])} wrong)" if r["wrong"] else "")


def _known() -> Section:
    at = {(c, s): Condition("pairs", c, spots=s[0], spurious=s[1]) for c in KNOWN for s in SPOTS}

    def made(results: Results) -> str:
        rates = table(
            ["cell", *(f"{n} spots, {percent(bad)} %" for n, bad in SPOTS)],
            ([c, *(right_and_wrong(results[at[c, s]]) for s in SPOTS)] for c in KNOWN),
        )
        times = table(
            ["ms, median / 95 %", *(f"{n} spots, {percent(bad)} %" for n, bad in SPOTS)],
            (
                [c, *(f"{results[at[c, s]]['ms median']:.2f} / {results[at[c, s]]['ms 95 %']:.2f}" for s in SPOTS)]
                for c in KNOWN
            ),
        )
        return rates + "\n\n" + times

    return Section(tuple(at.values()), made)


NOISE = (8, 10, 15, 30, 60, 120, 250)


def _noise(method: str, targets: list[str]) -> Section:
    at = {(c, n): Condition(method, "", c, spots=n, spurious=0.0) for c in targets for n in NOISE}

    def made(results: Results) -> str:
        def entry(r: Mapping[str, Any]) -> str:
            return f"{percent(r['wrong'])} %, {r['ms median']:.2f} / {r['ms 95 %']:.2f}"

        head = ["target" if method == "pairs" else "", *(f"{n} random spots" for n in NOISE)]
        return table(head, ([c or "no cell", *(entry(results[at[c, n]]) for n in NOISE)] for c in targets))

    return Section(tuple(at.values()), made)


def _blanks() -> Section:
    """Nine kinds of frames without a crystal, in every search."""
    of: dict[str, tuple[str, str, int]] = {name: ("pairs", name, 1) for name in BLANK_TARGETS}
    long = "hexagonal 281 281 165"
    of[long + ", `multi`"] = ("pairs", long, 2)
    of[long + ", not `check_peaks`"] = ("pairs --no-check-peaks", long, 1)
    of["without a cell"] = ("lattice", "", 1)
    of["without a cell, `multi`"] = ("lattice", "", 2)
    of["without a cell, not `check_peaks`"] = ("lattice --no-check-peaks", "", 1)
    at = {
        (row, kind): Condition(method, kind, target, BLANK_PEAKS, 0.0, lattices)
        for row, (method, target, lattices) in of.items()
        for kind in BLANKS
    }

    def made(results: Results) -> str:
        def shares(row: str, name: str) -> list[str]:
            return [percent(results[at[row, kind]][name]) for kind in BLANKS]

        rows = (
            [row, *(f"{a} ({b})" for a, b in zip(shares(row, "wrong"), shares(row, "powder"), strict=True))]
            for row in of
        )
        return table(["search", *BLANKS], rows)

    return Section(tuple(at.values()), made)


def _ice() -> Section:
    """Peaks of ice over the spots of a crystal."""
    at = {(c, how): Condition("pairs", f"{c} + {how[1]} of ice", c, how[0], 0.1) for c in (*KNOWN,) for how in ICE}

    def made(results: Results) -> str:
        def cell_text_of(c: str, how: tuple[int, int]) -> str:
            r = results[at[c, how]]
            return f"{right_and_wrong(r)}; {percent(r['powder'])}"

        rows = ([c, *(cell_text_of(c, how) for how in ICE)] for c in KNOWN)
        return table(["cell", *(f"{n} spots, {m} of ice" for n, m in ICE)], rows)

    return Section(tuple(at.values()), made)


def _distorted(method: str, cells: list[str]) -> Section:
    at = {
        (c, name, n): Condition(method, c, spots=n, spurious=0.25, more=tuple(sorted(how.items())))
        for c in cells
        for name, how in DISTORTIONS.items()
        for n in ((30, 100) if method == "pairs" else (60, 120))
    }
    spots = sorted({n for _, _, n in at})

    def made(results: Results) -> str:
        columns = [(name, n) for name in DISTORTIONS for n in spots]
        return table(
            ["cell", *(f"{name}, {n} spots" for name, n in columns)],
            ([c, *(right_and_wrong(results[at[c, name, n]]) for name, n in columns)] for c in cells),
        )

    return Section(tuple(at.values()), made)


WRONG_TARGETS = ["lysozyme", "orthorhombic", "monoclinic", "triclinic", "cubic_i", "rhombohedral_h", "hexagonal"]
WRONG_SPOTS = ((12, 0.1), (25, 0.1), (60, 0.1), (150, 0.1))


def _wrong_target() -> Section:
    offered = [(c, t) for c in WRONG_TARGETS for t in WRONG_TARGETS if c != t]
    offered += [(c, f"{c} +{wrong} %") for c in WRONG_TARGETS for wrong in (5, 10)]
    at = {(c, t, s): Condition("pairs", c, t, spots=s[0], spurious=s[1]) for c, t in offered for s in WRONG_SPOTS}

    def made(results: Results) -> str:
        def share(pairs: list[tuple[str, str]], s: tuple[int, float]) -> str:
            rates = [results[at[c, t, s]]["wrong"] for c, t in pairs]
            return f"{percent(float(np.mean(rates)))} ({percent(max(rates))})"

        rows = [[c, *(share([(a, t) for a, t in offered if a == c and "+" not in t], s) for s in WRONG_SPOTS)]
                for c in WRONG_TARGETS]  # fmt: skip
        rows += [
            [
                f"all, longest axis +{w} %",
                *(share([(c, t) for c, t in offered if t.endswith(f"+{w} %")], s) for s in WRONG_SPOTS),
            ]
            for w in (5, 10)
        ]
        return table(["patterns of", *(f"{n} spots" for n, _ in WRONG_SPOTS)], rows)

    return Section(tuple(at.values()), made)


def _hard() -> Section:
    """8 to 30 peaks, 30 % spurious, 0.6 px of jitter: counted with the spurious ones, and without."""
    how = {"spurious": 0.3, "more": (("jitter_px", 0.6),)}
    at = {
        "8 to 30 peaks": Condition("pairs", "lysozyme", spots=(8, 30), **how),
        "8 to 30 true spots, 11 to 43 peaks": Condition("pairs", "lysozyme", spots=(11, 43), **how),
        "frames of `streamajig simulate`, 8 to 30 peaks": Condition("pairs", FRAMES, LYSOZYME, spots=(8, 30), **how),
        "frames of `streamajig simulate`, 8 to 30 true spots": Condition(
            "pairs", FRAMES, LYSOZYME, spots=(11, 43), **how
        ),
    }

    def made(results: Results) -> str:
        def row(name: str, r: Mapping[str, Any]) -> list[str]:
            return [name, percent(r["right"]) + " %", percent(r["wrong"]) + " %", f"{r['ms median']:.2f}"]

        return table(["lists", "right", "wrong", "ms median"], (row(name, results[c]) for name, c in at.items()))

    return Section(tuple(at.values()), made)


FREE_SPOTS = ((15, 0.0), (30, 0.0), (30, 0.25), (60, 0.0), (60, 0.25), (100, 0.25), (150, 0.5), (250, 0.25))


def _unknown() -> Section:
    at = {(c, s): Condition("lattice", c, spots=s[0], spurious=s[1]) for c in UNKNOWN for s in FREE_SPOTS}

    def made(results: Results) -> str:
        def entry(r: Mapping[str, Any]) -> str:
            return f"{right_and_wrong(r)}, {r['ms median']:.1f}"

        return table(
            ["cell: right %, ms", *(f"{n} spots, {percent(bad)} %" for n, bad in FREE_SPOTS)],
            ([c, *(entry(results[at[c, s]]) for s in FREE_SPOTS)] for c in UNKNOWN),
        )

    return Section(tuple(at.values()), made)


LONG_AXES = (150, 200, 250, 300, 400, 500)


def _long_axes() -> Section:
    how = {"spots": 120, "spurious": 0.25, "more": (("profile_radius", 0.0008),)}
    at = {axis: Condition("lattice", f"long axis {axis}", **how) for axis in LONG_AXES}

    def made(results: Results) -> str:
        def entry(r: Mapping[str, Any]) -> str:
            return f"{right_and_wrong(r)}, {r['ms median']:.1f}"

        return table(
            ["longest axis: right %, ms", *(f"{axis} A" for axis in LONG_AXES)],
            [["", *(entry(results[at[a]]) for a in at)]],
        )

    return Section(tuple(at.values()), made)


def _several() -> Section:
    at = {
        (method, c, k): Condition(method, c, spots=n, spurious=0.2, lattices=k)
        for method, n in (("pairs", 60), ("lattice", 100))
        for c in ("lysozyme", "triclinic", "hexagonal")
        for k in (2, 3)
    }

    def made(results: Results) -> str:
        return table(
            ["method", "cell", "lattices", "of them found", "false per 20 patterns", "ms median"],
            (
                [m, c, str(k), percent(r["lattices found"]) + " %", f"{r['false per 20']:.1f}", f"{r['ms median']:.1f}"]
                for (m, c, k), condition in at.items()
                for r in [results[condition]]
            ),
        )

    return Section(tuple(at.values()), made)


def _beams() -> Section:
    cells = ["lysozyme", "triclinic", "hexagonal"]
    rows = {f"bandwidth {percent(b)} %": {"more": (("bandwidth", b),)} for b in (0.005, 0.01, 0.02, 0.05)}
    rows["electrons, 200 keV"] = {"electrons": True, "more": (("profile_radius", 0.003),)}
    at = {
        (name, m, c): Condition(m, c, spots=60, spurious=0.1, **how)
        for name, how in rows.items()
        for m in ("pairs", "lattice")
        for c in cells
    }

    def made(results: Results) -> str:
        columns = [(m, c) for m in ("pairs", "lattice") for c in cells]
        return table(
            ["beam", *(f"{m}, {c}" for m, c in columns)],
            ([name, *(right_and_wrong(results[at[name, m, c]]) for m, c in columns)] for name in rows),
        )

    return Section(tuple(at.values()), made)


def same_type(found: str, true: str) -> bool:
    """Whether two lattice types are one; a monoclinic cell may be centred in A, C or I, as axes are chosen."""
    centred = ("monoclinic A", "monoclinic C", "monoclinic I")
    return found == true or (found in centred and true in centred)


RUNS = ("lysozyme", "orthorhombic", "monoclinic", "monoclinic_c", "triclinic", "cubic_i", "rhombohedral_h", "hexagonal")


def _consensus() -> Section:
    def made(results: Results) -> str:
        def row(r: Mapping[str, Any]) -> list[str]:
            right = same_type(r["lattice"], r["true lattice"])
            lattice = r["lattice"] if right else f"{r['lattice']}, not {r['true lattice']}"
            numbers = [str(r[key]) for key in ("hits", "indexed", "with the cell", "agreeing")]
            return [*numbers, f"{r['largest error of an axis, %']:.3f}", lattice]

        head = [
            "crystal",
            "hits",
            "indexed",
            "crystals found with the cell",
            "agreeing",
            "largest error of an axis, %",
            "type",
        ]
        return table(head, ([c, *row(results[Run(c)])] for c in RUNS))

    return Section(tuple(map(Run, RUNS)), made)


SECTIONS: dict[str, Section] = {
    "known": _known(),
    "noise": _noise("pairs", KNOWN),
    "blanks": _blanks(),
    "ice": _ice(),
    "distorted": _distorted("pairs", KNOWN),
    "wrong-target": _wrong_target(),
    "hard": _hard(),
    "unknown": _unknown(),
    "unknown-noise": _noise("lattice", [""]),
    "unknown-distorted": _distorted("lattice", ["lysozyme", "monoclinic", "triclinic", "rhombohedral_h"]),
    "long-axes": _long_axes(),
    "consensus": _consensus(),
    "several": _several(),
    "beams": _beams(),
}


def draw(results: Results, path: Path) -> None:
    """The rate of right patterns and the time against the number of spots, with and without the cell."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained", sharex=True)
    for column, (method, cells) in enumerate((("pairs", KNOWN), ("lattice", UNKNOWN))):
        for c in cells:
            for bad, line in ((0.25, "-"), (0.5, ":")):
                points = sorted(
                    (k.spots, r["right"], r["ms median"])
                    for k, r in results.items()
                    if isinstance(k, Condition)
                    and (k.method, k.crystal, k.spurious, k.lattices, k.more) == (method, c, bad, 1, ())
                    and not k.target and not k.electrons and isinstance(k.spots, int)
                )  # fmt: skip
                if points:
                    spots, right, ms = zip(*points, strict=True)
                    color = plt.get_cmap("tab20")(list(CELLS).index(c) % 20)
                    label = c if bad == 0.25 else None
                    axes[0, column].plot(spots, np.multiply(right, 100), line, color=color, marker=".", label=label)
                    axes[1, column].plot(spots, ms, line, color=color, marker=".")
        axes[0, column].set(title=f"index/{method}", ylabel="right, %", ylim=(90, 100.5))
        axes[1, column].set(
            ylabel="processor time, ms", yscale="log", xlabel="spots (lines: 25 % spurious, dots: 50 %)"
        )
        axes[0, column].legend(fontsize=7, loc="lower center", ncols=2)
    figure.savefig(path, dpi=90)


def main(arguments: list[str] | None = None) -> Results:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description="Study indexing of simulated spot lists.")
    parser.add_argument("--patterns", type=int, default=200, help="of each condition")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--quick", action="store_true", help="a few patterns of each section; writes nothing")
    parser.add_argument("--figures", type=Path, default=HERE / "figures.json", help="where the figures are kept")
    given = parser.parse_args(arguments)
    chosen = {name: SECTIONS[name] for name in given.only.split(",")}
    patterns = 4 if given.quick else given.patterns
    conditions = list(dict.fromkeys(c for section in chosen.values() for c in section.conditions))
    if given.quick:
        conditions = conditions[:: max(1, len(conditions) // 60)]
    if given.jobs > 1:
        with ProcessPoolExecutor(given.jobs) as pool:
            # costly ones first; the few that are very slow must not come last
            conditions.sort(
                key=lambda c: (not isinstance(c, Run), getattr(c, "method", "") != "lattice", c.crystal != "large")
            )
            measured = list(pool.map(measure, conditions, [patterns] * len(conditions)))
    else:
        measured = [measure(condition, patterns) for condition in conditions]
    results = dict(zip(conditions, measured, strict=True))
    if given.quick:
        return results
    kept = json.loads(given.figures.read_text()) if given.figures.exists() else {}
    kept.update({repr(condition): result for condition, result in results.items()})
    given.figures.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    write(known_results(kept))
    return results


def known_results(kept: Mapping[str, Any]) -> Results:
    """The figures that are kept, of the conditions that there still are."""
    every = {repr(c): c for section in SECTIONS.values() for c in section.conditions}
    return {every[name]: result for name, result in kept.items() if name in every}


def write(results: Results) -> None:
    """Put the tables into README.md, and draw the picture, as far as there are figures for them."""
    text = (HERE / "README.md").read_text()
    for name, section in SECTIONS.items():
        if all(c in results for c in section.conditions):
            made = f"<!-- {name} -->\n{section.table(results)}\n<!-- end -->"
            text, n = re.subn(rf"<!-- {name} -->.*?<!-- end -->", lambda _, made=made: made, text, flags=re.DOTALL)
            if n != 1:
                raise SystemExit(f"README.md has no place for the table {name}")
    (HERE / "README.md").write_text(text)
    draw(results, HERE / "indexing.png")


if __name__ == "__main__":
    main()
