"""A run's last state as plain tables of HTML: what a report shows where no script runs.

All text comes from users and senders, and passes :func:`safe`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from pipeline.texts import one_line

_CELL = ("a", "b", "c", "alpha", "beta", "gamma")
_COUNTS = ("received", "delivered", "rejected", "dropped", "lost", "in_flight", "hits", "indexed", "crystals", "peaks")
_MOST_TIMES = 13
_MERGED = ("completeness", "multiplicity", "cc_half", "r_split", "i_over_sigma")


def safe(value: object) -> str:
    """Escape text from anywhere for HTML, and write numbers shortly.

    >>> safe("<b>"), safe(0.123456), safe(12), safe(None), safe(float("nan"))
    ('&lt;b&gt;', '0.1235', '12', '', '')
    """
    if value is None or (isinstance(value, float | np.floating) and not math.isfinite(value)):
        return ""
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return html.escape(one_line(str(value)))


def tables(messages: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the tables of the messages of each kind, as HTML."""
    run = messages.get("run", {})
    parts = [f"<h1>{safe(run.get('program', 'streamajig'))}: {safe(_headline(run))}</h1>"]
    parts.append(_table("The run", ("what", "value"), (row for row in _about(run) if row[1] is not None)))
    parts.append(_table("Frames", ("what", "number"), _counts(run)))
    parts.append(_table("Rejected and dropped", ("node", "reason", "frames", "one of them"), _rejections(run)))
    parts.append(_table("Rejected until then", *_rejected_in_time(messages.get("history", {}))))
    parts.append(_table("What the analyses say", ("node", "text"), _map(run.get("statuses")).items()))
    for leaf, figures in _map(run.get("figures")).items():
        parts += _figures(leaf, _map(figures))
    nodes = ("name", "stage", "frames", "rejected", "mean_ms", "median_ms", "p99_ms", "total_s")
    parts.append(_table("Nodes", nodes, _rows(run.get("nodes"), nodes)))
    groups = ("value", "frames", "hits", "indexed", "crystals")
    of_key = _map(run.get("groups"))
    parts.append(_table(f"Groups by {of_key.get('key')}", groups, _rows(of_key.get("values"), groups)))
    crystals = ("serial", "event", *_CELL, "lattice", "method", "resolution", "reflections", "peaks")
    parts.append(_table("Last crystals", crystals, _columns(_map(run.get("crystals")), crystals)))
    return "\n".join(part for part in parts if part)


def _headline(run: Mapping[str, Any]) -> str:
    ended = run.get("ended")
    return f"the run ended: {ended}" if ended else "the run had not ended"


