from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydantic
import pytest
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError
from toy_stages import Decode, Double, Doubled, Keep, Number, Numbers

from pipeline import Graph, RunOptions, UserError, stage
from pipeline.composing.settings import with_settings
from pipeline.parameters import ParameterError

GRAPH = Graph.chain(Numbers((1, 2)), Decode(), Double(by=3), Keep())


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Ends:
    """A parameter that is a map."""

    low: float = 0.0
    high: float | None = None

    def __post_init__(self) -> None:
        if self.high is not None and self.high < self.low:
            raise ValueError("high should be above low")


@stage("settings/within")
class Within:
    """Numbers within limits, which may be none."""

    ends: Ends | None = None
    words: dict[str, int] | None = None

    def __call__(self, number: Number) -> Doubled:
        return Doubled(number)


WITHIN = Graph.chain(Numbers(), Decode(), Within(ends=Ends(low=1.0)), Keep())


def test_a_parameter_is_changed_by_the_names_of_its_node_and_its_own() -> None:
    changed = GRAPH.set("double", by=5)

    assert changed == GRAPH.replace("double", Double(by=5))
    assert GRAPH.node("double").stage.by == 3
    assert with_settings(GRAPH, ["double.by=5"]) == changed


def test_the_options_of_the_run_are_set_like_those_of_a_node() -> None:
    changed = with_settings(GRAPH, ["run.max_frames=7", "run.backend=serial"])

    assert changed.options == RunOptions(max_frames=7, backend="serial")
    assert changed == GRAPH.set("run", max_frames=7, backend="serial")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("source.numbers=[4, 5]", (4, 5)),
        ("source.numbers=[]", ()),
        ("source.endless=true", True),
        ("source.when_full=drop_newest", "drop_newest"),
        ("source.when_full='a=b'", "a=b"),
        (" source . batch = 3", 3),
    ],
)
def test_values_are_written_as_in_yaml(text: str, wanted: Any) -> None:
    place = text.partition("=")[0].partition(".")[2].strip()

    assert getattr(with_settings(GRAPH, [text]).node("source").stage, place) == wanted


def test_a_part_of_a_map_is_changed_and_the_rest_of_it_stays() -> None:
    assert with_settings(WITHIN, ["settings.ends.high=2"]).node("settings").stage.ends == Ends(1.0, 2.0)
    assert WITHIN.set("settings.ends", high=2).node("settings").stage.ends == Ends(1.0, 2.0)
    assert WITHIN.set("settings.words", a=1, b=2).node("settings").stage.words == {"a": 1, "b": 2}
    assert WITHIN.set("settings", ends=None).node("settings").stage.ends is None
    assert with_settings(WITHIN, ["settings.ends="]).node("settings").stage.ends is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("doubel.by=1", "--set doubel.by=1: the graph has no node 'doubel'; did you mean 'double'?"),
        ("double.bye=1", "--set double.bye=1: node 'double' (double/toy) has no parameter 'bye'; did you mean 'by'?"),
        ("run.max_frame=1", "--set run.max_frame=1: run has no parameter 'max_frame'; did you mean 'max_frames'?"),
        (
            "run.max_frames=0",
            "--set run.max_frames=0: run: max_frames: input should be greater than or equal to 1 (found 0)",
        ),
        (
            "double.by=three",
            "--set double.by=three: node 'double' (double/toy): by: input should be a valid integer, unable to parse "
            "string as an integer (found 'three')",
        ),
        ("double.by", "--set double.by: write NODE.PARAMETER=VALUE, such as run.max_frames=100"),
        ("by=3", "--set by=3: write NODE.PARAMETER=VALUE, such as run.max_frames=100"),
        ("double..by=3", "--set double..by=3: write NODE.PARAMETER=VALUE, such as run.max_frames=100"),
        ("double.by=[3", "--set double.by=[3: this is not YAML: "),
        ("double.by=!!python/name:os.system", "name:os.system' is not taken"),
        ("double.by.x=3", "node 'double' (double/toy): by: it is 3 and no map, so there is no 'x' in it"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_with_the_setting(text: str, wanted: str) -> None:
    with pytest.raises(UserError) as caught:
        with_settings(GRAPH, [text])
    assert wanted in str(caught.value)


def test_what_is_wrong_within_a_map_is_said_with_its_place() -> None:
    for text, wanted in {
        "settings.ends.hihg=2": "ends: there is no 'hihg' in it; did you mean 'high'?",
        "settings.ends={hihg: 2}": "there is no parameter 'ends.hihg'",
        "settings.end.high=2": "node 'settings' (settings/within) has no parameter 'end'; did you mean 'ends'?",
        "settings.ends.high=0": "ends: high should be above low",
        "settings.words.a.b=1": "words.a: input should be a valid integer",
    }.items():
        with pytest.raises(UserError) as caught:
            with_settings(WITHIN, [text])
        assert wanted in str(caught.value)


def test_all_wrong_settings_are_said_at_once() -> None:
    with pytest.raises(UserError) as caught:
        with_settings(GRAPH, ["double.bye=1", "double.by=4", "sink.no=1"])
    assert len(str(caught.value).splitlines()) == 2


def made_up(value: int) -> int:
    if value > 3:
        raise PydanticCustomError("too_many", "{count} of {them} are too many", {"count": value})
    return value


@stage("settings/made_up")
class MadeUp:
    """Its validator has an error of its own."""

    n: pydantic.InstanceOf[int] | pydantic.SkipValidation[None] = 0
    m: int = 0

    @pydantic.field_validator("m")
    @classmethod
    def few(cls, m: int) -> int:
        return made_up(m)

    def __call__(self, number: Number) -> Doubled:
        return Doubled(number)


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: Double(buy=3), "Double has no parameter 'buy'; did you mean 'by'?"),
        (lambda: Double(by="x"), "Double: by: input should be a valid integer"),
        (lambda: Double(1, 2), "Double: "),
        (lambda: RunOptions(max_frame=3), "RunOptions has no parameter 'max_frame'; did you mean 'max_frames'?"),
        (lambda: MadeUp(m=5), "MadeUp: m: 5 of {them} are too many (found 5)"),
        (lambda: Within(ends={"low": 2, "high": 1}), "Within: ends: high should be above low"),
        (lambda: GRAPH.with_options(max_frames=-1), "run: max_frames: input should be greater than or equal to 1"),
    ],
)
def test_python_says_what_is_wrong_with_a_parameter_in_sentences(make: Callable[[], Any], wanted: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make()
    assert str(caught.value).startswith(wanted)
    assert "https://" not in str(caught.value) + repr(caught.value)
    assert isinstance(caught.value, UserError)
    assert isinstance(caught.value, pydantic.ValidationError)
    assert caught.value.error_count() == len(caught.value.errors()) == len(str(caught.value).splitlines())


def test_each_wrong_parameter_has_its_sentence() -> None:
    with pytest.raises(ParameterError) as caught:
        Numbers(numbers="x", batsh=3, endless="perhaps")  # type: ignore[arg-type,call-arg]
    assert len(str(caught.value).splitlines()) == 3
    assert "Numbers has no parameter 'batsh'; did you mean 'batch'?" in str(caught.value)
