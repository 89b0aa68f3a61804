"""--integration and what belongs to it, as it ends up in the graph."""

from __future__ import annotations

import pytest
from least_options import LEAST

from pipeline.errors import UserError
from stages.commands.index.graph import graph_from_options
from stages.integrate.prof2d import Prof2d
from stages.integrate.rings import Rings
from stages.live.detector_shift import DetectorShift
from stages.live.int_diag import IntDiag
from stages.refine.prediction import Prediction

BASE = {**LEAST, "peaks": "peakfinder8"}


def integration(**options):
    return graph_from_options({**BASE, **options}).node("integrate").stage


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("prof2d", Prof2d()),
        ("prof2d-nocen", Prof2d(cen=False)),
        ("prof2d-nocen-sat", Prof2d(cen=False, sat=True)),
        ("prof2d-cen-grad-nosat", Prof2d()),
        ("rings-cen-sat-grad", Rings(cen=True, sat=True, grad=True)),
    ],
)
def test_methods_and_flags_choose_stage_and_parameters(text, stage):
    assert integration(integration=text) == stage


def test_other_options_reach_profile_fitting_too():
    found = integration(
        integration="prof2d",
        int_radius="3,4,6",
        push_res=1.5,
        fix_profile_radius=5e6,
        fix_divergence=1e-3,
        overpredict=True,
    )
    assert found == Prof2d(
        int_radius=(3, 4, 6), push_res=1.5, fix_profile_radius=5e6, fix_divergence=1e-3, overpredict=True
    )
    assert integration(no_tail_correction=True) == Rings(correct_tails=False)


@pytest.mark.parametrize("text", ["prof2d-nograd", "prof3d", "prof2d-fast"])
def test_what_cannot_be_had_is_refused_with_the_words_that_were_typed(text):
    with pytest.raises(UserError, match=text):
        integration(integration=text)


def test_int_diag_asks_the_integration_and_puts_a_sink_behind_it():
    graph = graph_from_options({**BASE, "int_diag": "3,-4,5"})
    assert graph.node("integrate").stage == Rings(int_diag="3,-4,5")
    assert (graph.node("int_diag").stage, graph.node("int_diag").after) == (IntDiag(), ("integrate",))
    graph.check()
    assert "int_diag" not in [node.name for node in graph_from_options({**BASE, "int_diag": "none"}).nodes]


def test_int_diag_without_integration_has_no_effect_and_that_is_said(caplog):
    graph_from_options({**BASE, "int_diag": "all", "integration": "none"})
    assert "--int-diag has no effect" in caplog.text


def test_a_refined_detector_shift_comes_with_the_analysis_that_says_what_to_do_about_it(caplog):
    graph = graph_from_options({**BASE, "refine_detector_shift": True})
    assert graph.node("refine").stage == Prediction(refine_detector_shift=True)
    assert (graph.node("detector_shift").stage, graph.node("detector_shift").after) == (DetectorShift(), ("refine",))
    graph.check()
    assert "detector_shift" not in [node.name for node in graph_from_options(BASE).nodes]
    graph_from_options({**BASE, "refine_detector_shift": True, "no_refine": True})
    assert "--refine-detector-shift has no effect" in caplog.text
