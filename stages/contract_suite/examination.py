"""A stage's promises, one after the other, and what was found of each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import UserError
from pipeline.contract import role_of
from pipeline.faults import describe
from stages.contract_suite import as_sink, as_source, as_stage, as_value
from stages.contract_suite.broken import BrokenError


@dataclass(frozen=True)
class Finding:
    """What was found of one promise: whether it holds, and a few words."""

    promise: str
    holds: bool
    said: str

    def __str__(self) -> str:
        return f"  {'held' if self.holds else 'FAILED':6}  {self.promise:24}  {self.said}".rstrip()


@dataclass(frozen=True)
class Examination:
    """What was found of a stage."""

    stage_name: str
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The promises that it does not keep."""
        return tuple(finding for finding in self.findings if not finding.holds)

    def __str__(self) -> str:
        return "\n".join([self.stage_name, *map(str, self.findings)])


Promise = tuple[str, Callable[[], str]]


def examine(stage: Any, others: Sequence[Any] = ()) -> Examination:
    """Try a stage, with its parameters; `others` may make what it reads (stages of the same file, say).

    What a source gives and a sink takes is tried as a run would; a sink's files are written into a folder that is then removed.
    """
    with tempfile.TemporaryDirectory(prefix="check-stage-") as folder:
        findings = tuple(_findings(stage, others, Path(folder)))
    return Examination(type(stage).stage_name, findings)


def _findings(stage: Any, others: Sequence[Any], folder: Path) -> Iterator[Finding]:
    for name, promise in as_value.promises(stage):
        finding = _found(name, promise)
        yield finding
        if name == as_value.TYPES and not finding.holds:
            return  # it cannot be opened then
    role = role_of(type(stage))
    try:
        if role == "source":
            rest: Iterator[Promise] = as_source.promises(stage)
        elif role == "sink":
            rest = as_sink.promises(stage, others, folder)
        else:
            rest = as_stage.promises(stage, others)
        for name, promise in rest:
            yield _found(name, promise)
    except UserError as error:
        yield Finding("can be tried", False, str(error))


def _found(name: str, promise: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, promise())
    except BrokenError as error:
        return Finding(name, False, str(error))
    except Exception as error:  # whatever the stage raises is what was found
        return Finding(name, False, str(error) if isinstance(error, UserError) else describe(error))
