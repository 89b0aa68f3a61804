"""Text that stays on its line, and tables of numbers whose every row is one line.

CrystFEL reads a stream in lines of at most 1022 bytes into single-precision numbers, and other readers search it for the
words that begin and end a block. What senders put into names must therefore neither break a line nor look like such words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.texts import escaped
from stages.compute.plain_arrays import plain
from stages.records.geometry import Panel
from stages.sink._kernels import text as kernel

LONGEST_TEXT = 900
"""Bytes that one text from outside may take; the line stays well under CrystFEL's 1022."""

_LARGEST = float(np.finfo(np.float32).max)
_READERS_WORDS = re.compile(
    r"(?<=---) (?=Begin|End)"
    r"| (?==)(?<=photon_energy_eV )| (?==)(?<=[abc]star )|(?<=Cell parameters) "
    r"|(?<=Peaks from) (?=peak search)|(?<=End of) (?=peak list|reflections)|(?<=Reflections measured) (?=after)"
)


def one_line(text: str, limit: int = LONGEST_TEXT) -> str:
    r"""Make a text fit for one line of a stream: control characters escaped, cut to `limit` bytes.

    A text that is cut ends in a checksum of the whole, so that two long names that differ stay two names. A space within
    words that readers take for the begin or end of a block becomes an underscore.

    >>> one_line("run 3\n----- End chunk -----")
    'run 3\\x0a-----_End chunk -----'
    """
    if len(text) > 4 * limit:  # what is much too long is not looked through
        text = text[:limit] + _checksum(text)
    text = _READERS_WORDS.sub("_", escaped(text))
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    mark = _checksum(text)
    return encoded[: limit - len(mark)].decode(errors="ignore") + mark


def _checksum(text: str) -> str:
    return "..." + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


class PanelNames:
    """The panels' names, as the kernels take them, and the corner of each panel in the data array."""

    def __init__(self, panels: tuple[Panel, ...]) -> None:
        self.panels = panels
        self.names = [one_line(panel.name, 200) for panel in panels]
        encoded = [name.encode() for name in self.names]
        self.bytes = np.frombuffer(b"".join(encoded) or b" ", np.uint8)
        self.ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self.longest = max(map(len, encoded), default=0)
        self.min_fs = np.array([panel.min_fs for panel in panels], np.float64)
        self.min_ss = np.array([panel.min_ss for panel in panels], np.float64)

    def check(self, panel: NDArray[np.int32]) -> None:
        """Refuse panel numbers that the geometry does not have."""
        if not kernel.are_below(plain(panel), len(self.panels)):
            raise ValueError(
                f"panel numbers {panel.min()} to {panel.max()}, and the geometry has {len(self.panels)} panels"
            )

    def buffer(self, lines: int) -> NDArray[np.uint8]:
        """Return room for that many lines."""
        return np.empty(lines * (kernel.LONGEST_LINE + self.longest), np.uint8)


def peak_lines(
    fs: NDArray[np.float64],
    ss: NDArray[np.float64],
    inverse_d_per_nm: NDArray[np.float64],
    intensity: NDArray[np.float64],
    panel: NDArray[np.int32],
    names: PanelNames,
) -> bytes:
    """Format the rows of a peak list, coordinates in the data array."""
    names.check(panel)
    if _is_ordinary(fs, ss, inverse_d_per_nm, intensity):
        out = names.buffer(len(fs))
        size = kernel.peak_lines(fs, ss, inverse_d_per_nm, intensity, panel, names.bytes, names.ends, out)
        return out[:size].tobytes()
    columns = map(_readable, (fs, ss, inverse_d_per_nm, intensity))
    return _formatted("{:7.2f} {:7.2f} {:10.2f}  {:10.2f}   {}\n", columns, panel, names)


def reflection_lines(
    hkl: NDArray[np.int32],
    values: NDArray[np.float64],
    fs: NDArray[np.float64],
    ss: NDArray[np.float64],
    panel: NDArray[np.int32],
    names: PanelNames,
) -> bytes:
    """Format the rows of a reflection list; `values` is (4, n): intensity, sigma, peak, background."""
    names.check(panel)
    if _is_ordinary(values, fs, ss):
        out = names.buffer(len(fs))
        size = kernel.reflection_lines(hkl, values, fs, ss, panel, names.bytes, names.ends, out)
        return out[:size].tobytes()
    columns = (*hkl.T.tolist(), *map(_readable, (*values, fs, ss)))
    form = "{:4d} {:4d} {:4d} {:10.2f} {:10.2f} {:10.2f} {:10.2f} {:6.1f} {:6.1f} {}\n"
    return _formatted(form, columns, panel, names)


def _formatted(form: str, columns: Iterable[list[Any]], panel: NDArray[np.int32], names: PanelNames) -> bytes:
    """Write rows of any numbers, each with its panel's name behind them, as the kernels write ordinary ones."""
    named = (names.names[n] for n in panel.tolist())
    return "".join(form.format(*row) for row in zip(*columns, named, strict=True)).encode()


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    names = PanelNames((Panel("p"),))
    one = np.zeros(1)
    panel = np.zeros(1, np.int32)
    peak_lines(one, one, one, one, panel, names)
    reflection_lines(np.zeros((1, 3), np.int32), np.zeros((4, 1)), one, one, panel, names)


def _is_ordinary(*arrays: NDArray[np.float64]) -> bool:
    """Whether all numbers are of the size for which the kernels are made; NaN and infinities are not."""
    return all(kernel.are_ordinary(plain(array).reshape(-1)) for array in arrays)


def _readable(values: NDArray[np.float64]) -> list[float]:
    """Numbers that a reader of single precision can hold, which also bounds the length of the line."""
    numbers: list[float] = np.clip(values, -_LARGEST, _LARGEST).tolist()
    return numbers
