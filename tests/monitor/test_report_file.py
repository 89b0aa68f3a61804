"""A report is one file that opens from the disk, offline: with scripts the monitor's page, without them tables."""

from __future__ import annotations

import html
import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_frames import HOSTILE, Camera, eiger
from made_up_run import MadeUpRun

from stages.monitor import bundle, plots_library, report_file
from stages.monitor.blob import encode
from stages.monitor.report_tables import safe, tables

if importlib.util.find_spec(plots_library.PACKAGE) is None:
    pytest.skip(f"{plots_library.PACKAGE} is not installed", allow_module_level=True)

KINDS = {"run": "about_run", "history": "history", "cells": "cells", "resolution": "resolution", "powder": "powder"}


def a_run(size: int = 200) -> MadeUpRun:
    panels = eiger(size, size)
    run = MadeUpRun(3, panels, Camera(panels, 3), 1.76e9)
    while run.elapsed_s < 60:
        run.advance(2.0, most_crystals=5)
    return run


def messages(run: MadeUpRun) -> dict[str, bytes]:
    return {kind: bytes(encode(getattr(run, name)())) for kind, name in KINDS.items()}


def frames(run: MadeUpRun, *categories: str) -> list[bytes]:
    return [bytes(encode(run.frame(category))) for category in categories]


@pytest.fixture(scope="module")
def page() -> str:
    run = a_run()
    return report_file.page_of(messages(run), frames(run, "indexed", "hit", "blank"))


def test_the_same_run_gives_the_same_file(tmp_path: Path) -> None:
    run = a_run()
    of_run, of_frames = messages(run), frames(run, "indexed", "hit")

    for name in ("one.html", "two.html"):
        report_file.write(tmp_path / name, of_run, of_frames)

    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_report_refers_to_nothing_besides_itself(page: str) -> None:
    tags = re.findall(r"<(?:script|link|img|a|iframe|source)\b[^>]*>", page)

    addresses = [found for tag in tags for found in re.findall(r'(?:src|href)="([^"]*)"', tag)]
    assert [one for one in addresses if not one.startswith(("data:", "#", "metrics"))] == []
    assert not any("src=" in tag for tag in tags)


def test_scripts_and_styles_are_allowed_by_their_digests_alone(page: str) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)

    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src" not in policy
    assert len(re.findall(r"<script>", page)) == len(re.findall(r"'sha256-", policy.split("style-src")[0])) == 2


def test_text_of_senders_is_nowhere_markup(page: str) -> None:
    assert HOSTILE not in page
    assert html.escape(HOSTILE) in page


def test_the_licence_of_the_library_is_in_the_file(page: str) -> None:
    assert "Copyright (c) 2022 Leon Sorokin" in page


def test_tables_have_the_runs_numbers(page: str) -> None:
    run = a_run()
    counts = run.about_run()["counts"]

    for name in ("received", "hits", "indexed", "crystals"):
        assert f"<td>{name}</td><td>{counts[name]}</td>" in page
    assert "<td>decode</td><td>the message has no detector_data</td>" in page


def test_tables_are_made_of_whatever_is_there() -> None:
    assert tables({}) == "<h1>streamajig: the run had not ended</h1>"
    odd: dict[str, Any] = {
        "counts": None,
        "figures": {"x": 3, "y": {"looks": [], "findings": 2, "columns": [1]}},
        "nodes": {},
    }
    assert "the run had not ended" in tables({"run": odd})


def test_numbers_that_are_none_are_empty_and_text_is_escaped() -> None:
    assert safe(np.float32("nan")) == ""
    assert safe("<i>\n") == "&lt;i&gt;\\x0a"


