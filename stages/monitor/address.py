"""Where the page is: the socket that browsers connect to, and the address with the token in it.

It imports next to nothing, so that the address is there at once; browsers that connect wait until the rest is.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket

from pipeline import UserError

_BACKLOG = 64


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to this host.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; UserError if it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UserError(f"the page cannot be served at {host}, port {port}: {error.strerror or error}") from None


def address_of(listener: socket.socket, host: str, token: str) -> str:
    """Return the address of the page, as it is typed into a browser."""
    name = {"0.0.0.0": socket.getfqdn(), "::": socket.getfqdn()}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}/?token={token}"


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(24)
