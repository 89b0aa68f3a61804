"""Long options, abbreviated: taken where they can mean one thing alone, as by indexamajig's own parser."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from least_options import INDEX

from pipeline.command_line import cli
from stages.commands.index.options import Status
from stages.commands.index.table import OPTIONS

INDEXAMAJIG = (Path(__file__).parent / "indexamajig_0_12_options.txt").read_text()


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.run(words) == 0
    return capsys.readouterr().out


def test_an_abbreviation_of_one_option_is_that_option(capsys: pytest.CaptureFixture[str]) -> None:
    whole = [*INDEX, "--peaks=msgpack", "--output=a.stream", "--int-radius=4,5,6", "--no-refine", "--copy-header", "a"]
    short = [*INDEX, "--peaks=msgpack", "--out=a.stream", "--int-rad=4,5,6", "--no-refi", "--copy-head", "a"]

    assert printed(short, capsys) == printed(whole, capsys)


@pytest.mark.parametrize(
    ("words", "candidates"),
    [
        ([*INDEX, "-o", "a", "--int=3"], ("--int-diag", "--int-radius", "--integration")),
        ([*INDEX, "-o", "a", "--no-ref"], ("--no-refine", "--no-refls-in-stream")),
        (["simulate", "--write=x"], ("--write-cell", "--write-geometry")),
        (["merge", "a.stream", "-y", "1", "--s", "4"], ("--scale", "--shells", "--space-group", "--symmetry")),
    ],
)
def test_an_abbreviation_of_several_is_refused_with_their_names(
    words: list[str], candidates: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == 2

    said = capsys.readouterr().err
    assert re.findall(r"--[a-z-]*[a-z]", said)[1:] == list(candidates)


def test_what_means_one_option_of_indexamajig_means_it_here_whatever_options_have_come_since(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """--out is --output, though there is --outstanding here."""
    theirs = sorted(set(re.findall(r"(?m)^\s*(--[\w-]+)", INDEXAMAJIG)))
    assert "--output" in theirs
    ours = {flag for row in OPTIONS if row.own and row.status is Status.SUPPORTED for flag in row.flags}
    crossed = [
        (flag, flag[:n])
        for flag in theirs
        for n in range(4, len(flag))
        if [other for other in theirs if other.startswith(flag[:n])] == [flag]
        and any(other.startswith(flag[:n]) for other in ours)
    ]
    assert ("--output", "--out") in crossed
    from pipeline.command_line.abbreviations import completed
    from stages.commands.index.command import index

    known = {flag: row for row in OPTIONS for flag in row.flags}
    for flag, abbreviation in crossed:
        assert known[completed(abbreviation, known, index.old_options)] is known[flag]  # type: ignore[attr-defined]


def test_the_log_level_may_stand_behind_any_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [*INDEX, "-o", str(tmp_path / "a.stream"), "--peaks=msgpack", "--max-indexer-threads=2"]
    assert cli.run(words) == 0
    assert "changes nothing" in capsys.readouterr().err
    assert cli.run([*words, "--log-level=warning"]) == 0
    assert "changes nothing" not in capsys.readouterr().err
    assert logging.getLogger("streamajig").level == logging.NOTSET, "it is undone"

    for command in ("run", "stages", "merge", "simulate"):
        assert cli.run([command, "--log-level=loud"]) == 2
        assert "--log-level=loud: give one of debug, info" in capsys.readouterr().err
