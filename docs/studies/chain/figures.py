"""How the figures of the whole chain are shown: samples, tables in Markdown, a plot."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from load import CASES, SIZES
from window import Window

LOOP = "loop"
"""Stands among the workers for the loop that only receives."""
PEER = "crystfel "
"""Before a setting of CrystFEL's among the workers."""
LIMITING = 0.9
"""A sender whose busiest thread has so much to do may have been the limit."""


class Place(NamedTuple):
    """Which messages come which way: what is compared has this in common."""

    size: str
    pixels: bool
    hits: float
    transport: str


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes
    ----------
    case
        Name of the case; "" for the loop.
    worker
        The backend, `LOOP`, or `PEER` and a setting.
    latency_ms, half_load_ms
        From receipt to disk, the median and what 99 of 100 stay below: as fast as it goes, and at half that rate.
    found
        Parts of the frames that were found to be hits, and that were indexed.
    nodes_ms
        Time of each node.
    """

    place: Place
    case: str
    worker: str
    window: Window
    latency_ms: tuple[float, float] | None = None
    half_load_ms: tuple[float, float] | None = None
    found: dict[str, float] = field(default_factory=dict)
    nodes_ms: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def load(kept: dict[str, Any]) -> Sample:
        """Make one of what `dataclasses.asdict` and JSON have made of it."""
        kept = {**kept, "place": Place(*kept["place"]), "window": Window(**kept["window"])}
        pairs = {name: tuple(kept[name]) for name in ("latency_ms", "half_load_ms") if kept[name]}
        return Sample(**{**kept, **pairs})


@dataclass(frozen=True)
class Row:
    """The samples of all rounds that are of one kind, and what is compared with each."""

    samples: tuple[Sample, ...]
    floors_ms: tuple[float, ...]
    peers_ms: tuple[float, ...]
    peer: str

    @property
    def first(self) -> Sample:
        """One of them."""
        return self.samples[0]

    @property
    def cpu_ms(self) -> float:
        """Processor time of a frame."""
        return self.median(lambda one: one.window.cpu_ms)

    @property
    def above_floor_ms(self) -> float | None:
        """Processor time of a frame beyond that of the loop, each compared with that of its round."""
        pairs = zip(self.samples, self.floors_ms, strict=True)
        return statistics.median(one.window.cpu_ms - floor for one, floor in pairs) if self.floors_ms else None

    @property
    def times_faster(self) -> float | None:
        """What CrystFEL's fastest setting takes of processor time, in units of ours."""
        pairs = zip(self.samples, self.peers_ms, strict=True)
        return statistics.median(peer / one.window.cpu_ms for one, peer in pairs) if self.peers_ms else None

    @property
    def is_limited_by_sender(self) -> bool:
        """Whether the sender may have been the limit."""
        return self.median(lambda one: one.window.sender_busy) >= LIMITING

    def median(self, figure: Callable[[Sample], float]) -> float:
        """The median of a figure over the rounds."""
        return statistics.median(figure(one) for one in self.samples)


def rows_of(rounds: Sequence[Sequence[Sample]]) -> list[Row]:
    """What is shown in one row each, in the order in which it was measured; each sample beside those of its round."""
    kinds = dict.fromkeys((one.place, one.case, one.worker) for samples in rounds for one in samples)
    rows = []
    for place, case, worker in kinds:
        found = [_one(samples, place, case, worker) for samples in rounds]
        floors = [_one(samples, place, "", LOOP) for samples in rounds]
        peers = [_fastest_peer(samples, place, case) for samples in rounds]
        kept = [k for k, one in enumerate(found) if one is not None]
        floors_ms, peers_ms = (
            tuple(one.window.cpu_ms for k in kept if (one := ones[k]) is not None) for ones in (floors, peers)
        )
        complete = {name: ms if len(ms) == len(kept) else () for name, ms in (("f", floors_ms), ("p", peers_ms))}
        peer = next((one.worker.removeprefix(PEER) for one in peers if one is not None), "")
        rows.append(Row(tuple(one for one in found if one is not None), complete["f"], complete["p"], peer))
    return rows


