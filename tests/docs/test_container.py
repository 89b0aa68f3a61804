"""The Dockerfile, as far as it goes without Docker: what it names is there, and its commands do what it takes them for."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from typer.main import get_command

from pipeline.command_line.cli import app

PROJECT = Path(__file__).resolve().parent.parent.parent
ABOUT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its words."""
    text = re.sub(r"(?m)^#.*\n", "", (PROJECT / "Dockerfile").read_text()).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def of(kind: str) -> list[str]:
    return [words for name, words in instructions() if name == kind]


def test_every_instruction_is_one_of_dockers():
    known = {"FROM", "COPY", "RUN", "ENV", "WORKDIR", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} == known
    assert instructions()[0][0] == "FROM"


def test_both_stages_have_the_same_python_and_one_that_the_project_is_made_for():
    images = {words.split()[0] for words in of("FROM")}
    (version,) = {image.partition(":")[2].partition("-")[0] for image in images}
    assert f"Programming Language :: Python :: {version}" in ABOUT["classifiers"]


def test_what_is_copied_from_a_stage_was_made_there():
    stages = {words.partition(" AS ")[2] for words in of("FROM")}
    for words in of("COPY"):
        source = re.match(r"--from=(\w+) (\S+)", words)
        if source is not None:
            assert source[1] in stages
            assert any(f"--wheel-dir {source[2]} " in run for run in of("RUN"))


def test_the_extras_that_are_installed_are_the_projects():
    (install,) = [words for words in of("RUN") if "pip install" in words]
    extras = re.findall(r"\[([\w,]+)\]", install)[0].split(",")
    assert set(extras) <= set(ABOUT["optional-dependencies"])


def test_commands_and_options_of_the_program_are_there():
    (entry,) = of("ENTRYPOINT")
    assert json.loads(entry)[0] in ABOUT["scripts"]
    commands = [shlex.split(words)[1:] for words in of("RUN") if words.startswith("streamajig ")]
    assert commands
    group = get_command(app)
    for name, *options in commands:
        context = group.make_context("streamajig", [name], resilient_parsing=True)
        command = group.get_command(context, name).make_context(name, [], resilient_parsing=True).command
        assert set(options) <= {flag for parameter in command.params for flag in parameter.opts}


@pytest.mark.slow
def test_code_that_lies_in_the_programs_folder_is_packed_into_the_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", "streamajig.py"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes((PROJECT / name).read_bytes())
    folder = source / "stages" / "compute" / "portable_code" / "stages.one"
    folder.mkdir(parents=True)
    for package in ("pipeline", "stages", "stages/compute"):
        (source / package).mkdir(exist_ok=True)
        (source / package / "__init__.py").touch()
    for name in ("one.f-1.py313.nbi", "one.f-1.py313.1.nbc", "one.f-1.py313.lock"):
        (folder / name).touch()

    (step,) = [words for words in of("RUN") if "pip wheel" in words]
    words = [{"/wheels": str(tmp_path), "/source": str(source)}.get(word, word) for word in shlex.split(step)[1:]]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)

    (wheel,) = tmp_path.glob("streamajig-*.whl")
    packed = {Path(name).name for name in zipfile.ZipFile(wheel).namelist() if "portable_code" in name}
    assert packed == {"one.f-1.py313.nbi", "one.f-1.py313.1.nbc"}
