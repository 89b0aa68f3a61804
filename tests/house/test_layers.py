"""What the folders promise beyond the order of the layers, which import-linter checks (``pyproject.toml``)."""

from __future__ import annotations

import importlib
import re

import grimp
import pytest
from source_files import PROJECT, Source, sources

import stages
from pipeline.contract import role_of
from pipeline.registry import load

KERNELS_MAY_IMPORT = {
    "__future__",
    "collections.abc",
    "math",
    "numba",
    "numba.extending",
    "numpy",
    "numpy.typing",
    "typing",
}
CONSTANTS = {"stages.pixels.columns"}
"""Modules that hold nothing but constants, which kernels of several folders share."""

NO_WORD_OF_THE_ENGINE = re.compile(
    r"crystal|lattice|peak|diffract|photon|detector|indexamajig|\.geom\b|\bhits?\b|\bindexed\b|integrat|refine|onda\b",
    re.I,
)


def is_kernels(name: str) -> bool:
    return "_kernels" in name.split(".")


@pytest.mark.parametrize("source", [s for s in sources("stages") if is_kernels(s.name)], ids=lambda s: s.name)
def test_kernels_import_numbers_the_compiler_constants_and_each_other(source: Source) -> None:
    own = source.name.partition("._kernels")[0] + "._kernels"
    for module, _ in source.imports():
        allowed = (
            module in KERNELS_MAY_IMPORT | CONSTANTS
            or module.startswith("stages.compute")
            or module == own
            or module.startswith(own + ".")
        )
        assert allowed, f"{source.name} imports {module}"


@pytest.mark.parametrize("source", sources("pipeline", "stages"), ids=lambda s: s.name)
def test_private_names_are_imported_in_their_own_package_only(source: Source) -> None:
    for module, name in source.imports():
        parts = [*module.split("."), *([name] if name else [])]
        private = next((i for i, part in enumerate(parts) if part.startswith("_") and not part.endswith("__")), None)
        if private is None or parts[0] not in ("pipeline", "stages"):
            continue
        owner = ".".join(parts[:private])
        at_home = source.package == owner or source.package.startswith(owner + ".")
        assert at_home, f"{source.name} imports the private {'.'.join(parts)}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("pipeline", "stages", exclude_type_checking_imports=True)
    waiting = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    while free := [module for module, needs in waiting.items() if not needs & waiting.keys()]:
        for module in free:
            del waiting[module]
    assert not waiting, f"these are in circles, or import what is: {sorted(waiting)}"


@pytest.mark.parametrize("source", sources("pipeline"), ids=lambda s: s.name)
def test_the_engine_knows_no_crystallography_in_code_or_in_words(source: Source) -> None:
    found = [line.strip() for line in source.text.splitlines() if NO_WORD_OF_THE_ENGINE.search(line)]
    assert not found


def test_every_folder_of_stages_is_a_kind_or_a_layer_and_holds_no_loose_module() -> None:
    assert [path.name for path in (PROJECT / "stages").glob("*.py")] == ["__init__.py"]
    folders = {path.name for path in (PROJECT / "stages").iterdir() if (path / "__init__.py").exists()}
    assert set(stages.KINDS) < folders


@pytest.mark.parametrize("kind", stages.KINDS)
def test_each_public_module_of_a_kind_is_one_stage_which_the_kind_hands_on(kind: str) -> None:
    face = importlib.import_module(f"stages.{kind}")
    handed_on = set(face.__all__)
    for path in sorted((PROJECT / "stages" / kind).glob("[!_]*.py")):
        cls = load(f"{kind}/{path.stem}")
        assert role_of(cls) in ("source", "stage", "sink")
        assert getattr(face, cls.__name__) is cls
        handed_on.remove(cls.__name__)
    assert not handed_on, "what a kind hands on are its stages"
