"""The command line in this process: commands, help, messages, exit statuses."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import registry
from pipeline.command_line import cli
from pipeline.composing.graph import Graph
from pipeline.running.wiring import Replica

TOY_STAGES = Path(__file__).parent.parent / "core" / "toy_stages.py"

TOY_GRAPH = f"""\
modules: ["{TOY_STAGES}"]
nodes:
  source: {{stage: source/toy, numbers: [1, 2, -3, 4]}}
  decode: {{stage: decode/toy}}
  double: {{stage: double/toy, by: 3}}
  sink: {{stage: sink/toy}}
"""

ZMQ = ["--zmq-input=tcp://127.0.0.1:1", "--zmq-request=next"]
INDEX = ["index", *ZMQ, "-o", "out.stream", "-g", "a.geom", "-p", "a.cell"]


@pytest.fixture
def toy_graph(tmp_path: Path) -> Path:
    file = tmp_path / "toy.yaml"
    file.write_text(TOY_GRAPH)
    return file


def test_without_a_word_it_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 0

    shown = capsys.readouterr().out
    for command in ("index", "run", "check", "show", "stages", "schema", "warm-up", "simulate", "demo"):
        assert re.search(rf"^\W*{command} ", shown, re.MULTILINE), command


def test_the_commands_of_other_packages_are_listed_without_importing_them() -> None:
    code = (
        "import sys; from pipeline.command_line import cli; cli.run(['--help']); "
        "heavy = {'numba', 'numpy', 'zmq', 'streamz', 'stages.commands.simulate'}; "
        "print('imported:', *sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "simulate" in done.stdout
    assert done.stdout.splitlines()[-1] == "imported:"


def test_the_help_of_index_shows_supported_options_in_their_panels(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.run(["index", "--help"]) == 0

    shown = capsys.readouterr().out
    for words in ("Input", "Peak search", "Indexing", "Integration", "--zmq-request", "--min-peaks", "--int-radius"):
        assert words in shown
    assert "--asapo-output-stream" not in shown


@pytest.mark.parametrize("command", ["run", "check", "show", "stages", "schema", "warm-up", "simulate"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command, "--help"]) == 0
    assert "Usage: streamajig" in capsys.readouterr().out


def test_the_page_of_all_options_is_where_the_program_is(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.run(["index", "--manual"]) == 0
    assert capsys.readouterr().out == (project / "docs" / "reference-options.md").read_text(encoding="utf-8")
    assert cli.run(["index", "--help"]) == 0
    assert "--manual prints the page of them all" in capsys.readouterr().out


def test_a_kind_of_stage_is_listed_and_a_manual_has_limits_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["stages", "source"]) == 0
    listed = capsys.readouterr().out.splitlines()
    names = [line.partition(" ")[0] for line in listed]
    assert names == sorted(names)
    assert {"source/replay", "source/simulate", "source/zmq_req", "source/zmq_sub"} <= set(names)
    assert all(name.startswith("source/") for name in names)
    assert cli.run(["stages", "peeks"]) == 2
    assert "there is no kind of stage 'peeks'; did you mean 'peaks'?" in capsys.readouterr().err

    assert cli.run(["stages", "live/merge"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "  shells: int = 10  (1 or more, 1000 at most)" in shown
    assert "      completeness (float, more than 0, 1 at most): at least this part of all reflections" in shown
    assert "      each_shell (bool): ask it of every shell, not only over all of them" in shown


def test_the_simulator_knows_its_settings_by_the_names_of_its_stage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.source.simulate import Simulate

    monkeypatch.setenv("COLUMNS", "200")
    assert cli.run(["simulate", "--help"]) == 0
    shown = capsys.readouterr().out
    for field in dataclasses.fields(Simulate):
        assert f"--{field.name.replace('_', '-')}" in shown
    words = ["--files-only", "--distance-mm=90", "--energy-ev=9000", "--style=om", "--jitter-px=0.1", "--size=64x64"]
    assert cli.run(["simulate", *words]) == 0


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert re.fullmatch(r"streamajig \d+\.\d+\S*\n", capsys.readouterr().out)


ERRORS: dict[str, tuple[list[str], str]] = {
    "a misspelt option": (["index", "--min-peakz=3"], "there is no option --min-peakz; did you mean --min-peaks"),
    "an unknown option": (["index", "--qqqqqqqqqq"], "there is no option --qqqqqqqqqq"),
    "a misspelt command": (["indx"], "'indx'. Did you mean 'index'?"),
    "not a number": ([*INDEX, "--min-peaks=many"], "'--min-peaks'"),
    "a missing value": (["index", "--min-peaks"], "--min-peaks"),
    "a refused option": ([*INDEX, "--mille"], "--mille is refused: data for detector refinement"),
    "two refused options": (
        [*INDEX, "--mille", "--asapo-output-stream=a"],
        "--asapo-output-stream is refused: hits are not sent on",
    ),
    "SUB and REQ": ([*INDEX, "--zmq-subscribe=a"], "--zmq-request and --zmq-subscribe exclude each other"),
    "neither SUB nor REQ": (["index", ZMQ[0], "-o", "a", "-g", "b"], "none is given"),
    "files and ZeroMQ": ([*INDEX, "-i", "a.lst"], "--input (-i) and --zmq-input exclude each other"),
    "a search without pixels": ([*INDEX, "--no-image-data", "--peaks=zaef"], "--peaks=zaef searches the pixels"),
    "a missing geometry": (INDEX, "a.geom"),
    "a stray word": ([*INDEX, "more"], "more"),
    "a missing graph": (["run", "nowhere.yaml"], "cannot read the graph nowhere.yaml"),
    "a stage that is not there": (
        ["stages", "peaks/zaeff"],
        "there is no stage 'peaks/zaeff'; did you mean 'peaks/zaef'?",
    ),
    "a module that is not there": (["schema", "--module=nowhere.py"], "there is no file"),
    "an unknown log level": (["--log-level=loud", "stages"], "--log-level=loud: give one of debug, info"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_the_user_can_mend_is_said_on_stderr_with_status_2(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words, wanted = ERRORS[case]

    assert cli.run(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert wanted in said.err
    assert "Traceback" not in said.err


def test_a_geometry_that_is_no_geometry_names_file_and_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.geom").write_text("photon_energy = 9500 eV\nres = 10000\nclen = 0.1 m\np/min_fs = minus one\n")

    assert cli.run([*INDEX]) == 2
    assert "a.geom:4" in capsys.readouterr().err


def test_a_graph_printed_by_index_is_the_graph_that_run_reads(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from stages.commands.index.graph import graph_from_options

    assert cli.run([*INDEX, "--peaks=msgpack", "--min-peaks", "10", "-j", "3", "--copy-header=a", "--print-graph"]) == 0

    printed = capsys.readouterr().out
    wanted = graph_from_options(
        {
            "zmq_input": "tcp://127.0.0.1:1",
            "zmq_request": "next",
            "output": "out.stream",
            "geometry": "a.geom",
            "pdb": "a.cell",
            "peaks": "msgpack",
            "min_peaks": 10,
            "j": 3,
            "copy_header": ["a"],
        }
    )
    assert Graph.from_yaml(printed) == wanted.portable()
    assert Graph.from_yaml(printed, tmp_path / "elsewhere.yaml") == wanted.portable()
    assert wanted.portable().node("index").stage.cell == Path("a.cell").absolute()
    assert wanted.portable().node("sink") == wanted.node("sink")
    assert not (tmp_path / "out.stream").exists()


def test_an_equals_sign_behind_a_short_option_is_no_part_of_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["index", *ZMQ, "--print-graph"]

    assert cli.run([*words, "-o", "a.stream", "-g", "a.geom", "-p", "a.cell", "-j", "2"]) == 0
    spaced = capsys.readouterr().out
    assert cli.run([*words, "-o=a.stream", "-g=a.geom", "-pa.cell", "-j2"]) == 0
    assert capsys.readouterr().out == spaced


def test_a_value_of_the_wrong_type_is_said_with_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*INDEX, "--min-peaks=many"]) == 2

    complaint = capsys.readouterr().err
    assert "--min-peaks" in complaint
    assert "'many'" in complaint


def test_what_is_wrong_with_several_values_alike_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*INDEX, "--peaks=msgpack", "--tolerance=0,0,0,0"]) == 2

    assert capsys.readouterr().err.count("--tolerance: input should be greater than 0") == 1


def test_an_address_that_is_none_is_explained_without_the_validators_own_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [word.replace("tcp://127.0.0.1:1", "127.0.0.1") for word in INDEX]
    assert cli.run([*arguments, "--peaks=msgpack"]) == 2

    complaint = capsys.readouterr().err
    assert "--zmq-input: '127.0.0.1' is no address to connect to" in complaint


def test_warming_up_opens_what_index_would_open(capsys: pytest.CaptureFixture[str], toy_graph: Path) -> None:
    assert cli.run(["warm-up", str(toy_graph)]) == 0

    shown = capsys.readouterr().out
    for line in ("index --peaks=zaef", "index --peaks=peakfinder8", "index --peaks=msgpack", "index --no-image-data"):
        assert line in shown
    assert str(toy_graph) in shown
    assert "ready after" in shown


def test_a_graph_runs_and_reports_with_the_law_as_a_line_of_its_own(
    toy_graph: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["run", str(toy_graph)]) == 0
    assert "received 4 = delivered 3 + rejected 1 + dropped 0" in capsys.readouterr().out.splitlines()


def test_the_report_for_machines_is_one_json_document(toy_graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["run", str(toy_graph), "--json", "--profile", "--backend=threads:2"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["received"] == 4
    assert report["leaves"]["sink"]["rejected"] == 1
    assert report["conserved"] is True


def test_the_profile_has_a_row_for_each_node(toy_graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["run", str(toy_graph), "--profile"]) == 0

    shown = capsys.readouterr().out
    for node in ("decode", "double", "sink"):
        assert re.search(rf"\b{node}\b.*\d", shown)


def test_options_of_run_go_before_those_of_the_file(toy_graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["run", str(toy_graph), "--max-frames=2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["received"] == 2

    assert cli.run(["run", str(toy_graph), "--max-frames=0"]) == 2
    assert "--max-frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "options", "status"),
    [
        ("numbers: [-1, 5]", (), 0),
        ("numbers: [-1, -2, 13]", (), 3),
        ("numbers: [1, -1], when_full: drop_newest, batch: 2", ("--backend=threads:2",), 0),
        ("numbers: []", (), 4),
        ("numbers: [], endless: true", ("--no-data-timeout=0.1",), 4),
    ],
)
def test_the_status_tells_whether_anything_came_and_anything_was_delivered(
    source: str, options: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text(re.sub(r"numbers: \[.*?\]", source, TOY_GRAPH))
    assert cli.run(["run", str(file), *options]) == status


def test_a_thread_that_dies_leaves_the_law_and_status_1(
    toy_graph: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def die(_replica: Replica, _frame: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(Replica, "process", die)
    assert cli.run(["run", str(toy_graph), "--backend=threads:2"]) == 1
    said = capsys.readouterr()
    assert re.match(r"received (\d+) = delivered 0 \+ rejected 0 \+ dropped \1\n", said.out)
    assert re.search(r"the thread replica-\d died: SystemExit: 0", said.err)


def test_the_time_that_a_stage_may_take_is_an_option_of_run(
    toy_graph: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["run", str(toy_graph), "--stage-timeout=60", "--backend=threads:2"]) == 0
    assert cli.run(["run", str(toy_graph), "--stage-timeout=60", "--backend=serial"]) == 2
    assert (
        "stage_timeout_s goes with threads:N, processes:N and dask, and the backend is serial"
        in capsys.readouterr().err
    )
    assert cli.run(["run", str(toy_graph), "--stage-timeout=0"]) == 2
    assert "--stage-timeout" in capsys.readouterr().err


def test_an_output_that_fails_ends_the_run_with_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "full.yaml"
    file.write_text(TOY_GRAPH.replace("sink/toy}", "sink/toy, fail_after: 1}"))

    assert cli.run(["run", str(file)]) == 1
    assert "No space left on device" in capsys.readouterr().out


def test_check_finds_nothing_wrong_or_everything(
    toy_graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["check", "--trust", str(toy_graph)]) == 0
    assert "4 nodes, nothing wrong: source -> decode -> double -> sink" in capsys.readouterr().out

    bad = tmp_path / "bad.yaml"
    bad.write_text(TOY_GRAPH.replace("by: 3", "bye: 3").replace("numbers: [1, 2, -3, 4]", "numbers: [one]"))
    assert cli.run(["check", "--trust", str(bad)]) == 2
    said = capsys.readouterr().err
    assert f"{bad}:3:" in said
    assert f"{bad}:5:" in said
    assert "did you mean 'by'" in said


def test_check_says_what_nothing_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(TOY_GRAPH.replace("  decode: {stage: decode/toy}\n", ""))

    assert cli.run(["check", "--trust", str(bad)]) == 2
    assert "reads Number, which nothing upstream writes" in capsys.readouterr().err


def test_show_draws_the_graph(toy_graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["show", "--trust", str(toy_graph)]) == 0

    drawn = capsys.readouterr().out
    assert drawn.startswith("flowchart LR")
    assert "decode --> double" in drawn


def test_stages_lists_every_stage_with_its_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["stages"]) == 0

    lines = {line.split()[0]: line.split(maxsplit=1)[1:] for line in capsys.readouterr().out.splitlines()}
    assert set(lines) >= set(registry.names())
    ours = [
        name for name in registry.names() if registry.load(name).__module__.partition(".")[0] in ("pipeline", "stages")
    ]
    assert len(ours) > 30
    assert all(lines[name] and lines[name][0].strip() for name in ours), (
        "other tests may have declared what has no docstring"
    )


@pytest.mark.parametrize("name", registry.names())
def test_every_stage_has_a_manual_with_its_parameters(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["stages", name]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith(name)
    for field in dataclasses.fields(registry.load(name)):
        assert f"  {field.name}: " in shown


def test_ones_own_stages_are_listed_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["stages", "double/toy", f"--module={TOY_STAGES}"]) == 0

    shown = capsys.readouterr().out
    assert "Doubles." in shown
    assert "by: int = 2" in shown


def test_the_schema_is_json_and_knows_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema"]) == 0

    schema = json.loads(capsys.readouterr().out)
    titles = {variant["title"] for variant in schema["properties"]["nodes"]["additionalProperties"]["oneOf"]}
    assert titles >= set(registry.names())


def test_a_command_that_cannot_be_loaded_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib.metadata import EntryPoint

    broken = EntryPoint("broken", "no_such_package.commands:broken", cli.ENTRY_POINTS)
    monkeypatch.setattr(cli, "_entry_points", lambda: {"broken": broken})

    assert cli.run(["--help"]) == 0
    assert cli.run(["broken"]) == 2
    assert "the command 'broken' cannot be loaded from no_such_package.commands:broken" in capsys.readouterr().err


@pytest.mark.parametrize(("signals", "status"), [(1, 0), (2, 130)])
def test_a_signal_ends_a_run_that_a_second_one_abandons(tmp_path: Path, signals: int, status: int) -> None:
    import signal

    file = tmp_path / "endless.yaml"
    slow = "  slow: {stage: slow/toy, seconds: 30}\n" if signals == 2 else ""
    numbers = "numbers: [1, 2], endless: true"
    file.write_text(TOY_GRAPH.replace("numbers: [1, 2, -3, 4]", numbers).replace("  sink:", slow + "  sink:"))
    running = subprocess.Popen(
        [sys.executable, "-m", "pipeline.command_line.cli", "run", str(file), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert running.stderr is not None
    heard = ""
    while "2 frames" not in heard:  # the progress line: both frames are there
        heard = running.stderr.readline()
        assert heard, "it ended by itself"
    running.send_signal(signal.SIGINT)
    if signals == 2:
        while "finishing what was received" not in heard:
            heard = running.stderr.readline()
        time.sleep(0.1)  # two that come at once are one
        running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=60)

    assert running.returncode == status
    report = json.loads(out)
    assert report["received"] == 2
    assert report["conserved"] is True
    assert report["abandoned"] == (2 if signals == 2 else 0)


OPENS_FOR_EVER = """\
import sys
import time

