"""Plots of matplotlib as SVG inside a page: in the page's own colours, light or dark, and in its letters.

A plot is drawn in colours that stand for something (`INK`, `GOOD`, ``series(0)``); in the SVG each becomes a variable of the
page's style sheet (``var(--ink)``), so that one drawing serves both. Text stays text. Nothing in it refers to anything outside,
and no two drawings of a page share an id.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple
from xml.etree import ElementTree

from pipeline import UserError
from pipeline.texts import one_line

INK, QUIET, LINE, PAPER, GOOD, BAD = (f"#0001{n:02x}" for n in range(6))

NUM_SERIES = 8
"""Colours that are told apart; further variants have the same ones with other strokes."""

_SERIES = tuple(f"#0002{n:02x}" for n in range(NUM_SERIES))
_VARIABLES = {
    **dict(zip((INK, QUIET, LINE, PAPER, GOOD, BAD), ("ink", "quiet", "line", "paper", "good", "bad"), strict=True)),
    **{colour: f"s{n}" for n, colour in enumerate(_SERIES)},
}
_STROKES = ("-", (0, (4, 2)), (0, (1, 1.5)))

_COLOUR = re.compile("|".join(_VARIABLES))
_FONT_SIZE = 11
_LETTER = 0.58
_PER_INCH = 72.0
_BELOW, _ABOVE = 38.0, 8.0
"""Pixels for the numbers of the axis and what it is, and for half a number above."""
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def series(n: int) -> str:
    """The colour of the variant of this number."""
    return _SERIES[n % NUM_SERIES]


def stroke(n: int) -> Any:
    """The line style of the variant of this number, for matplotlib."""
    return _STROKES[n // NUM_SERIES % len(_STROKES)]


def check_libraries(what: object) -> None:
    """Say now, rather than at the end of a run, that there can be no plots."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UserError(f"{what} has plots, which need matplotlib: pip install 'streamajig[pictures]'") from error


class Box(NamedTuple):
    """A plot's size, and what its axes leave free on the left and on the right for text, in the page's pixels."""

    width: float
    height: float
    left: float
    right: float


def width_of(text: str) -> float:
    """About how wide a text is in a plot, in pixels; letters are half as wide as high, and a little more."""
    return _LETTER * _FONT_SIZE * len(text)


def drawn(draw: Callable[[Any], object], name: str, title: str, box: Box) -> str:
    """Draw one plot and return it as an SVG element.

    Parameters
    ----------
    draw
        Gets the axes of matplotlib.
    name
        Of this plot among those of the page.
    title
        For people who have the page read to them.
    box
        How large it is, where there is room for it.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {  # keys are a type of their own in matplotlib
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,  # names may have dollars
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "text.color": INK,
        "axes.edgecolor": LINE,
        "axes.labelcolor": QUIET,
        "xtick.color": LINE,
        "ytick.color": LINE,
        "xtick.labelcolor": QUIET,
        "ytick.labelcolor": QUIET,
        "font.size": _FONT_SIZE,
        "axes.labelsize": _FONT_SIZE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": LINE,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
    }
    file = io.BytesIO()
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that matplotlib's font lacks: the page is shown in the reader's
        figure = Figure(figsize=(box.width / _PER_INCH, box.height / _PER_INCH))
        canvas: Any = FigureCanvasSVG(figure)
        across = (box.left / box.width, 1 - (box.left + box.right) / box.width)
        up = (_BELOW / box.height, 1 - (_BELOW + _ABOVE) / box.height)
        draw(figure.add_axes((across[0], up[0], across[1], up[1])))
        canvas.print_svg(file, metadata={"Date": None})
    return _inline(ElementTree.fromstring(file.getvalue()), name, title)


def _inline(root: ElementTree.Element, name: str, title: str) -> str:
    """The element without what only a file of its own needs: namespaces, metadata, sizes, fonts."""
    used = {found for element in root.iter() for found in _referred(element)}
    for parent in root.iter():
        for child in [child for child in parent if child.tag.endswith(("}metadata", "}style"))]:
            parent.remove(child)
        parent.text, parent.tail = (None if text and text.isspace() else text for text in (parent.text, parent.tail))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key: value for key, value in (_attribute(name, *item, used) for item in element.attrib.items()) if value
        }
    box = root.attrib["viewBox"]
    root.attrib = {"viewBox": box, "role": "img", "style": f"max-width: {float(box.split()[2]):.0f}px"}
    said = ElementTree.Element("title")
    said.text = one_line(title)
    root.insert(0, said)
    return ElementTree.tostring(root, encoding="unicode")


def _referred(element: ElementTree.Element) -> list[str]:
    found = [value.removeprefix("#") for key, value in element.attrib.items() if key.endswith("href")]
    return found + [id_ for value in element.attrib.values() for id_ in _REFERENCE.findall(value)]


def _attribute(name: str, key: str, value: str, used: set[str]) -> tuple[str, str]:
    key = key.rpartition("}")[2]
    if key == "id":
        return key, f"{name}-{value}" if value in used else ""
    if key == "href":
        return key, f"#{name}-{value.removeprefix('#')}"
    value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
    value = re.sub(r"'[^']*'(, *(?:'[^']*'|[\w-]+))*(?=;|$)", "inherit", value) if "font" in value else value
    return key, _COLOUR.sub(lambda found: f"var(--{_VARIABLES[found[0]]})", value)
