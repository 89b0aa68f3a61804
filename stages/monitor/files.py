"""The files of the page: a table that is made once. What a request asks for is looked up in it, and is no path anywhere."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

PAGE = Path(__file__).parent / "page"
INDEX = "index.html"

LIBRARIES = {"plotly.min.js": ("plotly", "package_data/plotly.min.js")}
"""Files of installed packages that are served below ``/library/``: the package, and the file's place in it."""

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

    @property
    def paths(self) -> list[str]:
        """All paths that can be asked for."""
        return sorted(self._files)

    def answer(self, request: Request) -> Response:
        """Answer a request; browsers keep files, and ask each time whether they are as they were."""
        file = self._files.get(request.url.path)
        if file is None:
            return Response("there is nothing here\n", 404, media_type="text/plain")
        tag = self._tag(file)
        headers = {"etag": tag, "cache-control": "private, no-cache"}
        if tag in (part.strip() for part in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        return Response(file.read_bytes(), headers={**headers, "content-type": _TYPES[file.suffix]})

    def _tag(self, file: Path) -> str:
        """What changes when a file does."""
        about = file.stat()
        known = self._tags.get(file)
        if known is None or known[:2] != (about.st_mtime_ns, about.st_size):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()[:32]
            known = self._tags[file] = (about.st_mtime_ns, about.st_size, f'"{digest}"')
        return known[2]


def _found(page: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(page.rglob("*")):
        if file.is_file() and file.suffix in _TYPES:
            yield f"/{file.relative_to(page).as_posix()}", file
    if (page / INDEX).is_file():
        yield "/", page / INDEX
    if (page / _ICON).is_file():
        yield "/favicon.ico", page / _ICON
    for name, (package, inside) in LIBRARIES.items():
        found = importlib.util.find_spec(package)
        for place in () if found is None else found.submodule_search_locations or ():
            if (Path(place) / inside).is_file():
                yield f"/library/{name}", Path(place) / inside
