"""A finished run as one file of HTML: the monitor's own page with the last messages in it, which opens from the disk, offline.

The page's modules are put into one script (:mod:`stages.monitor.bundle`), uPlot (:mod:`stages.monitor.plots_library`) and the
styles beside it; messages lie in it compressed and as base64. The page's policy names its scripts and styles by their
digests and allows nothing else, no request at all: what is in the messages could not run even if a browser took it for a
script. Where no script runs, the tables of :mod:`stages.monitor.report_tables` are seen.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.monitor import bundle, plots_library
from stages.monitor.blob import decode, encode
from stages.monitor.frames import Frame, Masks, frame_of
from stages.monitor.pooling import pooled, side_for
from stages.monitor.report_tables import tables

PAGE = Path(__file__).parent / "page"

MOST_BYTES = 8_000_000
"""So large a file at most; mail and logbooks take it."""

MOST_FRAME_PIXELS = 600_000
"""Of one frame: enough for a look, and several have room."""

_KINDS = ("run", "history", "cells", "resolution", "powder", "pixels_powder")
_STYLES = ("style.css", "plots.css")
_INSTEAD = {"connection.js": "recorded.js"}
_STYLE_OF_REPORT = """
:root[data-theme] #plain { display: none; }
:root:not([data-theme]) body { display: block; height: auto; overflow: auto; }
:root:not([data-theme]) body > :not(#plain) { display: none !important; }
#plain { padding: 1rem; }
#plain table { margin: 0 0 1.2rem; border-collapse: collapse; }
#plain caption { text-align: left; font-weight: 600; }
#plain th, #plain td { padding: 0.1rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left; }
#status-connection, #status-age { display: none; }
"""
"""The script sets `data-theme` when it begins; until then, and where none runs, the plain tables are what there is."""


def write(path: Path, blobs: Mapping[str, bytes], frames: Sequence[bytes]) -> None:
    """Write the report.

    Parameters
    ----------
    path
        Of the file; what was there is written over.
    blobs
        The last message of each kind; kinds that a page does not show are left out.
    frames
        Messages of the kind ``frame`` as the run publishes them, the oldest first. The latest are shown, of each category in
        turn, as many as there is room for.

    Raises
    ------
    plots_library.NoLibrary
        Without the library that draws the plots.
    OSError
        If the file cannot be written.
    """
    path.write_text(page_of(blobs, frames), "utf-8")


def page_of(blobs: Mapping[str, bytes], frames: Sequence[bytes]) -> str:
    """Return the report's HTML."""
    shown = {kind: blobs[kind] for kind in _KINDS if kind in blobs}
    messages = {kind: decode(blob) for kind, blob in shown.items()}
    library = plots_library.read("library/uplot.js").decode()
    program = bundle.script(PAGE, "main.js", _INSTEAD, bundle.loaded_by_name(PAGE))
    styles = [(PAGE / name).read_text("utf-8") for name in _STYLES]
    styles += [plots_library.read("library/uplot.css").decode(), _STYLE_OF_REPORT]
    style = "\n".join(styles)
    kept = [_data(kind, blob, {"run": messages[kind].get("run")}) for kind, blob in shown.items()]
    plain = f'<div id="plain">\n{tables(messages)}\n</div>\n'
    room = MOST_BYTES - len((plain + style + library + program).encode()) - sum(map(len, kept))
    kept += _frames(frames, room)
    return _put_together(style, (library, program), plain + "\n".join(kept))


def _put_together(style: str, scripts: Sequence[str], body: str) -> str:
    """The page's own index.html with all that it names put into it. Raises ValueError if it is not as it was known."""
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_digest, scripts))}",
            f"style-src {_digest(style)}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    icon = base64.b64encode((PAGE / "icon.svg").read_bytes()).decode()
    index = (PAGE / "index.html").read_text("utf-8")
    for there, instead in (
        (
            '<meta charset="utf-8">',
            f'<meta charset="utf-8">\n  <meta http-equiv="Content-Security-Policy" content="{policy}">',
        ),
        ('href="icon.svg"', f'href="data:image/svg+xml;base64,{icon}"'),
        (
            '  <link rel="stylesheet" href="style.css">\n',
            f"<!--\n{plots_library.NOTICE}\n-->\n<style>{style}</style>\n",
        ),
        ('  <link rel="stylesheet" href="plots.css">\n', ""),
        ('  <script type="module" src="main.js"></script>\n', ""),
        ("</body>", f"{body}\n{''.join(f'<script>{script}</script>' for script in scripts)}\n</body>"),
    ):
        if index.count(there) != 1:
            raise ValueError(f"index.html has {index.count(there)} times {there!r}, not once")
        index = index.replace(there, instead)
    return index


def _digest(content: str) -> str:
    """What a policy calls a script or style that is allowed."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _data(kind: str, blob: bytes | bytearray, more: Mapping[str, object]) -> str:
    """A message as an element that no browser runs."""
    attributes = "".join(f' data-{name}="{html.escape(str(value))}"' for name, value in {"kind": kind, **more}.items())
    packed = base64.b64encode(gzip.compress(bytes(blob), mtime=0)).decode()
    return f'<script type="application/octet-stream"{attributes}>{packed}</script>'


def _frames(blobs: Sequence[bytes], room: int) -> list[str]:
    """The latest frames that have room together, the oldest first."""
    masks = Masks()
    frames = [frame_of(decode(blob), order, masks, len(blob)) for order, blob in enumerate(blobs)]
    chosen: dict[int, str] = {}
    for frame in _in_turn(frames):
        message = encode(_small(frame))
        element = _data("frame", message, {"serial": frame.serial, "category": frame.category})
        if len(element) > room:
            break
        room -= len(element)
        chosen[frame.order] = element
    return [chosen[order] for order in sorted(chosen)]


def _in_turn(frames: Sequence[Frame]) -> Iterator[Frame]:
    """The latest of each category, then the one before of each, and so on."""
    of = {
        category: [frame for frame in reversed(frames) if frame.category == category]
        for category in ("indexed", "hit", "blank")
    }
    for n in range(max(map(len, of.values()))):
        yield from (frames_of[n] for frames_of in of.values() if n < len(frames_of))


def _small(frame: Frame) -> dict[str, Any]:
    """The message of a frame, its pixels made few enough."""
    side = side_for([panel.shape for panel in frame.panels], MOST_FRAME_PIXELS) if frame.panels else 1
    panels = pooled(frame.panels, frame.bad, side) if frame.panels else []
    return {**frame.head, "panels": panels, "bin": side, "is_whole": False}
