"""A stage of one's own in two commands: written, tried, and refused where it would take the place of something."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import typer

from pipeline import UserError, registry
from pipeline.functions import must_be_given
from pipeline.stage import DECLARED
from stages import KINDS
from stages.commands.check_stage import check_stage
from stages.commands.new_stage.command import new_stage


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_stage_of_every_kind_keeps_its_promises_as_it_is(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    new_stage(f"{kind}/mine_{kind}")
    assert f"mine_{kind}.py: the stage {kind}/mine_{kind}" in capsys.readouterr().out
    check_stage(Path(f"mine_{kind}.py"))
    printed = capsys.readouterr().out
    assert printed.startswith(f"{kind}/mine_{kind}\n  held    types")
    assert "FAILED" not in printed
    (cls,) = registry.declared_in(f"mine_{kind}.py")
    assert not must_be_given(cls)


@pytest.mark.parametrize("kind", ["peaks", "sink"])
def test_the_test_that_is_written_passes_for_a_function_and_for_a_class(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_stage(f"{kind}/tested_{kind}")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        written = runpy.run_path(f"test_tested_{kind}.py")
        written["test_it_keeps_what_every_stage_promises"]()
    finally:
        del sys.modules[f"tested_{kind}"], DECLARED[f"{kind}/tested_{kind}"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("peeks/mine", "there is no kind 'peeks'; did you mean 'peaks'?"),
        ("mine", "a stage is named KIND/WHICH"),
        ("peaks/my search", "is a name in lower case, as of a Python function"),
        ("peaks/class", "is a name in lower case"),
        ("peaks/hit", "there is a stage 'peaks/hit' already"),
        ("peaks/json", "would be found in the place of the module json"),
    ],
)
def test_a_name_that_would_not_do_is_refused_and_nothing_is_written(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        new_stage(name)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine")
    with pytest.raises(UserError, match=r"test_mine\.py is there already, and nothing was written"):
        new_stage("peaks/mine")
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]
    assert (tmp_path / "test_mine.py").read_text() == "mine"


STAGES = """
from pipeline import stage
from stages.records import PeakList

class Few(int): ...

@stage("peaks/count_few")
def count_few(few: Few) -> Few:
    '''Read what another stage of the file makes.'''
    return few

@stage("peaks/few")
def few(found: PeakList, *, most: int) -> Few:
    '''Count the peaks, up to a few.'''
    found.fs.sort()
    return Few(min(len(found), most))
"""


def test_check_stage_tries_all_stages_of_a_file_and_says_with_its_status_whether_all_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "few.py"
    file.write_text(STAGES)
    with pytest.raises(UserError, match="peaks/few has parameters that must be given: --set most=VALUE"):
        check_stage(file)
    with pytest.raises(UserError, match=r"--set mots: no stage of .* has this parameter; did you mean 'most'"):
        check_stage(file, ["mots=3"])
    with pytest.raises(UserError, match="peaks/few: most: input should be a valid integer"):
        check_stage(file, ["most=several"])
    with pytest.raises(typer.Exit) as ended:
        check_stage(file, ["most=3"])
    assert ended.value.exit_code == 1
    printed = capsys.readouterr().out
    assert "FAILED  leaves its inputs alone   it has changed the PeakList of" in printed
    assert printed.endswith("1 promise does not hold\n")


def test_a_file_without_stages_and_a_stage_that_nothing_feeds_are_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none.py").write_text("n = 3\n")
    with pytest.raises(UserError, match="declares no stage"):
        check_stage(tmp_path / "none.py")
    (tmp_path / "alone.py").write_text(STAGES[: STAGES.index('@stage("peaks/few")')])
    with pytest.raises(typer.Exit):
        check_stage(tmp_path / "alone.py")
    assert "it reads Few, which neither the usual graph nor another stage of its file makes" in capsys.readouterr().out
