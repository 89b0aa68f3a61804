"""Options that change the image before peaks are searched."""

from __future__ import annotations

import pytest
from least_options import LEAST

from pipeline import UserError
from stages.commands.index.graph import graph_from_options

BASE = {**LEAST, "peaks": "zaef"}


def test_filters_stand_before_the_search_in_their_order_and_are_undone_after_it() -> None:
    graph = graph_from_options({**BASE, "median_filter": 4, "filter_noise": True, "bin": 3})

    names = graph.names
    begin = names.index("median_filter")
    assert names[begin : begin + 6] == ("median_filter", "noise_filter", "bin", "peaks", "restore", "hit")
    assert graph.node("median_filter").stage.radius == 4
    assert graph.node("bin").stage.bin == 3
    assert graph.node("restore").stage.stage_name == "peaks/restore"
    graph.check()


def test_peaks_from_the_message_are_validated_in_the_filtered_image() -> None:
    names = graph_from_options({**BASE, "peaks": "msgpack", "median_filter": 4}).names

    assert names[names.index("median_filter") :][:4] == ("median_filter", "peaks", "validate", "restore")


def test_without_filters_there_is_nothing_to_undo() -> None:
    assert "restore" not in graph_from_options(BASE).names


def test_binning_and_the_message_s_own_peaks_exclude_each_other() -> None:
    with pytest.raises(UserError, match="--bin: the message's own peaks are counted in the pixels that came"):
        graph_from_options({**BASE, "peaks": "msgpack", "bin": 2})


@pytest.mark.parametrize(("option", "value"), [("median_filter", 0), ("bin", 0), ("median_filter", 51)])
def test_sizes_that_cannot_be_are_refused_in_the_words_of_the_option(option: str, value: int) -> None:
    with pytest.raises(UserError, match=f"--{option.replace('_', '-')}: input should be"):
        graph_from_options({**BASE, option: value})


def test_without_image_data_filters_have_no_effect_and_a_warning_says_so(caplog: pytest.LogCaptureFixture) -> None:
    graph = graph_from_options({**BASE, "peaks": None, "no_image_data": True, "median_filter": 3, "filter_noise": True})

    assert "restore" not in graph.names
    assert "--median-filter has no effect" in caplog.text
    assert "--filter-noise has no effect" in caplog.text


def test_the_likelihood_search_can_be_asked_for() -> None:
    graph = graph_from_options({**BASE, "peaks": "likelihood", "min_snr": 6.0, "min_res": 20})

    assert graph.node("peaks").stage.stage_name == "peaks/likelihood"
    assert graph.node("peaks").stage.min_snr == 6.0
    graph.check()
