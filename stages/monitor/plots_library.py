"""The library that draws the page's plots: uPlot, read from the installed package `youplot`, and only if it is what we know.

JavaScript of others is not copied into the project (decision 38). Two files of the package are read; nothing of it is imported,
so none of its code runs here, and a file whose bytes are not those that uPlot's author has published is not handed out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

PACKAGE = "youplot"
WANTED = "youplot 1.0.0, which has uPlot 1.6.31: pip install 'streamajig[monitor]'"


@dataclass(frozen=True)
class Asset:
    """A file of the package: where in it, its SHA-256, and what browsers are told that it is."""

    path: str
    sha256: str
    media_type: str


ASSETS = {
    "library/uplot.js": Asset(
        "youplot/vendor/uplot.iife.min.js",
        "2d27e8ad3d228164525ce213f9dc716f39b4e3aee0cc773fb3491c96cf4921a2",
        "text/javascript",
    ),
    "library/uplot.css": Asset(
        "youplot/vendor/uplot.min.css",
        "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        "text/css",
    ),
}
"""What the page asks for, by its address below that of the page."""

NOTICE = """uPlot 1.6.31, https://github.com/leeoniya/uPlot, is in this file. The MIT License (MIT)

Copyright (c) 2022 Leon Sorokin

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""
"""What the licence asks to be in a file that holds the library, as a report does."""


class NoLibrary(ImportError):
    """The library is not installed, or is another one than it should be."""


def read(address: str) -> bytes:
    """Return one of the `ASSETS`. Raises `NoLibrary` where it is not there or is not what it should be."""
    asset = ASSETS[address]
    try:
        content = Path(str(distribution(PACKAGE).locate_file(asset.path))).read_bytes()
    except PackageNotFoundError as error:
        raise NoLibrary(f"{PACKAGE} is not installed, so there are no plots; what is wanted is {WANTED}") from error
    except OSError as error:
        raise NoLibrary(f"{asset.path} cannot be read: {error}; what is wanted is {WANTED}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != asset.sha256:
        raise NoLibrary(f"{asset.path} has the SHA-256 {found}, not {asset.sha256}; what is wanted is {WANTED}")
    return content
