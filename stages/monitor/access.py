"""Who may see the page: whoever has its address, with the token in it, and no other page of theirs.

A random token stands in the address that is printed; a cookie keeps it from then on. It keeps out other users of the machine,
and others where the page is served to other machines. Pages of other sites, which a browser may have open beside ours, can
make it send requests with our cookie, or under a name of theirs that leads here (DNS rebinding):

- the cookie is `SameSite=Strict`, and a request whose `Origin` is not our own is refused;
- a request must name this machine in `Host`: "localhost" or its address, which no foreign page's is.

Answers say to the browser what the page may do: nothing from elsewhere, no code in the page itself, nobody's frame.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stages.monitor.address import is_loopback

HEALTH = "/healthz"
"""Tells nothing but that somebody answers; needs no token."""

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Names:
    """The names that a request may have for this machine.

    Parameters
    ----------
    host
        At which the page is served. Where others can reach it, addresses in numbers are allowed, too, and this machine's names.
    """

    def __init__(self, host: str) -> None:
        self._is_open = not is_loopback(host)
        self._names = {"localhost", host.lower()}
        if self._is_open:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def has(self, host: str) -> bool:
        """Whether a header `Host` names this machine.

        >>> names = Names("127.0.0.1")
        >>> names.has("127.0.0.1:8000"), names.has("localhost"), names.has("[::1]:80"), names.has("evil.example:8000")
        (True, True, True, False)
        """
        if not re.fullmatch(r"[\w.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?", host, re.ASCII):
            return False
        name = urlsplit(f"//{host}").hostname or ""
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return self._is_open or address.is_loopback


class Access:
    """Lets pass what may see the page, and refuses everything else; for HTTP and WebSockets.

    Parameters
    ----------
    app
        What is served.
    token
        Whoever knows it is let in.
    names
        What this machine may be called.
    """

    def __init__(self, app: ASGIApp, token: str, names: Names) -> None:
        self._app, self._token, self._names = app, token, names
        # cookies are not of a port: two pages on one machine must not take each other's away
        self._cookie = f"streamajig-{hashlib.sha256(token.encode()).hexdigest()[:12]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        assert scope["type"] in ("http", "websocket"), "nothing is said of the server's own life"
        headers = Headers(scope=scope)
        why_not = self._why_not(scope, headers)
        if why_not is not None:
            status, text = why_not
            refused = PlainTextResponse(text + "\n", status, dict(_HEADERS))
            await refused(scope, receive, send)
            return
        cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
        is_new = scope["type"] == "http" and not self._has_cookie(headers) and scope["path"] != HEALTH
        policy = _CSP.format(host=headers["host"])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.update(_HEADERS)
                answer["content-security-policy"] = policy
                answer.setdefault("cache-control", "no-store")
                if is_new:
                    answer.append("set-cookie", cookie)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _why_not(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Status and text of a refusal; None if there is nothing against it."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._names.has(hosts[0]):
            return 421, "this is not the machine that the request is for"
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            return 405, "there is nothing here that could be changed"
        if any(not _is_origin_of(origin, hosts[0]) for origin in headers.getlist("origin")):
            return 403, "requests of other pages are refused"
        if scope["type"] == "http" and scope["path"] == HEALTH:
            return None
        if not any(secrets.compare_digest(one.encode(), self._token.encode()) for one in self._tokens(scope, headers)):
            return 403, "the address lacks the token, or has an old one: take it from where the page was started"
        return None

    def _tokens(self, scope: Scope, headers: Headers) -> Iterable[str]:
        query = scope["query_string"].decode("latin-1")
        try:
            yield from parse_qs(query, max_num_fields=20).get("token", ())
        except ValueError:
            return
        for header in headers.getlist("authorization"):
            scheme, _, given = header.partition(" ")
            if scheme.lower() == "bearer":
                yield given
        yield from self._cookies(headers)

    def _has_cookie(self, headers: Headers) -> bool:
        return self._token in self._cookies(headers)

    def _cookies(self, headers: Headers) -> list[str]:
        found = []
        for header in headers.getlist("cookie"):
            for part in header.split(";"):
                name, _, value = part.strip().partition("=")
                if name == self._cookie:
                    found.append(value)
        return found


def _is_origin_of(origin: str, host: str) -> bool:
    """Whether an origin is the page that is served at this host.

    >>> _is_origin_of("http://localhost:8000", "localhost:8000"), _is_origin_of("https://evil.example", "localhost:8000")
    (True, False)
    >>> _is_origin_of("null", "localhost:8000"), _is_origin_of("http://localhost:9000", "localhost:8000")
    (False, False)
    """
    scheme, separator, at = origin.partition("://")
    return bool(separator) and scheme in ("http", "https") and at.lower() == host.lower()