def _one(samples: Iterable[Sample], place: Place, case: str, worker: str) -> Sample | None:
    return next((one for one in samples if (one.place, one.case, one.worker) == (place, case, worker)), None)


def _fastest_peer(samples: Iterable[Sample], place: Place, case: str) -> Sample | None:
    """CrystFEL runs over one transport; what it takes of processor time is compared with ours over all."""
    peers = [
        one
        for one in samples
        if one.case == case and one.place[:3] == place[:3] and one.case and one.worker.startswith(PEER)
    ]
    return min(peers, key=lambda one: one.window.cpu_ms, default=None)


def _pair(values: tuple[float, float] | None) -> str:
    return f"{values[0]:.3g} / {values[1]:.3g}" if values else "-"


def _maybe(value: float | None, form: str = ".2f") -> str:
    return format(value, form) if value is not None else "-"


COLUMNS = (
    *("Mpx", "hits", "over", "worker", "frames/s", "cpu ms a frame", "of it system", "above the floor"),
    *("CrystFEL takes", "page faults", "latency ms, 50 % / 99 %", "at half the rate", "memory MB"),
    *("start s", "first frames s", "sender busy", "others' cores", "hits found", "indexed"),
)


def cells(row: Row) -> list[str]:
    """The cells of a row."""
    one = row.first
    opened = [sample.window.open_s for sample in row.samples if sample.window.open_s is not None]
    busy = row.median(lambda sample: sample.window.sender_busy)
    return [
        one.place.size,
        f"{one.place.hits:.0%}",
        one.place.transport,
        one.worker,
        f"{row.median(lambda sample: sample.window.rate):.1f}",
        f"**{row.cpu_ms:.2f}**",
        f"{row.median(lambda sample: sample.window.system_ms):.2f}",
        _maybe(row.above_floor_ms) if one.worker != LOOP else "-",
        f"{row.times_faster:.1f} times" if row.times_faster is not None and not _is_peer(row) else "-",
        f"{row.median(lambda sample: sample.window.faults):.0f}",
        _pair(one.latency_ms),
        _pair(one.half_load_ms),
        f"{row.median(lambda sample: sample.window.peak_mb):.0f}",
        _maybe(statistics.median(opened) if opened else None),
        f"{row.median(lambda sample: sample.window.first_s):.2f}",
        f"{busy:.0%}" + (" (the limit)" if row.is_limited_by_sender else ""),
        f"{row.median(lambda sample: sample.window.others_cores):.2f}",
        *(_maybe(one.found.get(name), ".0%") for name in ("hits", "indexed")),
    ]


def _is_peer(row: Row) -> bool:
    return row.first.worker.startswith(PEER)


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def tables(rounds: Sequence[Sequence[Sample]]) -> str:
    """All that was measured: a table for each case, the loop on the same messages first."""
    rows = rows_of(rounds)
    parts = []
    for case in dict.fromkeys(row.first.case for row in rows if row.first.case):
        of_case = [row for row in rows if row.first.case == case]
        places = {row.first.place for row in of_case}
        floors = [row for row in rows if row.first.worker == LOOP and row.first.place in places]
        parts.append(f"**{case}**: {CASES[case].words}\n\n{markdown(COLUMNS, map(cells, [*floors, *of_case]))}")
    return "\n\n".join(parts)


SUMMARY = (
    *("case", "Mpx", "hits", "over", "floor", "cpu ms a frame", "above the floor", "CrystFEL's fastest", "takes"),
    *("latency at half the rate ms, 50 % / 99 %",),
)


def summary(rounds: Sequence[Sequence[Sample]]) -> str:
    """One worker, with a line for each case: processor time beside the floor and CrystFEL."""
    lines = []
    for row in rows_of(rounds):
        one = row.first
        if one.worker != "serial":
            continue
        peer = f"{row.peer} {statistics.median(row.peers_ms):.1f}" if row.peers_ms else "-"
        times = f"{row.times_faster:.1f} times" if row.times_faster is not None else "-"
        lines.append(
            [
                one.case,
                one.place.size,
                f"{one.place.hits:.0%}",
                one.place.transport,
                _maybe(statistics.median(row.floors_ms) if row.floors_ms else None),
                f"**{row.cpu_ms:.2f}**",
                _maybe(row.above_floor_ms),
                peer,
                times,
                _pair(one.half_load_ms),
            ]
        )
    return markdown(SUMMARY, lines)


