"""A verdict as one page of HTML, which needs nothing besides itself: no network, no script, no other file.

Names of variants and events come from users and senders: all text goes through :func:`safe`.
"""

from __future__ import annotations

import html
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline import Variant
from pipeline.texts import one_line
from stages.comparison import plots
from stages.comparison.best import Choice
from stages.comparison.chosen import against, ahead, compared, in_rank, sentences, shown_measures
from stages.comparison.estimates import estimates
from stages.comparison.page_frames import frames_that_differ
from stages.comparison.page_style import STYLE
from stages.comparison.svg import NUM_SERIES
from stages.comparison.table import MEASURES, FrameTable
from stages.comparison.verdict import Verdict
from stages.comparison.words import heading, said
from stages.merging.shells import Quality

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
"""

_MARKS = {
    1: '<span class="mark up" title="better than the best in this">▲</span>',
    -1: '<span class="mark down" title="worse than the best in this">▼</span>',
    0: "",
}


@dataclass(frozen=True)
class Also:
    """What a page shows besides the verdict, as far as it is there.

    Attributes
    ----------
    variants
        With their graphs: the page says how to run the winner.
    choice
        The variant that is kept, and why.
    kept
        The file in which it is.
    merged
        Name of a variant -> how good its merged intensities are.
    """

    variants: Sequence[Variant] = ()
    choice: Choice | None = None
    kept: Path | None = None
    merged: Mapping[str, Quality] = field(default_factory=dict)


def safe(text: object) -> str:
    """Escape text from anywhere for HTML.

    >>> safe('<script>"&\\n')
    '&lt;script&gt;&quot;&amp;\\\\x0a'
    """
    return html.escape(one_line(str(text)))


def page_of(verdict: Verdict, table: FrameTable, also: Also) -> str:
    """Return the page."""
    title = headline(verdict)
    parts = [_HEAD, f"<title>{safe(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"]
    parts += [f"<header>\n<p>{_what(verdict, table)}</p>\n<h1>{safe(title)}</h1>\n"]
    parts += [f'<p class="why">{_sentence(verdict.why)}</p>\n</header>\n']
    if len(table):
        parts += [_said(verdict, table), *_table(verdict, table, also.merged), *_plots(verdict, table, also.merged)]
        parts += _winner(also)
        parts += frames_that_differ(table, ahead(verdict, table), safe)
        parts.append(_how_to_read(verdict, table))
    return "".join([*parts, "</main>\n</body>\n</html>\n"])


def headline(verdict: Verdict) -> str:
    """The verdict in a few words."""
    aimed = [found for found in verdict.differences if found.measure.name == verdict.aim]
    alike = len(verdict.leaders) > 1
    if verdict.best is not None:
        if alike:
            return f"{verdict.best} is as good as any, and faster"
        return f"{verdict.best} is {'better' if len(aimed) == 1 else 'best'}"
    if aimed and all(found.outcome == "identical" for found in aimed):
        return "The same on every frame"
    return "No difference that matters" if alike else "Not decided yet"


def _what(verdict: Verdict, table: FrameTable) -> str:
    measure = MEASURES[verdict.aim]
    return (
        f"verdict on {safe(measure.words)} · {len(table.variants)} variants · {len(table):,} frames, the same for each"
    )


def _said(verdict: Verdict, table: FrameTable) -> str:
    items = "".join(f"<li>{_sentence(sentence)}</li>\n" for sentence in sentences(verdict, table))
    return f'<ul class="said">\n{items}</ul>\n' if items else ""


def _table(verdict: Verdict, table: FrameTable, merged: Mapping[str, Quality]) -> Iterator[str]:
    measures = shown_measures(verdict, table)
    reference = table.variants[ahead(verdict, table)]
    yield '<h2>Variants</h2>\n<div class="scroll"><table class="wide">\n<thead><tr><th class="name" scope="col">variant</th>'
    for measure in measures:
        kind = ' class="aim"' if measure.name == verdict.aim else ""
        yield f'<th scope="col"{kind} title="{safe(measure.words)}">{safe(heading(measure))}</th>'
    yield "<th scope=col>CC½</th>" if merged else ""
    yield "</tr></thead>\n<tbody>\n"
    columns = {measure.name: estimates(table, measure.name) for measure in measures}
    for i in in_rank(verdict, table):
        name = table.variants[i]
        is_best = name == verdict.best
        yield '<tr class="best">' if is_best else "<tr>"
        yield f'<th scope="row">{swatch(i)}{safe(name)}{"<span class=tag>best</span>" if is_best else ""}</th>'
        for measure in measures:
            found = columns[measure.name][i]
            number, _, error = said(measure, found.mean, found.error, " ± ").partition(" ± ")
            seen = against(verdict, measure.name, name, reference)
            mark = "" if seen is None else _MARKS[seen.sense]
            yield f"<td>{number}{f' <small>± {error}</small>' if error else ''}{mark}</td>"
        if merged:
            cc_half = merged[name].overall.cc_half if name in merged else math.nan
            yield f"<td>{cc_half:.3f}</td>" if math.isfinite(cc_half) else "<td>-</td>"
        yield "</tr>\n"
    yield "</tbody></table></div>\n"
    yield (
        f'<p class="quiet">± is one standard error of the mean. ▲ ▼: better, worse than {safe(reference)} on the same frames, '
        "by more than chance.</p>\n"
    )


def _sentence(text: str) -> str:
    return safe(text).replace(" +- ", " ± ")


def _plots(verdict: Verdict, table: FrameTable, merged: Mapping[str, Quality]) -> Iterator[str]:
    reference = ahead(verdict, table)
    name = table.variants[reference]
    aim = MEASURES[verdict.aim]
    yield '<h2>Over the run</h2>\n<div class="plots">\n'
    yield _figure(
        _capital(aim.words), "The mean so far and its interval of 95 %.", plots.means_over_frames(table, verdict.aim)
    )
    if table.has("ms"):
        caption = "Bar: the middle half; stroke: median; ring: mean; line: 5 to 95 of 100 frames."
        yield _figure("Time per frame", caption, plots.times(table, in_rank(verdict, table)))
    if math.isfinite(_widest_angle(table, reference)):
        caption = f"Part of the frames whose orientations agree with {name}'s within so many degrees."
        yield _figure("Agreement of orientations", caption, plots.angles(table, reference))
    if merged:
        caption = "Intensities merged per variant: correlation of two halves of the crystals."
        yield _figure("CC½ by resolution", caption, plots.cc_half_by_shell(table.variants, merged))
    yield f"</div>\n<h2>Differences from {safe(name)}</h2>\n"
    yield (
        '<p class="quiet">Each frame against itself, with intervals of 95 %. ▲ better, ▼ worse, ● neither is known. '
        'Shaded: too small to matter.</p>\n<div class="plots">\n'
    )
    others = [i for i in in_rank(verdict, table) if i != reference]
    for measure in compared(verdict):
        found = [(table.variants[i], against(verdict, measure.name, table.variants[i], name)) for i in others]
        rows = [(other, seen) for other, seen in found if seen is not None]
        if rows:
            yield _figure(_capital(measure.words), "", plots.differences(measure, rows))
    yield "</div>\n"


def _winner(also: Also) -> Iterator[str]:
    if also.choice is None:
        return
    graph = next((variant.graph for variant in also.variants if variant.name == also.choice.name), None)
    if graph is None:
        return
    yield f"<h2>Run {safe(also.choice.name)}</h2>\n"
    if also.choice.reason:
        yield f"<p>It is not known to be the best: {_sentence(also.choice.reason)}.</p>\n"
    file = "FILE.yaml" if also.kept is None else shlex.quote(str(also.kept))
    if also.kept is None:
        yield "<p>Save this as a file, then:</p>\n"
    yield f"<p><code>streamajig run {safe(file)}</code></p>\n"
    text = html.escape("\n".join(one_line(line, _LONGEST_LINE) for line in graph.to_yaml().splitlines()))
    yield f"<details><summary>The graph as YAML</summary>\n<pre>{text}</pre></details>\n"


def _how_to_read(verdict: Verdict, table: FrameTable) -> str:
    words = "; ".join(f"<b>{safe(each.name)}</b>: {safe(each.words)}" for each in shown_measures(verdict, table))
    return (
        f"<footer>\n<p>{words}.</p>\n<p>All variants saw the same frames, so they are compared frame by frame. That is surer "
        "than two means beside each other: where the intervals of two means overlap, the difference may still be clear."
        "</p>\n</footer>\n"
    )


def swatch(number: int) -> str:
    """A spot in the colour that a variant has in all plots."""
    return f'<span class="swatch" style="background: var(--s{number % NUM_SERIES})"></span>'


def _figure(title: str, caption: str, svg: str) -> str:
    said = f"<figcaption>{safe(caption)}</figcaption>" if caption else ""
    return f"<figure><h3>{safe(title)}</h3>{said}\n{svg}\n</figure>\n"


def _widest_angle(table: FrameTable, reference: int) -> float:
    angles = np.delete(table.angles_to(reference), reference, axis=1)
    return float(angles[np.isfinite(angles)].max(initial=-math.inf))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_LONGEST_LINE = 4000
