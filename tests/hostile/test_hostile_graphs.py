"""A graph's YAML that means harm is refused in one sentence, at once."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.command_line import cli
from pipeline.composing.graph import Graph
from pipeline.composing.yaml.spec import parse
from pipeline.composing.yaml.text import SpecError

LINES = "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + LINES
CHAIN = "a: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 150))
MERGED = "a: &a {x: 1}\n" + "".join(f"b{n}: {{<<: [{', '.join(['*a'] * 90)}]}}\n" for n in range(300))

HOSTILE = {
    "an alias bomb": (BOMB, "5:12", "more than 20000 values, those of aliases counted"),
    "a chain of aliases": (CHAIN, "20:12", "nested deeper than 20 levels"),
    "merged aliases": (MERGED, "", "more than 20000 values"),
    "an alias of itself": ("nodes: &a [*a]", "1:12", "the alias *a stands within what it stands for"),
    "a map merged into itself": ("nodes: &a {<<: *a}", "1:16", "the alias *a stands within"),
    "lists 5000 deep in a line": ("nodes: " + "[" * 5000, "1:1", "more than 100 brackets"),
    "lists 5000 deep in lines": ("nodes:\n" + " [\n" * 5000, "21:2", "nested deeper than 20 levels"),
    "maps 5000 deep": ("".join(" " * n + "a:\n" for n in range(400)), "21:", "nested deeper than 20 levels"),
    "a million brackets": ("nodes: " + "[]," * 1_000_000, "1:1", "characters, and at most"),
    "5000 digits": ("run: {max_frames: " + "9" * 5000 + "}", "1:19", "5000 characters, and at most 4096"),
    "4200 digits": ("run: {drain_s: -0x" + "9" * 4000 + "}", "1:16", "the number has 4003 characters"),
    "a tag and what it is not": ("nodes: {a: !!int x}", "1:12", "the tag 'tag:yaml.org,2002:int' is not taken"),
    "Python's tag": ("nodes: !!python/object/apply:os.system [ls]", "1:8", "is not taken"),
    "a set": ("nodes: !!set {a}", "1:8", "is not taken"),
    "a date that is none": ("nodes: {a: {stage: graph/join, n: 2024-99-99}}", "1:35", "'2024-99-99' cannot be read: month"),
    "a time zone that is none": ("nodes: {a: 2001-12-14t21:59:43.10-99:99}", "1:12", "cannot be read: offset"),
    "a directive that is none": ("%\n---\nnodes: {}", "1:2", "this is not YAML"),
    "a version that is none": ("%YAML x.y\n---\nnodes: {}", "1:7", "this is not YAML"),
    "a version of the future": ("%YAML 9.9\n---\nnodes: {a: }", "", ""),
    "a NUL": ("nodes: \0", "1:1", "this is not YAML"),
    "modules that are a number": ("modules: 5\nnodes: {a: graph/join}", "1:1", "'modules' should be a list"),
    "a name with line ends": ('nodes: {"a\\n\\e[2J": graph/join}', "1:9", "a node's name is"),
    "a name of a megabyte": ("nodes: {" + "a" * 200_000 + ": {stage: b/c}}", "", "characters"),
    "a stage of thousands of letters": ("nodes: {a: {stage: " + "b" * 4000 + "}}", "1:20", "there is no stage"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_graph_is_refused_in_one_short_sentence(case: str) -> None:
    text, place, why = HOSTILE[case]
    with pytest.raises(SpecError) as caught:
        parse(text, "g.yaml")
    said = str(caught.value)
    assert said.startswith(f"g.yaml:{place}")
    assert why in said
    assert "\x1b" not in said
    assert max(map(len, said.splitlines())) < 4100
    assert len(said.splitlines()) <= 3


def test_anchors_and_aliases_that_mean_well_are_taken() -> None:
    text = "nodes:\n  a: &join {stage: graph/join}\n  b: *join\n  c: {<<: *join, after: a}\n"
    assert Graph.from_yaml(text).names == ("a", "b", "c")


WORDS = [
    "nodes",
    "run",
    "modules",
    "stage",
    "after",
    "graph/join",
    "a",
    ": ",
    ":",
    "\n",
    "\n  ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
]
SIGNS = [
    "&a ",
    "*a",
    "!!int ",
    "!x ",
    "? ",
    "| ",
    "> ",
    "'",
    '"',
    "%YAML 1.1\n---\n",
    "%TAG ! a\n",
    "<<: ",
    "2024-13-01",
    "1e999",
    "~",
]


@given(st.lists(st.sampled_from(WORDS + SIGNS), max_size=40).map("".join))
@example("%YAML 1.1 1\n---\na")
@example("a: !<")
@example("\ufeff- a")
def test_any_text_made_of_the_signs_of_yaml_is_a_graph_or_refused_with_its_place(text: str) -> None:
    with contextlib.suppress(SpecError):  # any other exception fails the test
        parse(text, "g.yaml")


@given(st.text(max_size=60))
def test_any_text_is_a_graph_or_refused_with_its_place(text: str) -> None:
    with contextlib.suppress(SpecError):
        parse(text, "g.yaml")


def test_looking_at_a_graph_loads_none_of_its_modules_unless_it_is_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sent.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    file = tmp_path / "sent.yaml"
    file.write_text(
        "modules: [sent.py]\nnodes:\n  source: {stage: source/replay, files: [a]}\n  theirs: {stage: sent/stage, n: 1}\n"
        "  sink: sink/memory\n"
    )
    assert cli.run(["show", str(file)]) == 0
    shown = capsys.readouterr()
    assert 'theirs["theirs<br/>sent/stage"]' in shown.out
    assert "not loaded, since that runs them" in shown.err
    assert cli.run(["check", str(file)]) == 2
    said = capsys.readouterr().err
    assert "sent.py (--trust loads them)" in said
    assert "parameters of 2 nodes are right; not checked: theirs (sent/stage)" in said
    file.write_text(file.read_text().replace("files: [a]", "fils: [a]"))
    assert cli.run(["check", str(file)]) == 2
    assert "did you mean 'files'" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    assert cli.run(["check", "--trust", str(file)]) == 2
    assert (tmp_path / "ran").exists()
