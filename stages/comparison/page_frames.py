"""On a verdict's page: the frames to look at, because variants do not agree on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stages.comparison.chosen import APART_DEG, differing, is_turned
from stages.comparison.table import FrameTable

MOST_LISTED = 50

_INDEXED, _NOT, _TURNED = ('<td class="yes">●</td>', '<td class="no">–</td>', '<td class="turned">◐</td>')


def frames_that_differ(table: FrameTable, reference: int, safe: Callable[[object], str]) -> Iterator[str]:
    """The part of the page; nothing where all agree. `safe` escapes text."""
    found = differing(table, reference, MOST_LISTED)
    if not found.rows:
        return
    name = safe(table.variants[reference])
    yield f"<h2>Frames to look at</h2>\n<p>{found.num_indexed:,} frames are indexed by some variants and not by others"
    if found.num_turned:
        yield f"; in {found.num_turned:,} a variant has an orientation more than {APART_DEG:g}° from that of {name}"
    every = len(found.rows) == MOST_LISTED
    yield f". {'These come first' if every else 'These are all'}: those that {name} misses, then those that it alone indexes."
    yield f"</p>\n<details><summary>{len(found.rows)} frames</summary>\n"
    yield '<div class="scroll"><table>\n<thead><tr><th class="name" scope="col">event</th><th scope="col">serial</th>'
    yield "".join(f'<th scope="col">{safe(variant)}</th>' for variant in table.variants)
    yield "</tr></thead>\n<tbody>\n"
    indexed = table.column("indexed") == 1.0
    turned = is_turned(table, reference)
    for row in found.rows:
        cells = "".join(
            (_TURNED if turned[row, i] else _INDEXED) if indexed[row, i] else _NOT for i in range(len(table.variants))
        )
        yield f'<tr><td class="name">{safe(table.event[row])}</td><td>{int(table.serial[row])}</td>{cells}</tr>\n'
    yield f'</tbody></table></div>\n<p class="quiet">● indexed, – not, ◐ in another orientation than {name}.</p></details>\n'