from pipeline import Context, Message, stage


class Opened(int):
    pass


class Running:
    def __call__(self, message: Message) -> Opened:
        return Opened(1)


@stage("slow/opens")
class Opens:
    "It never comes to an end."

    def open(self, context: Context) -> Running:
        print("opening", file=sys.stderr, flush=True)
        while True:
            time.sleep(0.01)
"""


def test_a_signal_while_a_stage_opens_ends_at_once(tmp_path: Path) -> None:
    import signal

    module, file = tmp_path / "opens_for_ever.py", tmp_path / "slow.yaml"
    module.write_text(OPENS_FOR_EVER)
    text = TOY_GRAPH.replace("modules: [", f'modules: ["{module}", ')
    file.write_text(text.replace("  decode:", "  opens: {stage: slow/opens}\n  decode:"))
    running = subprocess.Popen(
        [sys.executable, "-m", "pipeline.command_line.cli", "run", str(file)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    heard = ""
    while "opening" not in heard:
        heard = running.stderr.readline()
        assert heard, "it ended by itself"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)

    assert running.returncode == 130
    assert out.startswith("received 0 = delivered 0 + rejected 0 + dropped 0\n")
    assert "SIGINT: ending before anything is received" in err
    assert "Traceback" not in err


def test_importing_the_command_line_takes_nothing_heavy() -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import pipeline.command_line.cli, stages.commands.index.command"],
        capture_output=True,
        text=True,
        check=True,
    )

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"pipeline.command_line.cli", "typer"} <= imported, f"after {time.monotonic() - started:.1f} s"
    assert not {"numba", "numpy", "zmq", "streamz", "ruamel.yaml", "rich.live", "gemmi"} & imported


def test_a_parameter_is_set_on_the_command_line(toy_graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["run", str(toy_graph), "--set", "source.numbers=[7]", "--set", "run.backend=serial"]) == 0
    assert "received 1 = delivered 1" in capsys.readouterr().out
    assert cli.run(["run", str(toy_graph), "--set", "double.bye=7"]) == 2
    assert (
        capsys.readouterr().err
        == "streamajig: --set double.bye=7: node 'double' (double/toy) has no parameter 'bye'; did you mean 'by'?\n"
    )
    assert cli.run(["check", "--trust", str(toy_graph), "--set=run.stage_timeout_s=3", "--set=run.backend=serial"]) == 2
    assert "stage_timeout_s goes with threads:N" in capsys.readouterr().err


def test_index_sets_parameters_that_have_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*INDEX, "--peaks=msgpack", "--live-merge=4/mmm", "--set=merge.until.cc_half=0.9", "--set=hit.min_peaks=7"]
    assert cli.run([*words, "--print-graph"]) == 0
    graph = Graph.from_yaml(capsys.readouterr().out)
    assert graph.node("hit").stage.min_peaks == 7
    assert graph.node("merge").stage.until.cc_half == 0.9
    assert cli.run([*words, "--set=hitt.min_peaks=7"]) == 2
    assert "--set hitt.min_peaks=7: the graph has no node 'hitt'; did you mean 'hit'?" in capsys.readouterr().err
    assert cli.run([*words, "--set=sink.path=a.cell"]) == 2
    assert "would be written over a.cell" in capsys.readouterr().err


def test_a_graph_is_read_from_standard_input() -> None:
    text = TOY_GRAPH.replace("by: 3", "by: 4")
    words = [sys.executable, "-m", "pipeline.command_line.cli"]
    for command, wanted in {
        ("check", "--trust", "-"): "<stdin>: 4 nodes, nothing wrong: source -> decode -> double -> sink",
        ("run", "-", "--backend=serial"): "received 4 = delivered 3 + rejected 1 + dropped 0",
    }.items():
        done = subprocess.run([*words, *command], input=text, capture_output=True, text=True, check=True)
        assert wanted in done.stdout
    done = subprocess.run(
        [*words, "check", "--trust", "-"],
        input=text.replace("by: 4", "bye: 4"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("streamajig: <stdin>:5:31: node 'double' (double/toy) has no parameter 'bye'")


def test_stages_lists_a_kind_or_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["stages", "peaks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 8
    assert all(line.startswith("peaks/") for line in lines)
    assert any(re.match(r"peaks/hit +\w", line) for line in lines)
    assert cli.run(["stages", "peak"]) == 2
    assert "there is no kind of stage 'peak'; did you mean 'peaks'?" in capsys.readouterr().err
