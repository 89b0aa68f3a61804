"""Keys of CURVE, ZeroMQ's security: who connects knows the public key of who serves, and talks to nobody else.

What is sent is encrypted, too: https://rfc.zeromq.org/spec/26/. A key is 40 characters (Z85), or stands in a file as
``zmq.auth.create_certificates`` writes it. Secret keys are taken from files alone, of which graphs and logs know the names:
what stands on a command line or in a graph is seen by others.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import zmq
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline import UserError

_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")

_WANTED = "wanted is a file as zmq.auth.create_certificates writes it, or one with a key of 40 characters (Z85) alone"

_LONGEST_FILE = 1 << 16


class Keys(NamedTuple):
    """What a socket needs that connects: the public key of whom it connects to, and a pair of its own."""

    server: bytes
    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Keys(server={self.server!r}, public={self.public!r})"

    def set_on(self, socket: zmq.Socket[bytes]) -> None:
        """Let a socket that is to connect use them."""
        socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = self

    def why_failed(self, address: str, is_refused: bool) -> str:
        """Say why a sender that speaks CURVE does not talk to us."""
        if is_refused:
            return (
                f"what listens on {address} refuses our key: it has to know {self.public.decode()}, or --zmq-secret-key has to "
                "be one whose public key it knows"
            )
        return (
            f"the CURVE handshake with what listens on {address} failed: --zmq-server-key is not its public key, or its socket "
            "is of another type"
        )


def _key_or_file(given: Any) -> Any:
    return Path(given) if isinstance(given, str) and not _Z85.fullmatch(given) else given


def _file_alone(given: Any) -> Any:
    """Refuse a secret key, without saying it."""
    if isinstance(given, str | Path) and _Z85.fullmatch(str(given)) and not Path(given).exists():
        raise UserError(
            "secret_key (--zmq-secret-key) names the file that holds the key; the key itself would be seen by others, in lists "
            "of processes and in graphs"
        )
    return given


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Secured:
    """The parameters of what connects to senders."""

    server_key: Annotated[str | Path | None, BeforeValidator(_key_or_file)] = Field(
        default=None,
        description="Public key of the senders, or the file of it: only they are talked to, and encrypted (CURVE).",
    )
    secret_key: Annotated[Path | None, BeforeValidator(_file_alone)] = Field(
        default=None,
        description="File of our secret key, for senders that know whom they serve; without it a pair is made for the run.",
    )

    def keys(self) -> Keys | None:
        """Read the keys; None if there is to be no security."""
        if self.server_key is None:
            if self.secret_key is not None:
                raise UserError(
                    "secret_key (--zmq-secret-key) needs the senders' public key: server_key (--zmq-server-key)"
                )
            return None
        _check_is_there()
        server = self.server_key.encode() if isinstance(self.server_key, str) else _public_in(self.server_key)
        if self.secret_key is None:
            return Keys(server, *zmq.curve_keypair())
        secret = _secret_in(self.secret_key)
        return Keys(server, zmq.curve_public(secret), secret)


def secure_server(socket: zmq.Socket[bytes], secret_key: Path) -> None:
    """Let a socket that is to be bound talk to those alone who know its public key."""
    _check_is_there()
    socket.curve_server = True
    socket.curve_secretkey = _secret_in(secret_key)


def _public_in(file: Path) -> bytes:
    key, pair = _read(file)
    return key or pair[0]


def _secret_in(file: Path) -> bytes:
    key, (_, secret) = _read(file)
    if not (key or secret):
        raise UserError(
            f"{file} holds a public key and no secret one: zmq.auth.create_certificates writes that as .key_secret"
        )
    return key or secret or b""


def _read(file: Path) -> tuple[bytes, tuple[bytes, bytes | None]]:
    """The key of a file that holds one alone, else the public key and the secret one, if there is one, of a certificate."""
    from zmq.auth import load_certificate

    try:
        with file.open("rb") as opened:
            text = opened.read(_LONGEST_FILE).decode("ascii", "replace").strip()
        return (text.encode(), (b"", None)) if _Z85.fullmatch(text) else (b"", load_certificate(file))
    except OSError as error:
        raise UserError(f"the key {file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{file} holds no key; {_WANTED}") from None


def _check_is_there() -> None:
    if not zmq.has("curve"):
        raise UserError(
            "this ZeroMQ was built without CURVE security: install pyzmq from its wheels (pip install pyzmq)"
        )
