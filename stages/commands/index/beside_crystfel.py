"""indexamajig's options one by one, and what becomes of each here: ``docs/reference-indexamajig.md``, made from the table.

``python -m stages.commands.index.beside_crystfel`` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from stages.commands.index.options import Option, Status
from stages.commands.index.table import OPTIONS, OTHER_INDEXERS, PANELS

_AS_THERE = "as there"

DIFFERS = {
    "input": "also takes a single image file, a folder or a pattern, and recorded messages; a file that cannot be read is a "
    "rejected frame",
    "data_format": "`cbf` and `npy` besides",
    "wait_for_file": "a file that does not come is a rejected frame, and the run goes on",
    "prefix": "only for names in lists",
    "zmq_request": "several requests are out at once, see `--outstanding` and `--sockets`",
    "zmq_subscribe": "what becomes of frames that come too fast is chosen with `--when-full`, and each drop is counted",
    "peaks": "besides `msgpack`, `zaef`, `peakfinder8` and `peakfinder9` there is `likelihood`; without the option the "
    "message's list is taken if the geometry file has a `peak_list`",
    "min_peaks": "besides, frames with fewer than 6 peaks are never indexed",
    "indexing": "the methods are other ones: `pairs`, `lattice`, `auto`, `file`, `none`; several are tried in turn, as there",
    "pdb": "without it the cell is found, reported and used; with it the report says how far the crystals' mean is off",
    "integration": "`none`, `rings` and `prof2d`; intensities of `rings` are divided by the part of a spot in the circle "
    "(`--no-tail-correction` leaves sums as they are)",
    "int_diag": "what it shows stands in the report",
    "no_data_timeout": "holds for ZeroMQ, and without it the run waits for ever; there it holds for ASAP::O",
    "j": "frames are processed by threads of one program; `--backend=processes:N` has processes",
    "profile": "the times stand in the report, one line a stage",
}
"""What supported options do otherwise than in indexamajig, by their Python name."""

_HEAD = """\
# indexamajig's options, one by one

This page is generated from the table of options (`stages/commands/index/table.py`). It has every option of indexamajig 0.12 and
what becomes of it here; [coming from CrystFEL](coming-from-crystfel.md) says the rest. What each does, and which stage it goes
to, stands in the [options](reference-options.md).

- *{as_there}*: same name, same meaning ({as_there_count} options);
- *does otherwise*: it is supported, and something is different ({differ_count});
- *accepted*: it asks for what is true anyway, and the log says so ({noted_count});
- *refused*: the program ends with exit status 2 and this reason; none is ever ignored ({refused_count}).
"""


def beside_crystfel() -> str:
    """The whole page."""
    there = [row for row in OPTIONS if not row.own]
    counted = {verdict: sum(_verdict(row) == verdict for row in there) for verdict in (_AS_THERE, *_VERDICTS)}
    head = _HEAD.format(
        as_there=_AS_THERE,
        as_there_count=counted[_AS_THERE],
        differ_count=counted["does otherwise"],
        noted_count=counted["accepted"],
        refused_count=counted["refused"],
    )
    return "\n".join([head, *_panels(there), *_own()])


_VERDICTS = ("does otherwise", "accepted", "refused")


def _verdict(row: Option) -> str:
    if row.status is Status.NOTED:
        return "accepted"
    if row.status is Status.REFUSED:
        return "refused"
    return "does otherwise" if row.name in DIFFERS else _AS_THERE


def _panels(there: list[Option]) -> Iterator[str]:
    for panel in PANELS:
        rows = [row for row in there if row.panel == panel]
        if panel == OTHER_INDEXERS:
            yield f"## {panel}\n"
            yield "All are refused: these methods are not here. `streamajig stages index` lists those that are.\n"
            yield ", ".join(f"`{row.flag}`" for row in rows) + "\n"
        elif rows:
            yield f"## {panel}\n\n| indexamajig | here | |\n|---|---|---|"
            yield from (f"| {_spellings(row)} | {_verdict(row)} | {_words(row)} |" for row in rows)
            yield ""


def _words(row: Option) -> str:
    return row.why if row.status is not Status.SUPPORTED else DIFFERS.get(row.name, "")


def _spellings(row: Option) -> str:
    return ", ".join(f"`{flag}`" for flag in row.flags)


def _own() -> Iterator[str]:
    yield "## What indexamajig does not have\n\n| option | meaning |\n|---|---|"
    yield from (f"| {_spellings(row)} | {row.help} |" for row in OPTIONS if row.own)
    yield ""


if __name__ == "__main__":
    sys.stdout.write(beside_crystfel())