def test_as_many_of_the_latest_frames_are_kept_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(600)
    of_run = messages(run)
    of_frames = frames(run, *["blank", "hit", "indexed"] * 6)
    without = len(report_file.page_of(of_run, []).encode())
    one = len(report_file.page_of(of_run, of_frames[-1:]).encode()) - without
    monkeypatch.setattr(report_file, "MOST_BYTES", without + int(4.5 * one))

    page = report_file.page_of(of_run, of_frames)

    kept = re.findall(r'data-kind="frame" data-serial="(\d+)" data-category="(\w+)"', page)
    assert 3 <= len(kept) < 18
    assert {category for _, category in kept} == {"blank", "hit", "indexed"}
    assert [serial for serial, _ in kept] == sorted((serial for serial, _ in kept), key=int)
    assert len(page.encode()) <= report_file.MOST_BYTES


def test_a_run_without_pixels_and_a_run_without_frames_have_reports() -> None:
    run = MadeUpRun(3, eiger(100, 100), None, 1.76e9)
    run.advance(2.0)

    page = report_file.page_of({"run": bytes(encode(run.about_run()))}, frames(run, "indexed"))

    assert 'data-kind="frame"' in page
    assert 'data-kind="history"' not in page


def module(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_modules_are_called_in_the_order_in_which_they_need_each_other(tmp_path: Path) -> None:
    module(
        tmp_path, "main.js", 'import { a, b as c } from "./parts/one.js";\nimport { d } from "./two.js";\nc(a, d);\n'
    )
    module(tmp_path, "parts/one.js", 'import { d } from "../two.js";\nexport const a = d;\nexport function b() {}\n')
    module(tmp_path, "two.js", "export class d {}\n")
    module(tmp_path, "other.js", "export async function d() {}\n")

    script = bundle.script(tmp_path, "main.js", {"two.js": "other.js"})

    assert [
        script.index(f'streamajigModules["{name}"] = ') for name in ("two.js", "parts/one.js", "main.js")
    ] == sorted(script.index(f'streamajigModules["{name}"] = ') for name in ("two.js", "parts/one.js", "main.js"))
    assert 'const { a, b: c } = streamajigModules["parts/one.js"];' in script
    assert "async function d() {}\n\nreturn { d };" in script
    assert "class d" not in script


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('import * as x from "./two.js";\n', r"main\.js has a line that is not understood: import \* as x"),
        ("export { x };\n", r"main\.js has a line that is not understood: export \{ x \};"),
        ("export default 3;\n", r"not understood: export default 3;"),
        ('const end = "</SCRIPT>";\n', r"main\.js has what would end a script in a page"),
        ('import { x } from "./main.js";\n', r"modules that need each other: main\.js -> main\.js"),
    ],
)
def test_what_cannot_be_put_into_one_script_is_said(tmp_path: Path, text: str, why: str) -> None:
    module(tmp_path, "main.js", text)

    with pytest.raises(bundle.NotUnderstood, match=why):
        bundle.script(tmp_path, "main.js", {})


def test_a_page_that_is_not_as_it_was_known_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("index.html", "style.css", "plots.css", "icon.svg", "main.js", "parts.js"):
        module(tmp_path, name, "" if name == "index.html" else (report_file.PAGE / name).read_text())
    monkeypatch.setattr(report_file, "PAGE", tmp_path)
    monkeypatch.setattr(bundle, "script", lambda *_: "")

    with pytest.raises(ValueError, match=r"index\.html has 0 times '<meta charset=\"utf-8\">', not once"):
        report_file.page_of({}, [])


def test_without_scripts_the_tables_are_seen_and_with_them_the_page(tmp_path: Path) -> None:
    looking = pytest.importorskip("looking")
    run = a_run()
    report_file.write(tmp_path / "report.html", messages(run), frames(run, "indexed"))
    received = f"{run.about_run()['counts']['received']}"

    for scripts in (True, False):
        saved = tmp_path / str(scripts)
        saved.mkdir()
        with looking.browser(saved, scripts=scripts) as window:
            window.open((tmp_path / "report.html").as_uri())
            assert window.find("#plain").is_displayed() is not scripts
            assert window.find("#tabs").is_displayed() is scripts
            if not scripts:
                assert received in window.find("#plain").text
            assert window.complaints() == []
