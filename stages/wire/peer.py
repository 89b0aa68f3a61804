"""What listens on an address, asked once with the first words of ZMTP over a plain connection.

libzmq says of a handshake that failed that it failed, and of some not even that. Whoever speaks ZMTP 3 names its mechanism of
security in its greeting, and its type of socket in the command READY that it sends right after it, without waiting for ours:
https://rfc.zeromq.org/spec/23/. Version 2 names the type in the greeting itself: https://rfc.zeromq.org/spec/15/.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.texts import one_line

ASK_S = 0.3
"""An answer to the greeting, a few hundred bytes, may take so long; asking holds up nothing, since there is no connection."""

_GREETING = b"\xff" + bytes(7) + b"\x01\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\x00") + b"\x00" + bytes(31)
_SIGNATURE_BYTES = 10
_END_OF_MECHANISM = 32
_GREETING_BYTES = 64
_MOST_BYTES = 1024
_TYPES_OF_VERSION_2 = ("PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH")

PUBLISHING = frozenset({"PUB", "XPUB"})
ANSWERING = frozenset({"REP", "ROUTER", "DEALER"})
PUSHING = frozenset({"PUSH"})

_WAYS = {
    PUBLISHING: ("--zmq-subscribe", "which publishes", "--zmq-subscribe=TAG"),
    ANSWERING: ("--zmq-request", "which answers requests", "--zmq-request=next"),
    PUSHING: ("--zmq-pull", "which pushes to whoever pulls", "--zmq-pull"),
}
"""The option by which frames are taken from sockets of each of these types, what these do, and how the option is typed."""


@dataclass(frozen=True)
class Peer:
    """Who listens.

    Attributes
    ----------
    socket_type
        ``PUB``, ``REP`` and so on; "" where it does not say.
    mechanism
        Of security: ``NULL``, ``CURVE`` ...; "" if it does not speak ZeroMQ.
    said
        The first bytes that came, b"" if none did.
    """

    socket_type: str = ""
    mechanism: str = ""
    said: bytes = b""

    def text(self, address: str, takes: frozenset[str]) -> str:
        """Say who listens and which option to use, "" if it is one that we can `take` frames from."""
        if not self.mechanism:
            return f"{self._stranger()} on {address} does not speak ZeroMQ"
        if self.mechanism != "NULL":
            return (
                f"what listens on {address} wants {self.mechanism} security, which streamajig does not speak: "
                "frames come from a socket without (mechanism NULL)"
            )
        kind = self.socket_type
        if not kind or kind in takes:
            return ""
        ours = next(option for types, (option, _, _) in _WAYS.items() if types == takes)
        for types, (_, does, wanted) in _WAYS.items():
            if kind in types:
                return f"a {kind} socket listens on {address}, {does}: {wanted}, in place of {ours}, takes from it"
        return (
            f"a {kind} socket listens on {address}, from which no frames are taken: they come from a PUB socket "
            "(--zmq-subscribe=TAG), a REP socket (--zmq-request=next) or a PUSH socket (--zmq-pull)"
        )

    def _stranger(self) -> str:
        if re.match(rb"HTTP/|<!doctype html|<html", self.said, re.IGNORECASE):
            return "the HTTP server"
        if self.said.startswith(b"SSH-"):
            return "the SSH server"
        said = repr(self.said[:24])[1:]
        return f"what listens (it says {said})" if self.said else "what listens (it says nothing)"


def ask(address: str, timeout_s: float = ASK_S) -> Peer | None:
    """Ask who listens on an endpoint; None if nobody does."""
    try:
        with _connected(address, timeout_s) as plain:
            # libzmq gives its own mechanism when it knows the version, and hangs up when it knows ours and has another
            plain.sendall(_GREETING[: _SIGNATURE_BYTES + 1])
            said = _read(plain, b"", timeout_s, lambda said: understood(said).mechanism)
            if understood(said).mechanism == "NULL":
                plain.sendall(_GREETING[_SIGNATURE_BYTES + 1 :])
                said = _read(plain, said, timeout_s, lambda said: understood(said).socket_type)
            elif not said:  # some, as HTTP servers, answer when a line has ended
                plain.sendall(b"\r\n\r\n")
                said = _read(plain, b"", timeout_s, lambda said: said[:4])
            return understood(said)
    except OSError:  # nobody listens, or there is no such host, or no way to it
        return None


def understood(said: bytes) -> Peer:
    """Read a peer's greeting and what follows it."""
    if len(said) <= _SIGNATURE_BYTES or said[0] != 0xFF or not said[9] & 1:
        return Peer(said=said)
    version = said[_SIGNATURE_BYTES]
    if version < 3:
        number = said[11] if len(said) > 11 else len(_TYPES_OF_VERSION_2)
        return Peer(_TYPES_OF_VERSION_2[number] if number < len(_TYPES_OF_VERSION_2) else "", "NULL", said)
    if len(said) < _END_OF_MECHANISM:
        return Peer(said=said)
    mechanism = _word(said[12:_END_OF_MECHANISM].rstrip(b"\x00"))
    found = re.search(rb"\x0bSocket-Type\x00\x00\x00([\x01-\x10])", said[_GREETING_BYTES:])
    kind = said[_GREETING_BYTES + found.end() :][: found[1][0]] if found else b""
    return Peer(_word(kind), mechanism or "unknown", said)


def _word(said: bytes) -> str:
    return one_line(said.decode("ascii", "backslashreplace"), 40)


def _connected(address: str, timeout_s: float) -> socket.socket:
    if address.startswith("ipc://"):
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(timeout_s)
        plain.connect(address.removeprefix("ipc://"))
        return plain
    host, port = address.removeprefix("tcp://").rpartition(";")[2].rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), timeout_s)


def _read(plain: socket.socket, said: bytes, timeout_s: float, is_enough: Callable[[bytes], object]) -> bytes:
    """Read on from what has been said until that is enough, or the peer hangs up or says no more."""
    deadline = time.monotonic() + timeout_s
    while not is_enough(said) and len(said) < _MOST_BYTES and (left_s := deadline - time.monotonic()) > 0:
        plain.settimeout(left_s)
        try:
            piece = plain.recv(_MOST_BYTES)
        except OSError:
            break
        if not piece:
            break
        said += piece
    return said
