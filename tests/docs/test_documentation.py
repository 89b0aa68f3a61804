"""All that the documentation shows is run, in the order in which it is shown, and prints what the page says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from markdown_blocks import Block, BrokenPageError, blocks_in, blocks_of, commands_of
from page_runner import difference, page_run

PROJECT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(page for page in (PROJECT / "docs").rglob("*.md") if "_build" not in page.parts),
]
NAMES = [str(page.relative_to(PROJECT)) for page in PAGES]


@pytest.mark.timeout(900)  # a page may run twenty programs, one after the other
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_all_that_a_page_shows_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, next_port: Callable[[], int], record_property: Callable[[str, object], None]
) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    with page_run(folder, PROJECT, *(f"tcp://127.0.0.1:{next_port()}" for _ in range(2))) as run:
        for block in blocks_of(page):
            run.run(block)
    for line in run.not_run:
        print(line)
        record_property("not_run", line)


def test_what_is_not_run_is_named_here() -> None:
    left_out = [
        (block.page.name, block.text.split()[0:2])
        for page in PAGES
        for block in blocks_of(page)
        if block.remark == "not run"
    ]
    assert left_out == [
        ("README.md", ["make", "demo"]),
        ("README.md", ["make", "test"]),
        ("README.md", ["$", "make"]),
        ("coming-from-crystfel.md", ["indexamajig", "--zmq-input=tcp://127.0.0.1:5002"]),
        ("howto-follow-the-detector.md", [";", "corrected"]),
        ("howto-many-machines.md", ["pip", "install"]),
        ("howto-many-machines.md", ["dask", "scheduler"]),
        ("howto-many-machines.md", ["from", "dask_jobqueue"]),
        ("howto-many-machines.md", ["#!/bin/bash", "#SBATCH"]),
        ("howto-many-machines.md", ["FROM", "python:3.12-slim"]),
        ("howto-many-machines.md", ["apiVersion:", "v1"]),
        ("howto-start-at-once.md", ["streamajig", "warm-up"]),
        ("howto-start-at-once.md", ["docker", "build"]),
        ("howto-start-at-once.md", ["streamajig", "warm-up"]),
        ("howto-watch-a-run.md", ["$", "ssh"]),
        ("howto-watch-a-run.md", ["$", "streamajig"]),
        ("reference-geometry.md", ["x", "="]),
        ("tutorial-which-is-better.md", ["verdict:", "it"]),
        ("tutorial.md", ["process_hkl", "-i"]),
    ]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?://", target):
            continue
        name, _, heading = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), f"{page.name} links to {target}, which is not there"
        if heading:
            assert heading in _anchors(linked), f"{page.name} links to {target}; {linked.name} has {_anchors(linked)}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_and_folders_that_a_page_names_are_there(page: Path) -> None:
    named = set(re.findall(r"`((?:pipeline|stages|tests|docs|examples)/[^\s`]*)`", page.read_text()))
    # names to be filled in, the stage that a recipe makes, and what make docs and warm-up --portable do
    invented = re.compile(r"KIND|WHICH|\*|summits|^docs/_build|/portable_code$")
    assert [name for name in sorted(named) if not invented.search(name) and not (PROJECT / name).exists()] == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", "", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_or_the_list_of_all_pages_that_it_leads_to_has_every_page() -> None:
    text = (PROJECT / "README.md").read_text()
    listed = (PROJECT / "docs" / "README.md").read_text()
    assert "(docs/README.md)" in text
    for page in PAGES[1:]:
        name = page.relative_to(PROJECT)
        assert f"({name})" in text or f"({name.relative_to('docs') if name.parts[0] == 'docs' else name})" in listed, (
            name
        )


def test_decisions_are_numbered_in_sequence_and_begin_with_their_number() -> None:
    pages = sorted((PROJECT / "docs" / "decisions").glob("*.md"))
    for number, page in enumerate(pages, 1):
        assert page.name.startswith(f"{number:04d}-")
        assert page.read_text().startswith(f"# {number}. ")


def test_the_glossary_is_in_order_and_says_each_word_once() -> None:
    rows = re.findall(r"(?m)^\| ([^|]+?) \|", (PROJECT / "docs" / "glossary.md").read_text())
    words = [row.casefold().replace("_", " ") for row in rows if row not in ("word", "---")]
    assert words == sorted(set(words))


# the runner itself must not let anything pass


def test_blocks_are_found_with_their_remarks() -> None:
    text = "a\n\n<!-- file: x.py -->\n```python\n1\n```\n<!-- not run: no beam -->\n\n~~~sh\n```\n~~~\n"
    first, second = blocks_in(text)
    assert (first.language, first.remark, first.value, first.text, first.line) == ("python", "file", "x.py", "1\n", 4)
    assert (second.language, second.remark, second.value, second.text) == ("sh", "not run", "no beam", "```\n")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```sh\nls\n", "no end"),
        ("text\n\n    ls -l\n", "indented"),
        ("<!-- not run -->\n```sh\nls\n```\n", "says nothing"),
        ("<!-- not run:   -->\n```sh\nls\n```\n", "says nothing"),
        ("<!-- not ran: because -->\n<!-- not run because -->\n", "not understood"),
    ],
)
def test_what_could_be_left_out_by_accident_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(BrokenPageError, match=complaint):
        blocks_in(text)


def test_commands_are_told_from_what_they_print() -> None:
    block = Block(Path("p.md"), 1, "console", "$ one \\\n    more\nout\n$ two\n")
    assert [(c.text, c.output) for c in commands_of(block)] == [("one \\\n    more", "out\n"), ("two", "")]


@pytest.mark.parametrize(
    ("language", "text", "error"),
    [
        ("sh", "false\ntrue\n", AssertionError),
        ("console", "$ echo a\nb\n", AssertionError),
        ("console", "$ echo a; echo b\na\n", AssertionError),
        ("console", "$ exit 3\n", AssertionError),
        ("python", "assert 1 == 2\n", AssertionError),
        ("yaml", "nodes: {a: {stage: peaks/hit}}\n", Exception),
        ("geom", "p/min_fs = 0\n", Exception),
        ("mermaid", "flow\n", AssertionError),
        ("", "what is this\n", BrokenPageError),
        ("rust", "fn main() {}\n", BrokenPageError),
    ],
)
def test_a_block_that_does_not_hold_fails(tmp_path: Path, language: str, text: str, error: type[Exception]) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    with page_run(folder, PROJECT) as run, pytest.raises(error):
        run.run(Block(Path("p.md"), 1, language, text))


def test_times_may_be_any_and_counts_nearly_the_same() -> None:
    assert (
        difference("5.0 s, 2 frames/s; receipt to disk 3 ms\n", "7.1 s, 9.4 frames/s; receipt to disk 8 ms\n") is None
    )
    assert difference("indexed 30 of hits\n", "indexed 31 of hits\n") is None
    assert difference("indexed 30 of hits\n", "indexed 36 of hits\n") == "'30' is '36' now"
    assert difference("rejected 0\n", "rejected 1\n") == "'0' is '1' now"
    assert difference("a\n", "a\nb\n") == "'b' is printed besides"
    assert difference("a\n...\n", "a\nb\n") is None
