"""Amounts in words."""

from __future__ import annotations


def several(count: int, what: str) -> str:
    """Say how many.

    >>> several(1, "frame"), several(2, "frame")
    ('1 frame', '2 frames')
    """
    return f"{count} {what}" + ("" if count == 1 else "s")


def size(num_bytes: float, unit: str = "B") -> str:
    """Bytes, decimal: memory and network are both spoken of so. `unit` is what single ones are called.

    >>> size(999), size(123, "bytes"), size(18_000_000), size(2.4e9)
    ('999 B', '123 bytes', '18.0 MB', '2.4 GB')
    """
    for name, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {name}"
    return f"{num_bytes:.0f} {unit}"


def duration(seconds: float) -> str:
    """A time that passes, in as few words as tell it.

    >>> duration(0.4), duration(59), duration(95), duration(4860), duration(100_000)
    ('0 s', '59 s', '1 min 35 s', '1 h 21 min', '27 h 46 min')
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
