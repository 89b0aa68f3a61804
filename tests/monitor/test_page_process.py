"""The page as a process of the run: started, watched, and gone when the run is, whichever way it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from page_served import PATIENCE_S, Publisher, about_run

from pipeline import UserError
from stages.monitor import page_process
from stages.monitor.page_process import PageProcess, check_installed

RUN = """
import sys, time
from stages.monitor.page_process import PageProcess

page = PageProcess(sys.argv[1])
while not page.url:
    time.sleep(0.05)
print(page._process.pid, page.url, flush=True)
time.sleep(600)
"""


def wait_until(true: Callable[[], object], what: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until_s, what
        time.sleep(0.05)


def is_there(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as publisher:
        yield publisher


@pytest.fixture
def page(publisher: Publisher) -> Iterator[PageProcess]:
    page = PageProcess(publisher.address)
    yield page
    page.finish()


def started(page: PageProcess) -> int:
    """Wait until a page is served; the id of its process."""
    wait_until(lambda: page.url, "the page is not served")
    assert page._process is not None
    return page._process.pid


def test_the_address_of_the_page_is_logged_and_serves_it(page: PageProcess, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "streamajig.monitor"):
        started(page)
        wait_until(lambda: page.url in caplog.text, "the address is not logged")

    assert answers(page.url)


def test_it_ends_when_the_run_says_that_it_has_ended_and_leaves_nothing(
    publisher: Publisher, page: PageProcess, caplog: pytest.LogCaptureFixture
) -> None:
    pid = started(page)
    publisher.wait_for_subscriptions()
    publisher.send(about_run(ended="the stream ended"))
    page.finish()

    assert not is_there(pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert "has ended" not in caplog.text


def test_it_ends_though_the_last_message_was_lost(page: PageProcess) -> None:
    pid = started(page)
    page.finish()
    page.finish()

    assert not is_there(pid)


def test_a_run_that_is_over_at_once_does_not_wait_for_the_page_to_begin_and_says_so(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "streamajig.monitor"):
        page = PageProcess(publisher.address)
        page.finish()
        page.finish()

    assert not page.is_alive
    (record,) = caplog.records
    assert "was over before its page could be opened; --report FILE keeps" in record.getMessage()


def test_when_a_page_ends_with_the_run_that_is_said(page: PageProcess, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "streamajig.monitor"):
        started(page)
        page.finish()

    assert caplog.records[-1].getMessage().startswith("the page ends with the run")


IMPORTED = """
import sys
from stages.monitor import address
from stages.commands import monitor
print([name for name in ("numba", "starlette", "uvicorn", "zmq") if name in sys.modules])
"""


def test_nothing_that_takes_long_is_imported_before_the_address_is_known() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_page_that_dies_costs_one_warning(page: PageProcess, caplog: pytest.LogCaptureFixture) -> None:
    os.kill(started(page), signal.SIGKILL)
    wait_until(lambda: "has ended" in caplog.text, "nobody says that it has died")
    page.finish()

    (record,) = [
        record for record in caplog.records if record.name == "streamajig.monitor" and record.levelname == "WARNING"
    ]
    assert "exit status -9" in record.getMessage()
    assert "the run goes on without it" in record.getMessage()


def test_a_page_that_cannot_start_costs_one_warning_which_says_why(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        page = PageProcess(publisher.address, taken.getsockname()[1])
        wait_until(lambda: "has ended" in caplog.text, "nobody says that it cannot start")
        page.finish()

    (record,) = [
        record for record in caplog.records if record.name == "streamajig.monitor" and record.levelname == "WARNING"
    ]
    assert "Address already in use" in record.getMessage()


def test_a_program_that_is_not_there_costs_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    page = PageProcess("tcp://127.0.0.1:1")
    page.finish()

    assert not page.is_alive
    assert caplog.text.count("cannot be started") == 1


def test_what_is_not_installed_is_said_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    monkeypatch.setattr(page_process, "_NEEDS", ("starlette", "no_such_module_at_all"))

    with pytest.raises(
        UserError, match=r"needs no_such_module_at_all; install it with: pip install 'streamajig\[monitor\]'"
    ):
        check_installed()


@pytest.fixture
def run(publisher: Publisher) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A process that has started a page: that, and id and address of the page."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN, publisher.address], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stdout is not None
        pid, url = run.stdout.readline().split()
        try:
            yield run, int(pid), url
        finally:
            run.kill()


def test_it_ends_when_the_run_is_killed(run: tuple[subprocess.Popen[str], int, str]) -> None:
    process, pid, url = run
    assert answers(url)
    process.kill()
    process.wait()

    wait_until(lambda: not is_there(pid), "the page is still there")


def test_what_ends_the_run_from_the_terminal_does_not_end_the_page(
    run: tuple[subprocess.Popen[str], int, str],
) -> None:
    process, pid, url = run
    os.killpg(process.pid, signal.SIGSTOP)  # the run is there, and does nothing about its end
    os.killpg(process.pid, signal.SIGINT)
    for _ in range(10):
        assert answers(url)

    assert is_there(pid)
