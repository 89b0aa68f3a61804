"""Values keyed by their type: what stages tell each other outside frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class ByType(Mapping[type, object]):
    """One value of each type, read only; looking one up by its type gives a value of that type.

    Parameters
    ----------
    values
        The values, in order: a later one replaces an earlier one of the same type.
    allowed
        The types that may be asked for; None allows all. Asking for another is a TypeError: a stage sees what it has declared,
        so that what it declares is all that it depends on.

    >>> told = ByType([3, "three", 4], allowed=(int, float))
    >>> told[int], told.get(float)
    (4, None)
    >>> told.get(str)
    Traceback (most recent call last):
    TypeError: str is not declared: name it in the stage's `needs` or `uses`
    """

    def __init__(self, values: Iterable[object] = (), allowed: Iterable[type] | None = None) -> None:
        self._allowed = None if allowed is None else frozenset(allowed)
        self._values = {type(value): value for value in values if self._allowed is None or type(value) in self._allowed}

    def __getitem__(self, kind: type[T]) -> T:
        self._check(kind)
        return self._values[kind]  # type: ignore[return-value]  # what is kept under a type is of it

    def get(self, kind: type[T], default: Any = None) -> T | Any:
        """Return the value of this type, or the default."""
        self._check(kind)
        return self._values.get(kind, default)

    def __contains__(self, kind: object) -> bool:
        return kind in self._values

    def __iter__(self) -> Iterator[type]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"ByType({list(self._values.values())!r})"

    def _check(self, kind: type) -> None:
        if self._allowed is not None and kind not in self._allowed:
            raise TypeError(f"{kind.__name__} is not declared: name it in the stage's `needs` or `uses`")
