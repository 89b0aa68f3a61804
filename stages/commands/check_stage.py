"""``streamajig check-stage``: a file of stages through the suite that every stage passes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the stages in the file that have it, as in YAML."),
]


def check_stage(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="The file with the stages.", show_default=False)],
    set_: Sets = None,
) -> None:
    """Put the stages of a file through the contract suite, on simulated frames, and say what held and what did not.

    Types, manual, parameters through YAML and a pickle, inputs left alone, the same result again, results that can be pickled,
    nothing left open, and how long a frame takes. The suite loads the file, which runs it.

    Exit status: 0 all held; 1 something did not; 2 the file cannot be loaded, or declares no stage.
    """
    from pydantic import ValidationError

    from pipeline.errors import UserError
    from pipeline.functions import must_be_given
    from pipeline.hints import did_you_mean
    from pipeline.parameters import ParameterError, names_of
    from pipeline.registry import declared_in, load_module
    from stages.contract_suite import examine

    load_module(file)
    classes = declared_in(file)
    if not classes:
        raise UserError(f'{file} declares no stage: write @stage("kind/which") above a class or a function')
    given = _parameters(set_ or [])
    known = {name for cls in classes for name in cls.__dataclass_fields__}
    for name in given.keys() - known:
        raise UserError(f"--set {name}: no stage of {file} has this parameter" + did_you_mean(name, known))
    stages = []
    for cls in classes:
        parameters = {name: value for name, value in given.items() if name in cls.__dataclass_fields__}
        missing = [name for name in must_be_given(cls) if name not in parameters]
        if missing:
            example = " ".join(f"--set {name}=VALUE" for name in missing)
            raise UserError(f"{cls.stage_name} has parameters that must be given: {example}")
        try:
            stages.append(cls(**parameters))
        except ValidationError as error:
            raise ParameterError.of(cls.stage_name, error, names_of(cls)) from None
    broken = 0
    for stage in stages:
        found = examine(stage, stages)
        broken += len(found.broken)
        sys.stdout.write(f"{found}\n")
    if broken:
        sys.stdout.write(f"{broken} {'promise does' if broken == 1 else 'promises do'} not hold\n")
        raise typer.Exit(1)


def _parameters(words: list[str]) -> dict[str, Any]:
    """Parameters by name; values are read as YAML."""
    from pipeline.composing.yaml.text import value_of
    from pipeline.errors import UserError

    given = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise UserError(f"--set {word}: write NAME=VALUE")
        try:
            given[name] = value_of(text)
        except UserError as error:
            raise UserError(f"--set {word}: {error}") from error
    return given
