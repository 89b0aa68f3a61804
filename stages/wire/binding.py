"""Where a socket serves: endpoints are checked before ZeroMQ is asked, which says little of what is wrong.

A file that stands where an ``ipc://`` socket is to be is deleted by libzmq, and a server that listens there is cut off without
a word; both are refused here.
"""

from __future__ import annotations

import os
import re
import socket as plain_socket
import stat

import zmq

from pipeline import UserError

_WANTED = "wanted is tcp://ADDRESS:PORT, such as tcp://127.0.0.1:5002 or tcp://*:5002 (all interfaces), or ipc://PATH"
_FREE = "give a free endpoint, or tcp://127.0.0.1:*, which takes a free port"
_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:.%\w]+\]|[^\s/:\[\]]+):(\d+|\*)")
_IPC = "ipc://"


def bind(socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Let a socket serve at an endpoint, and return the one at which it does: with a port in place of ``*``.

    What waits for a peer that has gone is let go of. How long the others may take for what waits for them is said when the
    socket is closed, by ``socket.close(linger)``.
    """
    _check(endpoint)
    # Connections keep the value of now. One that breaks while the socket is closed would otherwise wait for ever for a peer
    # that has gone, and the end of the context with it.
    socket.setsockopt(zmq.LINGER, 0)
    if "[" in endpoint:
        socket.setsockopt(zmq.IPV6, 1)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        why = str(error.strerror).partition(" (")[0]  # pyzmq puts the address behind it
        raise UserError(f"cannot serve at {endpoint}: {why}; {_FREE}") from None
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def is_where(served: str, address: str) -> bool:
    """Whether connecting to `address` leads to what serves at `served` on this machine (its port need not be free for this).

    >>> is_where("tcp://*:5002", "tcp://localhost:5002"), is_where("tcp://*:5002", "tcp://127.0.0.1:5003")
    (True, False)
    """
    if served.startswith(_IPC) or address.startswith(_IPC):
        paths = [one.removeprefix(_IPC) for one in (served, address) if one.startswith(_IPC)]
        return len(paths) == 2 and os.path.realpath(paths[0]) == os.path.realpath(paths[1])
    here, there = _TCP.fullmatch(served), _TCP.fullmatch(f"tcp://{address.removeprefix('tcp://').rpartition(';')[2]}")
    if here is None or there is None or here[2] != there[2]:
        return False
    everywhere = here[1] in ("*", "0.0.0.0", "[::]")
    wanted = None if everywhere else _numbers(here[1])
    return any(_is_ours(one) if wanted is None else one in wanted for one in _numbers(there[1]))


def _check(endpoint: str) -> None:
    """Refuse what is no endpoint, and a path at which something is."""
    match = _TCP.fullmatch(endpoint)
    if match is not None:
        if match[2] != "*" and not 0 <= int(match[2]) <= 65535:
            raise UserError(f"cannot serve at {endpoint}: a port is a number from 1 to 65535, or *; {_WANTED}")
        return
    path = endpoint.removeprefix(_IPC)
    if path in (endpoint, ""):
        raise UserError(f"cannot serve at {endpoint!r}: {_WANTED}")
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # nothing is there, or ZeroMQ says why nothing can be
    if not stat.S_ISSOCK(mode):
        raise UserError(f"cannot serve at {endpoint}: a file that is no socket stands there, and would be deleted")
    with plain_socket.socket(plain_socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return  # left behind by a server that has gone
    raise UserError(f"cannot serve at {endpoint}: somebody serves there; {_FREE}")


def _numbers(host: str) -> set[str]:
    """The addresses that a host's name stands for; empty if it cannot be found."""
    try:
        return {str(found[4][0]) for found in plain_socket.getaddrinfo(host.strip("[]"), None)}
    except OSError:
        return set()


def _is_ours(number: str) -> bool:
    """Whether an address is one of this machine's."""
    family = plain_socket.AF_INET6 if ":" in number else plain_socket.AF_INET
    with plain_socket.socket(family, plain_socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((number, 0))
        except OSError:
            return False
    return True