OTHERS = ("case", "Mpx", "hits", "over", "worker", "frames/s", "cpu ms a frame", "latency ms, 50 % / 99 %", "memory MB")


def others(rounds: Sequence[Sequence[Sample]]) -> str:
    """Several workers: how many frames they do, and what a frame costs then."""
    lines = []
    for row in rows_of(rounds):
        one = row.first
        if not one.case or _is_peer(row) or one.worker == "serial":
            continue
        rate = f"{row.median(lambda sample: sample.window.rate):.1f}" + ("*" if row.is_limited_by_sender else "")
        memory = f"{row.median(lambda sample: sample.window.peak_mb):.0f}"
        place = one.case, one.place.size, f"{one.place.hits:.0%}", one.place.transport
        lines.append([*place, one.worker, rate, f"**{row.cpu_ms:.2f}**", _pair(one.latency_ms), memory])
    return markdown(OTHERS, lines) if lines else ""


def megapixels(size: str) -> float:
    """Of the detector.

    >>> round(megapixels("4.5"), 2), megapixels("100x200")
    (4.47, 0.02)
    """
    width, _, height = SIZES.get(size, size).partition("@")[0].partition("x")
    return int(width) * int(height) / 1e6


def draw(rounds: Sequence[Sequence[Sample]], path: Path) -> None:
    """Processor time of a frame with one worker, by the size of the detector: a plot for each case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    rows = [row for row in rows_of(rounds) if row.first.place.transport == rounds[0][0].place.transport]
    cases = list(dict.fromkeys(row.first.case for row in rows if row.first.case))
    fractions = sorted({row.first.place.hits for row in rows}, reverse=True)
    style = {"svg.fonttype": "none", "svg.hashsalt": "chain", "font.size": 8}
    with matplotlib.rc_context(style):
        figure, axes = plt.subplots(
            1, len(cases), figsize=(2.2 * len(cases) + 0.6, 3.4), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, case in zip(axes[0], cases, strict=True):
            for k, hits in enumerate(fractions):
                mine = [row for row in rows if row.first.case == case and row.first.place.hits == hits]
                _line(axis, [row for row in mine if row.first.worker == "serial"], f"C{k}", f"{hits:.0%} hits", "-")
                peers = {row.first.place: row for row in sorted(mine, key=lambda row: -row.cpu_ms) if _is_peer(row)}
                _line(axis, list(peers.values()), f"C{k}", f"CrystFEL, {hits:.0%}", ":")
            pixels = CASES[case].pixels
            floor = [row for row in rows if row.first.worker == LOOP and row.first.place.pixels == pixels]
            _line(axis, [row for row in floor if row.first.place.hits == fractions[0]], "grey", "receiving alone", "--")
            axis.set(title=f"({case})", xlabel="megapixels", xscale="log", yscale="log")
            sizes = sorted({megapixels(row.first.place.size) for row in rows})
            axis.set_xticks(sizes, [f"{size:.3g}" for size in sizes])
            axis.minorticks_off()
            axis.grid(axis="y", linewidth=0.3)
        axes[0][0].set_ylabel("processor time of a frame, ms")
        axes[0][0].yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        handles = {label: line for axis in axes[0] for line, label in zip(*axis.get_legend_handles_labels())}  # noqa: B905
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _line(axis: Any, rows: Sequence[Row], colour: str, label: str, stroke: str) -> None:
    points = sorted((megapixels(row.first.place.size), row.cpu_ms) for row in rows)
    if points:
        axis.plot(*zip(*points, strict=True), stroke, color=colour, marker="o", markersize=3, label=label)


def kept(rounds: Sequence[Sequence[Sample]]) -> list[list[dict[str, Any]]]:
    """All samples, for JSON."""
    return [[asdict(one) for one in samples] for samples in rounds]
