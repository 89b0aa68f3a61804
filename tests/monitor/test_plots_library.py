"""The plots' library comes from an installed package, and only if its bytes are known."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys

import pytest

from stages.monitor import plots_library
from stages.monitor.plots_library import ASSETS, NoLibrary, read

if importlib.util.find_spec(plots_library.PACKAGE) is None:
    pytest.skip(f"{plots_library.PACKAGE} is not installed", allow_module_level=True)


@pytest.mark.parametrize("address", ASSETS)
def test_what_the_page_asks_for_is_read_and_nothing_of_the_package_runs(address: str) -> None:
    content = read(address)

    assert b"uPlot" in content or b".uplot" in content
    assert plots_library.PACKAGE not in sys.modules


def test_another_file_than_the_known_one_is_refused_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    known = ASSETS["library/uplot.js"]
    monkeypatch.setitem(ASSETS, "library/uplot.js", dataclasses.replace(known, path="youplot/vendor/uplot.min.css"))

    with pytest.raises(NoLibrary, match=r"has the SHA-256 df63\w+, not 2d27\w+; what is wanted is youplot 1\.0\.0"):
        read("library/uplot.js")


def test_a_file_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    known = ASSETS["library/uplot.js"]
    monkeypatch.setitem(ASSETS, "library/uplot.js", dataclasses.replace(known, path="youplot/vendor/none.js"))

    with pytest.raises(NoLibrary, match=r"youplot/vendor/none\.js cannot be read"):
        read("library/uplot.js")


def test_a_package_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots_library, "PACKAGE", "no-such-package-of-plots")

    with pytest.raises(
        NoLibrary, match=r"no-such-package-of-plots is not installed.*pip install 'streamajig\[monitor\]'"
    ):
        read("library/uplot.js")
