"""What happens to stdout and stderr does not happen to a run: its output is whole, the law is said where it can be said."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from command import PATIENCE_S, environment, words
from small_stages import FRAMES, KEY, LAW, small_graph


def run_in_shell(
    folder: Path, redirected: str, stderr: int = subprocess.PIPE, **variables: str
) -> tuple[int, str, str]:
    """Run the small graph, redirected as a user does it; check its output, and return exit status, stdout and stderr."""
    ((status, out, err),) = run_in_shells(folder, [redirected], stderr, **variables)
    return status, out, err


def run_in_shells(
    folder: Path, redirections: Sequence[str], stderr: int = subprocess.PIPE, **variables: str
) -> list[tuple[int, str, str]]:
    """The same with several redirections at once."""
    outputs = [folder / f"out{n}.txt" for n in range(len(redirections))]
    runs = [
        subprocess.Popen(
            ["bash", "-c", f'"$@" {redirected}', "bash", *words("run", small_graph(folder, output, how="slow"))],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment() | variables,
        )
        for redirected, output in zip(redirections, outputs, strict=True)
    ]
    said = [run.communicate(timeout=PATIENCE_S) for run in runs]
    for output in outputs:
        assert_whole(output)
    return [(run.returncode, out or "", err or "") for run, (out, err) in zip(runs, said, strict=True)]


def assert_whole(output: Path) -> None:
    assert [int(each) for each in output.read_text().splitlines()] == [*range(1, FRAMES + 1)]


def test_where_stdout_takes_no_report_stderr_has_the_law_and_the_status_is_1(tmp_path: Path) -> None:
    kinds = {">&-": "Bad file descriptor", ">/dev/full": "No space left", "> >(exec true)": "Broken pipe"}
    for (status, _, err), why in zip(run_in_shells(tmp_path, [*kinds]), kinds.values(), strict=True):
        assert status == 1, err
        assert f"the report could not be written to stdout ({why}" in err
        assert LAW in err
        assert "Traceback" not in err
        assert "Exception ignored" not in err


def test_where_stderr_takes_no_log_the_run_goes_on(tmp_path: Path) -> None:
    for status, out, err in run_in_shells(tmp_path, ["2>&-", "2>/dev/full", "2> >(exec true)"]):
        assert (status, err) == (0, "")
        assert out.startswith(LAW)


def test_with_neither_the_status_tells_and_nothing_else_is_written_into_the_output(tmp_path: Path) -> None:
    assert run_in_shell(tmp_path, ">&- 2>&- <&-") == (1, "", "")


def test_a_key_that_the_encoding_cannot_say_is_escaped(tmp_path: Path) -> None:
    status, out, err = run_in_shell(tmp_path, "", PYTHONIOENCODING="ascii", LC_ALL="C")

    assert status == 0, err
    assert out.startswith(LAW)
    escaped = KEY.encode("ascii", "backslashreplace").decode()
    assert escaped in out
    assert escaped in err


def test_a_log_that_nobody_reads_does_not_hold_up_the_run(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"." * 4096)
        os.set_blocking(writing, True)
        status, out, _ = run_in_shell(tmp_path, "", stderr=writing)
    finally:
        os.close(reading)
        os.close(writing)
    assert status == 0
    assert out.startswith(LAW)


def test_a_terminal_that_hangs_up_does_not_end_the_run(tmp_path: Path) -> None:
    output, report = tmp_path / "out.txt", tmp_path / "report.txt"
    master, slave = os.openpty()
    with report.open("w") as out:
        graph = small_graph(tmp_path, output, how="slow")
        process = subprocess.Popen(words("run", graph), stdin=slave, stderr=slave, stdout=out, env=environment())
        os.close(slave)
        shown = b""
        while b" frames" not in shown:  # the progress
            shown += os.read(master, 1000)
        os.close(master)  # each write to the terminal fails from now on
        assert process.wait(PATIENCE_S) == 0
    assert_whole(output)
    assert report.read_text().startswith(LAW)
