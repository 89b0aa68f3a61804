"""``streamajig monitor``: the page of a run elsewhere, by hand."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from page_served import PATIENCE_S, Browser, Publisher, about_run
from websockets.sync.client import connect

from pipeline.command_line import cli
from stages.monitor.access import Names
from stages.monitor.address import address_of, listening

PROGRAM = [sys.executable, "-m", "streamajig", "monitor"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@contextmanager
def monitor(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process, and the address that it prints."""
    with subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["here"], "'here' is no address; wanted is tcp://HOST:PORT"),
        (["tcp://127.0.0.1:1", "--port=99999"], "less than or equal to 65535 (found '99999'"),
        (["tcp://127.0.0.1:1", "--host=no.such.host.invalid"], "the page cannot be served at no.such.host.invalid"),
        (["tcp://127.0.0.1:1", "--max-memory=much"], "--max-memory=much: wanted is a number of bytes"),
    ],
)
def test_what_is_wrong_is_said_with_status_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["monitor", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.run(["monitor", "tcp://127.0.0.1:1", f"--port={port}"]) == 2
    assert f"port {port}: Address already in use" in capsys.readouterr().err


def test_it_shows_runs_until_it_is_stopped() -> None:
    with Publisher() as publisher, monitor(publisher.address) as (process, url):
        publisher.wait_for_subscriptions()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", url)
        address = url.replace("http", "ws").replace("/?", "/ws?")
        with connect(address, max_size=None, open_timeout=PATIENCE_S, close_timeout=1) as socket_:
            browser = Browser(socket_)
            for run in ("run1", "run2"):
                publisher.send(about_run(run, ended="the stream ended"))
                assert browser.next("run", lambda shown, run=run: shown["run"] == run)
            process.send_signal(signal.SIGINT)
            assert browser.close_code() in (1001, 1012)
        assert process.wait(PATIENCE_S) == 0


def test_other_machines_see_it_only_where_that_is_asked_for_and_then_it_warns() -> None:
    with monitor("tcp://127.0.0.1:1", "--host=0.0.0.0") as (process, url):
        assert f"http://{socket.getfqdn()}:" in url
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert "to other machines, unencrypted" in process.stderr.read()
    with monitor("tcp://127.0.0.1:1") as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        said = process.stderr.read()
        assert "warning" not in said
        assert said.endswith("SIGTERM: the page ends\n")


def test_an_address_of_the_newer_kind_stands_in_brackets() -> None:
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener, "::1", "t") == f"http://[::1]:{port}/?token=t"


def test_where_others_may_look_this_machine_is_called_by_its_names_and_addresses() -> None:
    names = Names("0.0.0.0")

    assert names.has(f"{socket.gethostname()}:80")
    assert names.has("192.168.1.5:8000")
    assert names.has("localhost")
    assert not names.has("evil.example")
