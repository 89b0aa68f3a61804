"""The files of the page: a table that is made once. What a request asks for is looked up in it, and is no path anywhere."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from stages.monitor import plots_library

log = logging.getLogger("streamajig.monitor")

PAGE = Path(__file__).parent / "page"
INDEX = "index.html"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
"""By the end of a file's name; files that end otherwise are not served."""

_ICON = "icon.svg"


class Files:
    """What is served, by path of the request."""

    def __init__(self, page: Path = PAGE) -> None:
        self._files = dict(_found(page))
        self._tags: dict[Path, tuple[int, int, str]] = {}
        self._library = dict(_library())

    @property
    def paths(self) -> list[str]:
        """All paths that can be asked for."""
        return sorted([*self._files, *self._library])

    def answer(self, request: Request) -> Response:
        """Answer a request; browsers keep files, and ask each time whether they are as they were."""
        path = request.url.path
        if path in self._library:
            tag, content, media_type = self._library[path]
        elif path in self._files:
            file = self._files[path]
            tag, content, media_type = self._tag(file), b"", _TYPES[file.suffix]
        else:
            return Response("there is nothing here\n", 404, media_type="text/plain")
        headers = {"etag": tag, "cache-control": "private, no-cache", "content-type": media_type}
        if tag in (part.strip() for part in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        return Response(content or self._files[path].read_bytes(), headers=headers)

    def _tag(self, file: Path) -> str:
        """What changes when a file does."""
        about = file.stat()
        known = self._tags.get(file)
        if known is None or known[:2] != (about.st_mtime_ns, about.st_size):
            known = self._tags[file] = (about.st_mtime_ns, about.st_size, _tag_of(file.read_bytes()))
        return known[2]


def _tag_of(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _found(page: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(page.rglob("*")):
        if file.is_file() and file.suffix in _TYPES:
            yield f"/{file.relative_to(page).as_posix()}", file
    if (page / INDEX).is_file():
        yield "/", page / INDEX
    if (page / _ICON).is_file():
        yield "/favicon.ico", page / _ICON


def _library() -> Iterator[tuple[str, tuple[str, bytes, str]]]:
    """The files of the library that draws plots; where it is not there, the page has all but those."""
    for address, asset in plots_library.ASSETS.items():
        try:
            content = plots_library.read(address)
        except plots_library.NoLibrary as error:
            log.warning("%s", error)
            return
        yield f"/{address}", (_tag_of(content), content, f"{asset.media_type}; charset=utf-8")
