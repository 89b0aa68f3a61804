"""What runs have kept of rejected frames is read, chosen and deleted, and nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import UserError
from pipeline.frame import Frame, Rejected
from pipeline.running.dead_letters import DeadLetters
from pipeline.running.kept_letters import NEWEST, Choice, clear, read_folder
from pipeline.running.leaves import Arrived


def arrived(serial: int, reason: str = "missing_key", *parts: bytes, node: str = "decode") -> Arrived:
    rejected = Rejected(serial, f"event {serial}", serial * 10**9, node, reason, "because", Frame(serial))
    return Arrived("sink", serial, "", 0, None, rejected, {}, parts)


def a_run(folder: Path, *letters: Arrived) -> DeadLetters:
    run = DeadLetters(folder)
    for letter in letters:
        run.add(letter)
    return run


EVERY = Choice()


def serials(folder: Path, choice: Choice = EVERY) -> list[list[int]]:
    return [[letter.serial for letter in run.letters] for run in choice.of(read_folder(folder))]


def test_runs_of_one_process_and_second_have_files_of_their_own(tmp_path: Path) -> None:
    for body in (b"first", b"second"):
        a_run(tmp_path, arrived(1, "odd", body)).close()
    first, second = read_folder(tmp_path)
    assert [run.letters[0].files[0].read_bytes() for run in (first, second)] == [b"first", b"second"]
    assert [run.letters[0].num_bytes for run in (first, second)] == [5, 6]


def test_letters_are_chosen_by_node_reason_run_serial_and_event(tmp_path: Path) -> None:
    a_run(tmp_path, arrived(1), arrived(2, "odd"), arrived(3, "odd", node="peaks")).close()
    a_run(tmp_path, arrived(1, "odd")).close()
    first, second = (run.name for run in read_folder(tmp_path))
    assert serials(tmp_path) == [[1, 2, 3], [1]]
    assert serials(tmp_path, Choice(reasons=["odd"])) == [[2, 3], [1]]
    assert serials(tmp_path, Choice(nodes=["peaks"], reasons=["odd"])) == [[3]]
    assert serials(tmp_path, Choice(runs=[NEWEST])) == serials(tmp_path, Choice(runs=[second])) == [[1]]
    assert serials(tmp_path, Choice(which=["1"])) == [[1], [1]]
    assert serials(tmp_path, Choice(which=["event 3", NEWEST])) == [[3], [1]]
    for choice, said in (
        (Choice(reasons=["od"]), "no dead letter has the reason 'od'; did you mean 'odd'"),
        (Choice(which=["7"]), "no dead letter has the serial or event '7'"),
        (Choice(runs=["2025"]), f"there is no run '2025'; there are: {first}, {second}"),
    ):
        with pytest.raises(UserError, match=said):
            serials(tmp_path, choice)


def test_only_what_is_chosen_is_deleted_and_the_last_letter_takes_the_file_along(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text("{}\n")
    (tmp_path / "frame.msgpack").write_bytes(b"mine")
    a_run(tmp_path, *(arrived(n, "odd" if n % 2 else "even", b"body") for n in range(1, 5))).close()
    (run,) = read_folder(tmp_path)
    before = sum(file.stat().st_size for file in tmp_path.iterdir())

    freed = clear(Choice(reasons=["odd"]).of([run]), whole_runs=False)

    assert (freed.letters, freed.messages, freed.problems) == (2, 2, [])
    assert freed.num_bytes == before - sum(file.stat().st_size for file in tmp_path.iterdir())
    assert serials(tmp_path) == [[2, 4]]
    assert not any(file.exists() for letter in run.letters[::2] for file in letter.files)
    assert all(file.exists() for letter in run.letters[1::2] for file in letter.files)
    assert clear([run], whole_runs=False).letters == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["frame.msgpack", "notes.jsonl"]


def test_a_message_stays_as_long_as_one_of_two_branches_still_names_it(tmp_path: Path) -> None:
    a_run(tmp_path, arrived(1, "odd", b"body"), arrived(1, "odd", b"body", node="peaks")).close()
    clear(Choice(nodes=["peaks"]).of(read_folder(tmp_path)), whole_runs=False)
    (run,) = read_folder(tmp_path)
    assert [letter.has_message for letter in run.letters] == [True]


def test_a_run_that_still_writes_goes_on_when_its_letters_are_deleted(tmp_path: Path) -> None:
    run = a_run(tmp_path, arrived(1, "odd", b"body"), arrived(2, "odd", b"body"))
    seen = read_folder(tmp_path)
    assert seen[0].is_writing
    run.add(arrived(3, "odd", b"body"))

    assert clear(seen, whole_runs=True).letters == 2
    run.add(arrived(4, "odd", b"body"))

    assert serials(tmp_path) == [[3, 4]]
    assert all(letter.has_message for letter in read_folder(tmp_path)[0].letters)
    run.close()
    assert not read_folder(tmp_path)[0].is_writing
    # what came after one looked is not deleted with what one saw
    assert clear(seen, whole_runs=True).letters == 0
    assert serials(tmp_path) == [[3, 4]]
    clear(read_folder(tmp_path), whole_runs=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_under_a_run_is_made_again(tmp_path: Path) -> None:
    run = a_run(tmp_path / "dead", arrived(1))
    for file in (tmp_path / "dead").iterdir():
        file.unlink()
    (tmp_path / "dead").rmdir()
    run.add(arrived(2))
    run.close()
    assert serials(tmp_path / "dead") == [[2]]


def test_lines_that_are_cut_off_or_name_other_files_are_no_letters(tmp_path: Path) -> None:
    a_run(tmp_path, arrived(1, "odd", b"body")).close()
    (run,) = read_folder(tmp_path)
    (tmp_path / "precious").write_text("mine")
    whole = json.loads(run.path.read_text())
    bad = [
        {**whole, "message": ["precious"]},
        {**whole, "message": [f"../{tmp_path.name}/{whole['message'][0]}"]},
        {**whole, "message": [f"{run.name}-0000002.msgpack"]},
        {**whole, "serial": "1"},
        {"serial": 1},
        [],
    ]
    run.path.write_text("".join(json.dumps(line) + "\n" for line in [*bad, whole]) + "[" * 100_000 + "\n" + '{"serial')
    (tmp_path / f"{run.name}-0000009.msgpack").write_bytes(b"it ended before the line")

    (run,) = read_folder(tmp_path)
    assert [letter.serial for letter in run.letters] == [1]
    assert run.damaged == (1, 2, 3, 4, 5, 6, 8, 9)
    assert [file.name for file in run.loose] == [f"{run.name}-0000009.msgpack"]
    clear(Choice(which=["1"]).of([run]), whole_runs=False)
    assert read_folder(tmp_path)[0].damaged
    clear(read_folder(tmp_path), whole_runs=True)
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]


def test_a_wrong_folder_is_one_sentence_and_a_file_that_cannot_be_read_another(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; wanted is a folder in which runs have kept"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: Not a directory; wanted"):
        read_folder(tmp_path / "file")
    assert read_folder(tmp_path) == []
    (tmp_path / "20260101T000000-1.jsonl").mkdir()
    (run,) = read_folder(tmp_path)
    assert run.trouble.endswith("20260101T000000-1.jsonl: cannot be read: Is a directory")
    assert "cannot be changed: Is a directory" in clear([run], whole_runs=True).problems[0]
