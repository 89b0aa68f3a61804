"""The site that ``make docs`` builds: every page is in it, links and diagrams work in it, and nothing is complained of."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
SITE = PROJECT / "docs" / "site"
sys.path.insert(0, str(SITE))

import list_of_pages  # noqa: E402
import sources  # noqa: E402
from docstrings import escaped, with_examples_apart  # noqa: E402

from pipeline import registry  # noqa: E402
from stages.commands.index.beside_crystfel import DIFFERS, beside_crystfel  # noqa: E402
from stages.commands.index.options import Status  # noqa: E402
from stages.commands.index.table import BY_NAME, OPTIONS  # noqa: E402


def test_the_list_of_all_pages_is_what_the_pages_say() -> None:
    listed = list_of_pages.LIST.read_text(encoding="utf-8")

    assert listed == list_of_pages.list_of_pages(), "make it anew: make docs"


def test_every_page_belongs_to_one_part() -> None:
    assert list_of_pages.without_part() == []
    pages = [page for part in list_of_pages.PARTS for page in list_of_pages.pages_of(part)]
    assert len(pages) == len(set(pages))


def test_a_page_that_belongs_to_no_part_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_of_pages, "DOCS", tmp_path)
    (tmp_path / "howto-live.md").write_text("# How to live\n")
    (tmp_path / "thoughts.md").write_text("# Thoughts\n")

    assert list_of_pages.without_part() == [tmp_path / "thoughts.md"]


def test_links_to_files_and_folders_lead_to_pages_of_the_site(tmp_path: Path) -> None:
    layout = sources.Layout(tmp_path)

    text = layout.page("docs/howto-stop-when-enough.md")
    readme = layout.page("README.md")

    assert "](../examples/stop_when_enough.yaml.md)" in text
    assert "](docs/decisions/index.md)" in readme
    assert {"examples/stop_when_enough.yaml"} <= layout.shown


def test_links_in_code_stay_as_they_are(tmp_path: Path) -> None:
    changed = sources._outside_code("[a](b) `[a](b)`\n```sh\n[a](b)\n```\n", str.upper)

    assert changed == "[A](B) `[a](b)`\n```sh\n[a](b)\n```\n"


def test_diagrams_are_drawn_into_files_with_their_words_beside_them(tmp_path: Path) -> None:
    text = sources.Layout(tmp_path).page("README.md")

    (picture,) = re.findall(r"```\{image\} (\S+\.svg)", text)
    assert "```mermaid" not in text
    drawn = (tmp_path / picture).read_text()
    assert "dead letters" in drawn
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", drawn)  # nothing is fetched when it is looked at


def test_bars_and_stars_of_docstrings_are_no_markup_and_code_is_left_alone() -> None:
    given = ["|q| along a*, **bold**, the *panel's* and `x|y`::", "", "    |q| a*", "", ">>> 1 | 2"]

    assert escaped(given) == [
        "\\|q\\| along a\\*, **bold**, the *panel's* and `x|y`::",
        "",
        "    |q| a*",
        "",
        ">>> 1 | 2",
    ]


def test_examples_below_parameters_are_no_parameters() -> None:
    given = ["Add.", "", "Parameters", "----------", "x", "    A number.", "", ">>> 1 + 1", "2"]

    assert with_examples_apart(given) == [*given[:7], "Examples", "--------", "", *given[7:]]
    assert with_examples_apart(["Add.", "", ">>> 1 + 1", "2"]) == ["Add.", "", ">>> 1 + 1", "2"]


def test_the_page_of_indexamajigs_options_is_what_the_table_says() -> None:
    page = (PROJECT / "docs" / "reference-indexamajig.md").read_text(encoding="utf-8")

    assert page == beside_crystfel(), "make it anew: make docs"
    for row in OPTIONS:
        assert all(f"`{flag}`" in page for flag in row.flags), row.flag


def test_only_options_of_indexamajig_that_are_supported_do_otherwise() -> None:
    for name in DIFFERS:
        assert BY_NAME[name].status is Status.SUPPORTED
        assert not BY_NAME[name].own


@pytest.mark.slow  # half a minute of one processor
def test_the_site_builds_without_a_warning_and_has_every_page_and_every_stage(tmp_path: Path) -> None:
    source, html = tmp_path / "source", tmp_path / "html"
    for command in (
        [str(SITE / "sources.py"), str(source)],
        ["-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(SITE), str(source), str(html)],
    ):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=PROJECT, check=False)
        assert done.returncode == 0, done.stderr

    for part in list_of_pages.PARTS:
        for page in list_of_pages.pages_of(part):
            assert (html / page.relative_to(PROJECT).with_suffix(".html")).exists(), page
    for name in registry.names():
        if registry.load(name).__module__.startswith(("stages.", "pipeline.")):
            assert name in (html / "stages" / f"{name}.html").read_text()
    for page in html.rglob("*.html"):
        fetched = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?://[^"]+)"', page.read_text())
        assert fetched == [], f"{page} needs a network"
