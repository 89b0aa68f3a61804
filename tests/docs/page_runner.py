"""Runs all that a Markdown page shows, in the page's order and in one folder, as a reader would who types it in.

As a program it writes into pages what their commands print today: ``python tests/docs/page_runner.py docs/tutorial.md``.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import forked_commands
from markdown_blocks import Block, BrokenPageError, Command, blocks_of, commands_of

PATIENCE_S = 300  # the first command of a fresh clone compiles
PORT_IN_PAGES = "tcp://127.0.0.1:5002"
PORT_OF_RELAYS = "tcp://127.0.0.1:5003"
FOLDER_IN_PAGES = "/home/you/frames"  # the folder in which the commands run
_ELLIPSIS = re.compile(r"(?m)^\s*\.\.\.\s*$\n?")


class Printed(NamedTuple):
    """A command of a page and what it prints."""

    command: Command
    output: str


class PageRun:
    """One page at work in one folder.

    Parameters
    ----------
    folder
        Empty; all commands run there.
    project
        Its ``examples`` are copied there, since the pages speak of them.
    address
        Where servers listen, in place of the one in the pages.
    relay
        Where relays listen.
    """

    def __init__(self, folder: Path, project: Path, address: str, relay: str = PORT_OF_RELAYS) -> None:
        self.folder = folder
        self.not_run: list[str] = []
        self.printed: dict[int, str] = {}
        self._address, self._relay = address, relay
        self._background: tuple[Block, subprocess.Popen[str], Path] | None = None
        commands = folder.parent / f"{folder.name}-bin"
        commands.mkdir()
        python = commands / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        forked_commands.script_for(commands, project)
        (folder / "examples").mkdir()
        for file in (project / "examples").iterdir():
            if file.is_file():
                (folder / "examples" / file.name).write_text(self._here(file.read_text()))
        python_path = os.pathsep.join(filter(None, [str(project), os.environ.get("PYTHONPATH", "")]))
        self._environment = {
            **os.environ,
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": python_path,
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }

    def run(self, block: Block) -> None:
        """Run one block; an AssertionError says what is not as the page says."""
        if block.remark == "not run":
            self.not_run.append(f"{block.place}: not run: {block.value}")
        elif block.remark == "file":
            self._write(block)
            if block.language == "yaml":
                self._check_graph(block)
        elif block.remark == "output of":
            self._compare(block, self._bash(block, block.value), block.text)
            if block.language == "yaml":
                self._check_graph(block)
        elif block.remark == "keeps running":
            self._start(block)
        elif block.remark == "ended by Ctrl-C":
            self._interrupt(block)
        elif block.language == "console":
            printed = [Printed(command, self._bash(block, command.text)) for command in commands_of(block)]
            self.printed[block.line] = "".join(map(_today, printed))
            for command, output in printed:
                if command.output:
                    self._compare(block, output, command.output)
        elif block.language in ("sh", "bash"):
            self._bash(block, f"set -e\n{block.text}")
        elif block.language == "python":
            self._bash(block, f"exec \"{sys.executable}\" - <<'END OF BLOCK'\n{block.text}\nEND OF BLOCK")
        elif block.language == "yaml":
            self._check_graph(block)
        elif block.language == "geom":
            _check_geometry(block)
        elif block.language == "mermaid":
            assert block.text.startswith("flowchart"), block.place
        else:
            raise BrokenPageError(
                f"{block.place}: nobody runs blocks of language {block.language!r}; say why in a comment: "
                "<!-- not run: REASON -->"
            )

    def close(self) -> None:
        """Press Ctrl-C in the other terminal."""
        if self._background is None:
            return
        block, process, log = self._background
        self._background = None
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"{block.place}: Ctrl-C does not end this: {log.read_text()}") from None
        assert status in (0, -signal.SIGINT, 130), f"{block.place}: ended with {status}: {log.read_text()}"

    def _here(self, text: str) -> str:
        here = text.replace(PORT_IN_PAGES, self._address).replace(PORT_OF_RELAYS, self._relay)
        return here.replace(FOLDER_IN_PAGES, str(self.folder.resolve()))

    def _write(self, block: Block) -> None:
        path = self.folder / block.value
        assert path.resolve().is_relative_to(self.folder.resolve()), block.place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here(block.text))

    def _bash(self, block: Block, command: str) -> str:
        """Run a command; return what it prints, or, where it fails, what it complains of."""
        done = subprocess.run(
            ["bash", "-c", self._here(command)],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        expects_failure = block.language == "console" and "streamajig: " in block.text
        if done.returncode and not expects_failure:
            raise AssertionError(f"{block.place}: {command}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
        printed = done.stderr if done.returncode else done.stdout
        return printed.replace(self._address, PORT_IN_PAGES).replace(str(self.folder.resolve()), FOLDER_IN_PAGES)

    def _start(self, block: Block) -> None:
        """Start what goes on in a terminal of its own, and wait until it says something."""
        self.close()
        process, log = self._popen(block)
        self._background = (block, process, log)
        _wait(block, process, log, lambda said: said.endswith("\n"))

    def _interrupt(self, block: Block) -> None:
        """Run a command until frames have come, then press Ctrl-C: it ends well and has lost nothing."""
        process, log = self._popen(block)
        try:
            _wait(block, process, log, lambda said: re.search(r"(?m)(?:^| )[1-9]\d* frames, ", said) is not None)
            os.killpg(process.pid, signal.SIGINT)
            status = process.wait(PATIENCE_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said = log.read_text()
        assert status == 0, f"{block.place}: ended with {status}: {said}"
        law = re.search(r"(?m)^received (\d+) = delivered (\d+) \+ rejected 0 \+ dropped 0$", said)
        assert law is not None, f"{block.place}: {said}"
        assert int(law[1]) == int(law[2]) > 0

    def _popen(self, block: Block) -> tuple[subprocess.Popen[str], Path]:
        (command,) = commands_of(block)
        log = self.folder.parent / f"{self.folder.name}-{block.line}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {self._here(command.text)}"],
                cwd=self.folder,
                env=self._environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        return process, log

    def _compare(self, block: Block, printed: str, expected: str) -> None:
        if block.remark == "output of":
            self.printed[block.line] = block.text if _ELLIPSIS.search(block.text) else printed
        problem = difference(expected, printed)
        assert problem is None, f"{block.place}: {problem}\nthe page says\n{expected}\nand printed was\n{printed}"

    def _check_graph(self, block: Block) -> None:
        """A graph in YAML loads and is right; a stage that the page has written is found."""
        from pipeline.composing.graph import Graph

        with contextlib.chdir(self.folder):
            graph = Graph.from_yaml(self._here(block.text), self.folder / "block.yaml")
            graph.check()


def difference(expected: str, printed: str) -> str | None:
    """What of the text on the page is not as printed; None if all is.

    White space counts for nothing. A line ``...`` stands for any lines. Times and rates depend on the machine and may be any.
    Numbers of hits, crystals and peaks may differ by a tenth, since peak search and indexing get better, and parameters of a
    cell by 0.2 %. When something was is of no account, nor are the names of runs, which come from that; they are in files,
    too, whose sizes may differ by a twentieth. How much of what a publisher sends still waits when a run has what it was
    asked for depends on the machine too.

    >>> difference("hits 70 of 100, 1.7 s", "hits 69 of 100,  2.25 s")
    >>> difference("hits 70 of 100, 1.7 s", "hits 40 of 100,  2.25 s")
    "'70' is '40' now"
    >>> difference("delivered 70 + rejected 0", "delivered 69 + rejected 1")
    "'70' is '69' now"
    >>> difference("first\\n...\\nlast", "first\\n1\\n2\\nlast")
    >>> difference("first\\n...\\nlast", "first\\n1\\n2\\nworst")
    "'last' is not printed"
    >>> difference("20261129T123806-31002: 675 bytes", "20270101T000000-2: 650 bytes")
    >>> law = "received {} = delivered 4 + rejected 0 + dropped {}\\n"
    >>> difference(law.format(4, 0), law.format(7, 3) + "dropped: 3 x waited when the run ended\\n")
    >>> difference(law.format(4, 0), law.format(7, 3) + "dropped: 3 x abandoned\\n")
    "'4' is '7' now"
    """
    pieces = [_words(piece) for piece in _ELLIPSIS.split(expected)]
    words = _words(_without_what_waited(printed))
    at = 0
    for number, piece in enumerate(pieces):
        places = range(at, len(words) - len(piece) + 1) if number else [at]
        problem: str | None = f"{' '.join(word.text for word in piece)!r} is not printed"
        for place in places:
            found = _first_difference(piece, words[place : place + len(piece)])
            if found is None:
                at, problem = place + len(piece), None
                break
            problem = problem if number else found
        if problem is not None:
            return problem
    if at < len(words) and pieces[-1]:
        return f"{' '.join(word.text for word in words[at:])!r} is printed besides"
    return None


def _without_what_waited(printed: str) -> str:
    """What would have been printed had nothing more come by the time that the run had what it was asked for."""
    waited = _WAITED.search(printed)
    law = _LAW.search(printed)
    if waited is None or law is None:
        return printed
    received, dropped = (int(law[name]) - int(waited[1]) for name in ("received", "dropped"))
    printed = printed.replace(waited[0], "")
    return printed.replace(law[0], f"received {received} = {law['others']} + dropped {dropped}")


_LAW = re.compile(r"received (?P<received>\d+) = (?P<others>delivered \d+ \+ rejected \d+) \+ dropped (?P<dropped>\d+)")
_WAITED = re.compile(r"(?m)^dropped: (\d+) x waited when the run ended\n")


class Word(NamedTuple):
    """A word or number of a text, the one that follows, and what the line does: count what is found in frames, or measure."""

    text: str
    following: str
    counts: bool
    measures: bool = False


_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_WHEN = re.compile(r"\d{8}T\d{6}-\d+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_UNITS_OF_THE_MACHINE = ("ms", "s", "s,", "s;", "frames/s", "frames/s;")


def _words(text: str) -> list[Word]:
    words = []
    for line in _WHEN.sub("WHEN", text).splitlines():
        split = re.findall(rf"{_NUMBER}|[^\s\d+-]+|[-+]", line)
        counts = re.search(r"\b(hits|crystals)\b", line) is not None
        measures = re.match(r"\s*(cell|error|spread|off)\s", line) is not None
        words += [Word(a, b, counts, measures) for a, b in zip(split, [*split, ""][1:], strict=True)]
    return words


def _first_difference(expected: list[Word], printed: list[Word]) -> str | None:
    for n, word in enumerate(expected):
        if n >= len(printed):
            return f"{word.text!r} is not printed"
        now = printed[n].text
        both_numbers = re.fullmatch(_NUMBER, word.text) and re.fullmatch(_NUMBER, now)
        if both_numbers and word.following in _UNITS_OF_THE_MACHINE:
            continue
        if both_numbers:
            size = abs(float(word.text))
            allowed = max(3.0, 0.1 * size) if word.counts else max(0.1, 2e-3 * size) if word.measures else 1e-5 * size
            allowed = 0.05 * size if word.following.startswith("bytes") else allowed
            if abs(float(word.text) - float(now)) <= allowed:
                continue
        if word.text != now:
            return f"{word.text!r} is {now!r} now"
    return None


def _today(printed: Printed) -> str:
    """A command and its output as they are to stand on the page; what was left out stays so."""
    command, output = printed
    shown = command.output if not command.output or _ELLIPSIS.search(command.output) else output
    return f"$ {command.text}\n{shown}"


@contextlib.contextmanager
def page_run(
    folder: Path, project: Path, address: str = PORT_IN_PAGES, relay: str = PORT_OF_RELAYS
) -> Iterator[PageRun]:
    run = PageRun(folder, project, address, relay)
    try:
        yield run
    except BaseException:
        with contextlib.suppress(AssertionError):
            run.close()
        raise
    run.close()


def _wait(block: Block, process: subprocess.Popen[str], log: Path, until: Callable[[str], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not until(log.read_text()):
        assert process.poll() is None, f"{block.place}: ended at once: {log.read_text()}"
        assert time.monotonic() < end, f"{block.place}: waited in vain: {log.read_text()}"
        time.sleep(0.02)


def _check_geometry(block: Block) -> None:
    from stages.files.geom.detector import Detector

    assert Detector.parse(block.text).panels, block.place


def rewrite(page: Path, project: Path) -> None:
    """Put what is printed today into a page, but for outputs that leave something out (``...``)."""
    lines = page.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "page"
        folder.mkdir()
        blocks = blocks_of(page)
        with page_run(folder, project) as run:
            for block in blocks:
                try:
                    run.run(block)
                except AssertionError as error:
                    if block.line not in run.printed:
                        raise
                    print(error, file=sys.stderr)
    for block in reversed(blocks):
        if block.line in run.printed:
            begin, end = block.line, block.line + len(block.text.splitlines())
            lines[begin:end] = [line.rstrip() for line in run.printed[block.line].splitlines()]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(Path(name), Path(__file__).resolve().parent.parent.parent)
