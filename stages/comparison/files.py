"""What a verdict leaves behind: a page, a table of all frames, figures, and the best variant as a graph.

What cannot be written is said when a run begins, by :func:`check_outputs`, and not when it is over. Each file is written beside
its place and moved there, so that nobody reads half of one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import UserError, Variant
from pipeline.jsonable import jsonable
from pipeline.paths import STDOUT
from stages.comparison import best, page, per_frame, svg
from stages.comparison.estimates import estimates
from stages.comparison.table import MEASURES, FrameTable
from stages.comparison.verdict import Verdict
from stages.merging.shells import Quality


def check_outputs(**paths: Path | None) -> None:
    """Say now what could not be written at the end of a run.

    Parameters
    ----------
    paths
        By name of the parameter: ``page``, ``table``, ``json``, ``keep_best``; None is not asked for.
    """
    for name, path in paths.items():
        if path is None:
            continue
        if path == STDOUT:
            raise UserError(f"{name}: give the name of a file; standard output has the report")
        if path.is_dir():
            raise UserError(f"{name}: {path} is a folder: give the name of a file")
        if not path.parent.is_dir():
            raise UserError(f"{name}: cannot write {path}: there is no folder {path.parent}; make it first")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise UserError(f"{name}: cannot write {path}: no permission")
        if name == "page":
            svg.check_libraries(path)
        elif name == "table":
            per_frame.check_libraries(path)
        elif name == "keep_best":
            _check_own(path)


def write_page(
    path: Path,
    verdict: Verdict,
    table: FrameTable,
    variants: Sequence[Variant] = (),
    merged: Mapping[str, Quality] | None = None,
    kept: Path | None = None,
) -> None:
    """Write the page; `kept` is the file in which the best variant is, `merged` what the variants' intensities are like."""
    choice = best.choose(verdict, table.variants)
    text = page.page_of(verdict, table, page.Also(variants, choice, kept, merged or {}))
    with _in_place(path, "page") as beside:
        beside.write_text(text, encoding="utf-8", errors="replace")


def write_table(path: Path, table: FrameTable) -> None:
    """Write all frames, as CSV or as Parquet by the name of the file."""
    with _in_place(path, "table") as beside:
        if path.suffix.lower() == ".parquet":
            per_frame.write_parquet(beside, table)
            return
        with beside.open("w", encoding="utf-8", errors="replace", newline="") as file:
            per_frame.write_csv(file, table)


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Write figures as JSON; what is no number is null."""
    with _in_place(path, "json") as beside:
        beside.write_text(json.dumps(jsonable(figures), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_best(path: Path, variants: Sequence[Variant], verdict: Verdict) -> None:
    """Write the graph of the variant that is kept; nothing where no frame was compared."""
    choice = best.choose(verdict, [variant.name for variant in variants])
    if choice is None:
        return
    text = best.yaml_of(variants, choice, path.parent)
    with _in_place(path, "keep_best") as beside:
        beside.write_text(text, encoding="utf-8")


def figures_of(verdict: Verdict, table: FrameTable, merged: Mapping[str, Quality] | None = None) -> dict[str, Any]:
    """Return the verdict's figures, and with them each variant's means and merged intensities."""
    variants: dict[str, dict[str, Any]] = {name: {} for name in table.variants}
    for measure in filter(table.has, MEASURES):
        for name, found in zip(table.variants, estimates(table, measure), strict=True):
            variants[name][measure] = {"mean": found.mean, "error": found.error, "frames": found.frames}
    for name, quality in (merged or {}).items():
        shells = [shell.figures() for shell in quality.shells]
        variants[name]["merged"] = {"crystals": quality.num_crystals, **quality.overall.figures(), "shells": shells}
    return {**verdict.figures(), "variants": variants}


@contextlib.contextmanager
def _in_place(path: Path, name: str) -> Iterator[Path]:
    """Give a path beside this one, and move what was written there into its place."""
    target = Path(os.path.realpath(path))  # a link stays one
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    if target.exists() and not target.is_file():  # /dev/null, a pipe
        beside = target
    try:
        yield beside
        if beside != target:
            beside.replace(target)
    except OSError as error:
        raise UserError(f"{name}: cannot write {path}: {error.strerror or error}") from error
    finally:
        if beside != target:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)


def _check_own(path: Path) -> None:
    """A graph that somebody has written is not written over."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        if not file.readline().startswith(best.MARK):
            raise UserError(
                f"keep_best: {path} is there, and no verdict has written it: name another file, or remove that one first"
            )
