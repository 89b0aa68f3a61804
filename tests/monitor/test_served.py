"""The page as it is served over real sockets: who is let in, what a browser gets, and what comes of it when others go away."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import numpy as np
import pytest
from page_served import PATIENCE_S, TOKEN, Browser, Page, Publisher, about_run, frame, head, served
from websockets.exceptions import InvalidStatus

from stages.monitor import app, receiving
from stages.monitor.blob import encode
from stages.monitor.files import PAGE
from stages.monitor.session import LONGEST_REQUEST

HOSTILE = '<script>alert("1")</script>\u2028\x00\ud7ff'


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as publisher:
        yield publisher


@pytest.fixture
def page(publisher: Publisher) -> Iterator[Page]:
    with served(publisher.address) as page:
        publisher.wait_for_subscriptions()
        yield page


@pytest.fixture
def browser(page: Page) -> Iterator[Browser]:
    with page.browser() as browser:
        yield browser


def test_what_a_run_publishes_is_what_a_browser_gets(publisher: Publisher, browser: Browser) -> None:
    for content in (about_run(command_line=HOSTILE), head("cells") | {"parameters": np.eye(3, 6)}, frame(7)):
        publisher.send(content)

    assert browser.next("run")["command_line"] == HOSTILE
    np.testing.assert_array_equal(browser.next("cells")["parameters"], np.eye(3, 6))
    shown = browser.next("frame")
    assert (shown["serial"], shown["bin"], shown["back"]) == (7, 1, 0)
    np.testing.assert_array_equal(shown["panels"][0]["data"] + shown["panels"][0]["offset"], np.full((4, 4), 7))


def test_a_browser_gets_one_message_and_then_nothing_until_it_answers(publisher: Publisher, browser: Browser) -> None:
    browser.say(ready=True, kinds=["run"])
    publisher.send(about_run(number=1))
    assert browser.receive()["number"] == 1
    for number in range(2, 50):
        publisher.send(about_run(number=number))

    assert browser.hears_nothing_for(1.0)
    assert browser.next("run", lambda run: run["number"] == 49)


def test_a_second_browser_is_served_while_the_first_does_not_answer(page: Page, publisher: Publisher) -> None:
    with page.browser() as slow, page.browser() as quick:
        slow.say(ready=True)
        for number in range(5):
            publisher.send(about_run(number=number))
            assert quick.next("run", lambda run, number=number: run["number"] == number)


def test_a_browser_that_is_killed_changes_nothing_for_others(page: Page, publisher: Publisher) -> None:
    with page.browser() as other:
        for number in range(3):
            with page.browser() as killed:
                killed.say(ready=True)
                killed.vanish()
            publisher.send(about_run(number=number))
            assert other.next("run", lambda run, number=number: run["number"] == number)


def test_a_browser_that_comes_late_gets_the_latest_state(page: Page, publisher: Publisher) -> None:
    with page.browser() as first:
        publisher.send(head("history") | {"received": np.arange(3.0)})
        first.next("history")
    with page.browser() as late:
        assert late.next("history")["received"].tolist() == [0, 1, 2]


def test_there_are_no_more_browsers_than_so_many(monkeypatch: pytest.MonkeyPatch, page: Page) -> None:
    monkeypatch.setattr(app, "MOST_BROWSERS", 1)
    with page.browser() as first, page.browser() as second:
        assert second.close_code() == 1013
        assert first.next("monitor")


def test_a_new_run_at_the_same_address_clears_what_was_there(
    publisher: Publisher, page: Page, browser: Browser
) -> None:
    publisher.send(frame(1))
    publisher.send(head("cells"))
    browser.next("frame")
    browser.next("cells")
    publisher.close()
    with Publisher(publisher.address) as second:
        second.wait_for_subscriptions()
        second.send(about_run("run2"))
        assert browser.next("run")["run"] == "run2"
        shown = browser.next("monitor", lambda monitor: monitor["run"] == "run2")
        assert shown["kept"]["any"] == 0
        second.send(frame(5, run="run2"))
        assert browser.next("frame")["serial"] == 5
        # what is late of the run before changes nothing any more
        second.send(frame(2, run="run1"))
        second.send(about_run("run2", 1))
        assert browser.next("run", lambda run: run["number"] == 1)["run"] == "run2"
        browser.say(look={"category": "any"})
        assert browser.next("frame")["serial"] == 5


def test_where_the_run_is_gone_its_last_state_stays_and_the_page_says_since_when(
    publisher: Publisher, browser: Browser
) -> None:
    publisher.send(about_run())
    browser.next("run")
    assert not browser.next("monitor", lambda monitor: monitor["received"])["is_silent"]
    publisher.close()

    silent = browser.next("monitor", lambda monitor: monitor["is_silent"])

    assert silent["last_received_unix_s"] <= time.time() - silent["age_s"] + 0.1


def test_where_nothing_comes_for_long_it_is_connected_to_anew(
    monkeypatch: pytest.MonkeyPatch, publisher: Publisher
) -> None:
    monkeypatch.setattr(receiving, "_RENEW_S", 0.1)
    with served(publisher.address) as page:
        publisher.wait_for_subscriptions()
        publisher.wait_for_subscriptions()
        with page.browser() as browser:
            until_s = time.monotonic() + PATIENCE_S
            browser.say(kinds=["run"], ready=True)
            while browser.hears_nothing_for(0.1) and time.monotonic() < until_s:
                publisher.send(about_run())
            assert time.monotonic() < until_s


def test_a_message_that_is_too_large_does_not_end_what_comes_after(
    monkeypatch: pytest.MonkeyPatch, publisher: Publisher
) -> None:
    monkeypatch.setattr(receiving, "LARGEST_OTHER", 5000)
    monkeypatch.setattr(receiving, "_RENEW_S", 0.5)
    with served(publisher.address) as page, page.browser() as browser:
        publisher.wait_for_subscriptions()
        publisher.send(head("cells") | {"parameters": np.zeros(10000)})
        until_s = time.monotonic() + PATIENCE_S
        browser.say(kinds=["run"], ready=True)
        while browser.hears_nothing_for(0.1) and time.monotonic() < until_s:
            publisher.send(about_run())
        assert time.monotonic() < until_s


HOSTILE_PARTS = [
    (b"run",),
    (b"run", b""),
    (b"run", b"garbage"),
    (b"run", b"\xff\xff\xff\xff"),
    (b"run", b"a", b"b"),
    (b"run", bytes(encode({"kind": "cells", "run": "run1"}))),
    (b"run", bytes(encode({"kind": "run"}))),
    (b"run", bytes(encode({"kind": "run", "run": "x" * 1000}))),
    (b"run", bytes(encode({"kind": ["run"], "run": "run1"}))),
    (b"runaway", bytes(encode({"kind": "runaway", "run": "run1"}))),
    (b"frame", bytes(encode({**frame(1), "panels": [np.zeros((4, 4, 4))]}))),
    (b"frame", bytes(encode({**frame(1), "category": "best"}))),
    (b"frame", b'\x30\0\0\0{"kind":"frame","run":"r","panels":{"__array__":[]}}'),
]


@pytest.mark.parametrize("parts", HOSTILE_PARTS, ids=lambda parts: b" ".join(parts)[:40])
def test_after_any_bad_message_the_next_good_one_is_taken(
    publisher: Publisher, browser: Browser, parts: tuple[bytes, ...]
) -> None:
    publisher.send_parts(*parts)
    publisher.send(frame(3))
    publisher.send(about_run(number=9))

    assert browser.next("run")["number"] == 9
    assert browser.next("frame")["serial"] == 3
    assert browser.next("monitor", lambda monitor: monitor["refused"] == 1)["why_refused"]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"look": 1}', b"\x00\x01", " " * (LONGEST_REQUEST + 1)],
    ids=["json", "list", "look", "bytes", "long"],
)
def test_a_browser_that_sends_what_is_no_request_is_left_and_others_are_not(page: Page, text: str | bytes) -> None:
    with page.browser() as other:
        with page.browser() as hostile:
            hostile.say_text(text)
            assert hostile.close_code() in (1008, 1009)
        assert other.next("monitor")


def test_the_page_is_shown_to_who_has_the_token_and_the_cookie_does_from_then_on(page: Page) -> None:
    assert page.get("/")[0] == 403
    assert page.get("/?token=wrong")[0] == 403
    status, headers, body = page.get(f"/?token={TOKEN}")
    assert status == 200
    assert body == (PAGE / "index.html").read_bytes()
    cookie, *attributes = (part.strip() for part in headers["set-cookie"].split(";"))
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} == set(attributes)

    status, headers, _ = page.get("/style.css", cookie=f"other=1; {cookie}")
    assert status == 200
    assert "set-cookie" not in headers
    assert page.get("/style.css", cookie=cookie[:-1])[0] == 403


def test_programs_may_give_the_token_as_they_do_elsewhere(page: Page) -> None:
    assert page.get("/metrics", authorization=f"Bearer {TOKEN}")[0] == 200
    assert page.get("/metrics", authorization="Bearer wrong")[0] == 403
    assert page.get("/metrics", authorization=f"Basic {TOKEN}")[0] == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "8.8.8.8",
        "",
        "localhost; x",
        "[::1",
    ],
)
def test_a_request_for_another_machine_is_refused(page: Page, host: str) -> None:
    assert page.get(f"/?token={TOKEN}", host=host)[0] in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_a_request_through_a_tunnel_is_not(page: Page, host: str) -> None:
    assert page.get(f"/?token={TOKEN}", host=host)[0] == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1", "file://", "ws://127.0.0.1"]
)
def test_requests_of_other_pages_are_refused(page: Page, origin: str) -> None:
    assert page.get(f"/?token={TOKEN}", origin=origin)[0] == 403
    with pytest.raises(InvalidStatus, match="403"), page.browser(origin=origin):
        pass


def test_a_browser_of_the_page_itself_is_let_in(page: Page) -> None:
    with page.browser(origin=f"http://127.0.0.1:{page.port}") as browser:
        assert browser.next("monitor")


def test_a_browser_with_the_cookie_is_let_in_and_without_anything_is_not(page: Page) -> None:
    cookie = page.get(f"/?token={TOKEN}")[1]["set-cookie"].partition(";")[0]
    with page.browser(token="", cookie=cookie) as browser:
        assert browser.next("monitor")
    for token in ("", "wrong"):
        with pytest.raises(InvalidStatus, match="403"), page.browser(token=token):
            pass


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(page: Page, method: str) -> None:
    assert page.get(f"/?token={TOKEN}", method)[0] == 405


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "//etc/passwd",
        "/etc/passwd",
        "/page/../../state.py",
        "/viewer/",
        "/.",
        "/style.css/",
        "/style.css%00.html",
        "/%ff",
        "/..\\app.py",
        "/ws",
    ],
)
def test_no_path_leads_out_of_the_page(page: Page, path: str) -> None:
    status, _, body = page.get(f"{path}?token={TOKEN}")

    assert status in (400, 404)
    assert b"import" not in body


def test_every_file_of_the_page_is_served_with_its_type_and_only_once(page: Page) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
    files = [file for file in PAGE.rglob("*") if file.suffix in types]
    assert len(files) > 5
    for file in files:
        path = f"/{file.relative_to(PAGE).as_posix()}?token={TOKEN}"
        status, headers, body = page.get(path)
        assert (status, body) == (200, file.read_bytes()), file
        assert headers["content-type"].startswith(types[file.suffix])
        assert page.get(path, if_none_match=headers["etag"])[0] == 304


def test_what_a_browser_may_do_with_the_page_is_said(page: Page) -> None:
    _, headers, _ = page.get(f"/?token={TOKEN}")
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == f"'self' ws://127.0.0.1:{page.port}"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


def test_the_page_has_no_code_in_it_and_names_nothing_from_elsewhere() -> None:
    html = (PAGE / "index.html").read_text()

    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    for file in PAGE.rglob("*"):
        if file.suffix in (".js", ".css", ".html"):
            found = set(re.findall(r"(?:url\(|[\"'`])((?:https?:)?//[\w.]+)", file.read_text())) - {"http://www.w3.org"}
            assert not found, f"{file.name} names {found}"


def test_somebody_answers_without_a_token_and_says_nothing_else(page: Page) -> None:
    status, headers, body = page.get("/healthz")

    assert (status, body) == (200, b"ok\n")
    assert "set-cookie" not in headers
    assert headers["cache-control"] == "no-store"


def test_numbers_are_there_for_prometheus(publisher: Publisher, page: Page, browser: Browser) -> None:
    publisher.send(about_run(number=4))
    browser.next("run")
    status, headers, body = page.get(f"/metrics?token={TOKEN}")

    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "streamajig_frames_received_total 40.0" in body.decode().splitlines()


def test_a_page_that_a_run_has_started_ends_when_the_run_has_and_browsers_have_its_last_state() -> None:
    with Publisher() as publisher, served(publisher.address, parent=os.getppid()) as page:
        publisher.wait_for_subscriptions()
        with page.browser() as browser:
            publisher.send(about_run(number=1))
            browser.next("run")
            publisher.send(about_run(number=2, ended="the stream ended"))
            assert browser.next("run")["ended"] == "the stream ended"
            browser.say(ready=True)
            assert browser.close_code() in (1001, 1012)
        page.thread.join(PATIENCE_S)
        assert not page.thread.is_alive()


def test_a_page_whose_run_is_gone_ends() -> None:
    with Publisher() as publisher, served(publisher.address, parent=1 if os.getppid() != 1 else 2) as page:
        page.thread.join(PATIENCE_S)
        assert not page.thread.is_alive()


def test_a_page_that_somebody_else_has_started_goes_on_when_the_run_has_ended(
    publisher: Publisher, page: Page, browser: Browser
) -> None:
    publisher.send(about_run(ended="the stream ended"))
    browser.next("run")
    browser.next("monitor", lambda monitor: monitor["is_silent"])

    assert page.thread.is_alive()


def test_what_is_published_has_a_socket_of_its_own_for_frames(
    publisher: Publisher, page: Page, browser: Browser
) -> None:
    """Many large frames at once, none of which is waited for, do not cost one of the others."""
    publisher.send(about_run(number=1))
    browser.next("run")
    for number in range(200):
        publisher.send(frame(number, panels=[np.zeros((300, 300), "u2")]))
    publisher.send(about_run(number=2))

    assert browser.next("run", lambda run: run["number"] == 2)
    assert browser.next("frame")["serial"] >= 0
