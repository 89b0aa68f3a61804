"""CURVE security against real sockets: who has the right keys is heard, who has not is told why, and no secret is said."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from pipeline import Context, Graph, UserError
from stages.commands.index.graph import graph_from_options
from stages.source.zmq_pull import ZmqPull
from stages.source.zmq_req import ZmqReq
from stages.source.zmq_sub import ZmqSub
from stages.wire.curve import Keys
from stages.wire.relaying import Relay
from stages.wire.serving import FrameServer, serve_in_thread

WAIT_S = 20.0

MAKES = {
    "rep": lambda address, **keys: ZmqReq(address=address, **keys),
    "pub": lambda address, **keys: ZmqSub(address=address, subscribe=("",), **keys),
    "push": lambda address, **keys: ZmqPull(address=address, **keys),
}


@pytest.fixture
def keys(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """Make a pair of keys: the file of the public one, and that of both."""
    return lambda name: tuple(map(Path, zmq.auth.create_certificates(tmp_path, name)))


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Any]]:
    sources: list[Any] = []
    yield lambda stage: sources.append(stage.open(Context())) or sources[-1]
    for source in sources:
        source.close()


def said(source: Any, pattern: str) -> str:
    """Wait until the status says something; return it."""
    deadline = time.monotonic() + WAIT_S
    while not re.search(pattern, text := source.status()):
        assert time.monotonic() < deadline, text
        assert source.receive(0.05, 1) == []
    return text


def gather(source: Any, count: int) -> list[int]:
    found: list[int] = []
    deadline = time.monotonic() + WAIT_S
    while len(found) < count:
        assert time.monotonic() < deadline, source.status()
        found += [msgpack.unpackb(message.parts[0])["n"] for message in source.receive(0.2, count - len(found))]
    return found


BODIES = [msgpack.packb({"n": n}) for n in range(5)]


def key_in(file: Path, which: int = 0) -> str:
    return zmq.auth.load_certificate(file)[which].decode()


@pytest.mark.parametrize("kind", MAKES)
def test_frames_come_encrypted_from_who_has_the_key(opened: Callable, keys: Callable, kind: str) -> None:
    public, secret = keys("sender")
    with FrameServer(socket=kind, curve_key=secret) as server:
        source = opened(MAKES[kind](server.address, server_key=public))
        serving = serve_in_thread(server, BODIES)
        assert gather(source, 5) == [0, 1, 2, 3, 4]
        serving.join(WAIT_S)
        said(opened(MAKES[kind](server.address)), "wants CURVE security: --zmq-server-key=FILE gives its public key")


@pytest.mark.parametrize("kind", MAKES)
def test_another_key_than_the_senders_is_said_and_not_waited_with_in_silence(
    opened: Callable, keys: Callable, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    (_, secret), (other, _) = keys("sender"), keys("other")
    with FrameServer(socket=kind, curve_key=secret, linger_s=0) as server:
        source = opened(MAKES[kind](server.address, server_key=key_in(other)))
        said(source, "handshake with what listens on .* failed: --zmq-server-key is not its public key.*; trying on$")
    assert "--zmq-server-key is not its public key" in caplog.text


def test_a_sender_without_security_is_said_to_be_one(opened: Callable, keys: Callable) -> None:
    with FrameServer(socket="push") as server:
        source = opened(ZmqPull(address=server.address, server_key=keys("sender")[0]))
        said(source, "has no security .* --zmq-server-key asks for CURVE: if it is the right sender, leave that out")


@pytest.mark.parametrize("kind", ["rep", "push"])
def test_a_sender_that_chooses_whom_it_serves_takes_our_key_or_names_it(
    opened: Callable, keys: Callable, tmp_path: Path, kind: str
) -> None:
    (public, secret), (ours, our_secret) = keys("sender"), keys("ours")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    with zmq.Context() as context, context.socket(zmq.ROUTER if kind == "rep" else zmq.PUSH) as sender:
        authenticator = ThreadAuthenticator(context)
        authenticator.start()
        authenticator.configure_curve(domain="*", location=allowed)
        try:
            sender.linger = 0
            sender.curve_server, sender.curve_secretkey = True, zmq.auth.load_certificate(secret)[1]
            address = f"tcp://127.0.0.1:{sender.bind_to_random_port('tcp://127.0.0.1')}"
            source = opened(MAKES[kind](address, server_key=public, secret_key=our_secret))
            text = said(source, "refuses our key: it has to know")
            assert key_in(ours) in text
            assert key_in(our_secret, 1) not in text
            (allowed / "ours.key").write_text(ours.read_text())
            authenticator.configure_curve(domain="*", location=allowed)
            said(source, "^connected to")
        finally:
            authenticator.stop()


def test_a_relay_has_a_key_on_either_side(keys: Callable, opened: Callable) -> None:
    (public, secret), (relays, relays_secret) = keys("sender"), keys("relay")
    with FrameServer(socket="pub", topic=b"tag", curve_key=secret) as server:
        wanted = Relay(
            address=server.address,
            subscribe=("tag",),
            bind="tcp://127.0.0.1:*",
            server_key=public,
            curve_key=relays_secret,
            max_frames=5,
        )
        with wanted.open() as relay:
            source = opened(ZmqReq(address=relay.address, server_key=relays))
            serving = serve_in_thread(server, BODIES)
            source.receive(0.1, 5)
            while not source.receive(0.0, 5) and not source._outstanding:
                time.sleep(0.01)
            assert relay.run().law() == "received 5 = sent 5 + dropped 0"
            assert gather(source, 5) == [0, 1, 2, 3, 4]
        serving.join(WAIT_S)


def test_without_a_key_of_our_own_each_run_has_a_pair_made_for_it(keys: Callable) -> None:
    server = ZmqPull(address="tcp://h:1", server_key=keys("sender")[0])
    assert server.keys() != server.keys()
    public, secret = keys("ours")
    ours = ZmqPull(address="tcp://h:1", server_key=key_in(public), secret_key=secret).keys()
    assert ours == Keys(*(key.encode() for key in (key_in(public), key_in(public), key_in(secret, 1))))
    assert key_in(secret, 1) not in repr(ours)
    assert ZmqPull(address="tcp://h:1").keys() is None


def test_a_file_may_hold_a_key_alone(keys: Callable, tmp_path: Path) -> None:
    public, secret = keys("sender")
    for name, key in [("public", key_in(public)), ("secret", key_in(secret, 1))]:
        (tmp_path / name).write_text(key + "\n")
    found = ZmqPull(address="tcp://h:1", server_key=tmp_path / "public", secret_key=tmp_path / "secret").keys()
    assert found == ZmqPull(address="tcp://h:1", server_key=public, secret_key=secret).keys()


def test_a_secret_key_in_place_of_its_file_is_refused_and_not_repeated(keys: Callable) -> None:
    public, secret = keys("sender")
    text = key_in(secret, 1)
    options = {"zmq_input": "tcp://h:1", "zmq_pull": True, "geometry": "a.geom", "output": "a.stream"}
    for make in (
        lambda: ZmqPull(address="tcp://h:1", server_key=public, secret_key=text),
        lambda: ZmqPull(address="tcp://h:1", server_key=public, secret_key=Path(text)),
        lambda: graph_from_options({**options, "zmq_server_key": str(public), "zmq_secret_key": text}),
    ):
        with pytest.raises(UserError, match="names the file that holds the key") as caught:
            make()
        assert text not in str(caught.value)


def test_a_graph_keeps_the_names_of_the_files_and_no_secret(keys: Callable) -> None:
    public, secret = keys("sender")
    source = ZmqPull(address="tcp://h:1", server_key=public, secret_key=secret)
    written = Graph.chain(source).to_yaml()
    assert str(secret) in written
    assert key_in(secret, 1) not in written
    assert Graph.from_yaml(written).source.stage == source
    text = Graph.chain(ZmqPull(address="tcp://h:1", server_key=key_in(public))).to_yaml()
    assert Graph.from_yaml(text).source.stage.server_key == key_in(public), "a key that is public may be said"


@pytest.mark.parametrize(
    ("which", "content", "wanted"),
    [
        ("server_key", None, "cannot be read: No such file"),
        ("server_key", "nothing of the kind", "holds no key; wanted is a file as zmq.auth.create_certificates"),
        ("secret_key", "public", "holds a public key and no secret one"),
    ],
)
def test_what_is_no_key_is_refused_with_what_is_wanted(
    keys: Callable, tmp_path: Path, which: str, content: str | None, wanted: str
) -> None:
    public, _ = keys("sender")
    file = tmp_path / "some.key"
    if content is not None:
        file.write_text(public.read_text() if content == "public" else content)
    with pytest.raises(UserError, match=wanted):
        ZmqPull(address="tcp://h:1", **{"server_key": public, which: file}).open(Context())
    with pytest.raises(UserError, match="needs the senders' public key"):
        ZmqPull(address="tcp://h:1", secret_key=public).open(Context())