def _about(run: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "command line", run.get("command_line")
    for name in ("started_unix_s", "time_unix_s"):
        if isinstance(at := run.get(name), int | float):
            yield "started" if name == "started_unix_s" else "as of", _time(at)
    yield "elapsed, s", run.get("elapsed_s")
    yield "source", run.get("source")
    latency = run.get("latency_ms")
    if isinstance(latency, list) and len(latency) == 2:
        yield (
            f"latency, ms, half and 99 of 100 frames ({run.get('latency_to')})",
            f"{safe(latency[0])}, {safe(latency[1])}",
        )


def _counts(run: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    counts = _map(run.get("counts"))
    for name in _COUNTS:
        if name in counts:
            yield name.replace("_", " "), counts[name]


def _rejections(run: Mapping[str, Any]) -> Iterator[list[object]]:
    yield from _rows(run.get("rejections"), ("node", "reason", "count", "example"))
    for reason, count in _map(run.get("drops")).items():
        yield ["", reason, count, ""]


def _rejected_in_time(history: Mapping[str, Any]) -> tuple[list[str], Iterator[list[object]]]:
    """Names and rows of a table: for some times, evenly spaced, what was rejected until then for each reason."""
    found = [one for one in _list(history.get("rejections")) if isinstance(one, Mapping)]
    names = ["time", *(str(one.get("reason")) for one in found)]
    columns = {name: one.get("rejected") for name, one in zip(names[1:], found, strict=True)} if found else {}
    rows = list(_columns({"time": history.get("time_unix_s"), **columns}, names)) if found else []
    chosen = sorted({round(n * (len(rows) - 1) / (_MOST_TIMES - 1)) for n in range(_MOST_TIMES)}) if rows else ()
    return names, ([_time(rows[n][0]), *rows[n][1:]] for n in chosen)


def _time(unix_s: Any) -> str:
    return (
        datetime.fromtimestamp(unix_s).astimezone().isoformat(" ", "seconds") if isinstance(unix_s, int | float) else ""
    )


def _figures(leaf: str, figures: Mapping[str, Any]) -> Iterator[str]:
    if cells := list(_cells(figures)):
        yield _table(f"{leaf}: cells, Angstrom and degrees", ("what", "lattice", *_CELL, "crystals", "share"), cells)
    for name in ("not_this_cell", "not_this_distance"):
        if figures.get(name):
            yield f"<p><strong>{safe(figures[name])}</strong></p>"
    if "looks" in figures:
        looks = ("crystals", *_MERGED)
        yield _table(f"{leaf}: merged data against crystals", looks, _columns(_map(figures["looks"]), looks))
        shells = ("d_max", "d_min", *_MERGED)
        yield _table(f"{leaf}: in shells", shells, _columns(_map(figures.get("shells")), shells))
    findings = figures.get("findings")
    yield _table(f"{leaf}: findings", ("subject", "text"), _rows(findings, ("subject", "text")))
    if figures.get("shift_mm"):
        yield _table(f"{leaf}: shift of the detector, mm", ("x", "y", "z"), [figures["shift_mm"]])
    if isinstance(columns := figures.get("columns"), list):
        told = [column.get("name") if isinstance(column, Mapping) else column for column in columns]
        names = [*(name for name in ("variant", "frames") if name not in told), *told]
        yield f"<p>{safe(figures.get('headline'))} {safe(figures.get('why'))}</p>"
        yield _table(f"{leaf}: variants", names, _rows(figures.get("rows"), names))


def _cells(figures: Mapping[str, Any]) -> Iterator[list[object]]:
    consensus = figures.get("consensus")
    others = [("besides", one) for one in _list(figures.get("alternatives"))]
    elsewhere = figures.get("elsewhere_cells", figures.get("elsewhere"))
    others += [("not the target", one) for one in _list(elsewhere)]
    for what, one in [("consensus", consensus), *others]:
        if isinstance(one, Mapping) and len(one.get("cell") or ()) == len(_CELL):
            yield [what, one.get("lattice"), *one["cell"], one.get("crystals"), one.get("share")]


def _table(title: str, names: Sequence[object], rows: Iterable[Iterable[object]]) -> str:
    """A table, or nothing where it has no rows."""
    lines = ["<tr>" + "".join(f"<td>{safe(value)}</td>" for value in row) + "</tr>" for row in rows]
    if not lines:
        return ""
    heads = "".join(f'<th scope="col">{safe(str(name).replace("_", " "))}</th>' for name in names)
    return (
        f"<table><caption>{safe(title)}</caption><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _rows(found: Any, names: Sequence[Any]) -> Iterator[list[object]]:
    for one in _list(found):
        if isinstance(one, Mapping):
            yield [one.get(name) for name in names]


def _columns(found: Mapping[str, Any], names: Sequence[str]) -> Iterator[list[object]]:
    """Rows of columns, those of which are left out that are not there."""
    num = max((len(found[name]) for name in names if isinstance(found.get(name), list | np.ndarray)), default=0)
    for n in range(num):
        yield [_item(found.get(name), n) for name in names]


def _item(column: Any, n: int) -> object:
    if not isinstance(column, list | np.ndarray) or n >= len(column):
        return None
    value = column[n]
    return value.item() if isinstance(value, np.generic) else value


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []
