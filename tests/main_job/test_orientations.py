"""On simulated lysozyme nearly every hit of 30 peaks or more is found with its true orientation, and no blank is."""

from __future__ import annotations

import math

import pytest

from pipeline.composing.graph import Graph
from pipeline.composing.options import RunOptions
from pipeline.running.job import run
from stages.decode.headers_only import HeadersOnly
from stages.files.cell import read_cell
from stages.geometry_map.map_panels import MapPanels
from stages.index.pairs import Pairs
from stages.lattices.cell import misorientation
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.records import Crystals, PeakList
from stages.refine.prediction import Prediction
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.simulation.truth import read_truth
from stages.sink.memory import Memory
from stages.source.simulate import Simulate


@pytest.mark.parametrize(("spurious", "seed"), [(0.0, 101), (0.1, 202), (0.25, 303)])
def test_hits_of_30_peaks_have_the_true_orientation_and_no_blank_is_indexed(
    tmp_path, spurious: float, seed: int
) -> None:
    apparatus = Apparatus.make(Settings())
    geometry, cell, truth_file = tmp_path / "sim.geom", tmp_path / "lys.cell", tmp_path / "truth.jsonl"
    geometry.write_text(apparatus.geometry_text)
    cell.write_text(apparatus.cell_text)
    source = Simulate(frames=300, seed=seed, spurious=spurious, blank_peaks=25, image=False, truth=truth_file)
    graph = Graph.chain(
        source,
        HeadersOnly(),
        MapPanels(geometry=geometry),
        FromMessage(),
        HitFinder(min_peaks=10),
        Pairs(cell=cell),
        Prediction(),
        Memory(),
        options=RunOptions(backend="threads:2"),
    )
    report = run(graph)
    assert report.is_conserved
    truths = read_truth(truth_file)
    unit_cell, _ = read_cell(cell)
    right = wrong = missed = blanks_indexed = 0
    for frame in report.outputs["sink"]:
        truth, crystals = truths[frame.event], frame[Crystals]
        if truth.real_space_angstrom is None:
            blanks_indexed += len(crystals)
        elif len(frame[PeakList]) >= 30:
            if not crystals:
                missed += 1
            elif (
                math.degrees(
                    misorientation(crystals.found[0].real_space_angstrom, truth.real_space_angstrom, unit_cell)
                )
                < 0.5
            ):
                right += 1
            else:
                wrong += 1
    assert blanks_indexed == 0
    assert right + wrong + missed > 100
    assert right >= 0.99 * (right + wrong + missed), (right, wrong, missed)
