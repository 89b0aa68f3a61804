"""What kind a CBOR message is, found without decoding it: the source looks at each message only for this.

RFC 8949, https://www.rfc-editor.org/rfc/rfc8949
"""

from __future__ import annotations

_MOST_ITEMS = 4096
"""Values that are passed over until the wanted one; messages of DECTRIS begin with it."""

_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6
_INDEFINITE = 31
_LONGEST_TEXT = 64


def text_under(body: memoryview, key: str) -> str:
    """Return the text that stands under a key of the map that a CBOR message is; "" if there is none.

    >>> text_under(memoryview(bytes.fromhex("d9d9f7 a2 6161 8101 6474797065 63656e64")), "type")
    'end'
    """
    try:
        return _Walk(body).text_under(key.encode())
    except (IndexError, ValueError):  # cut off, or none
        return ""


class _Walk:
    """Goes along a message, from one value to the next."""

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._at = 0
        self._left = _MOST_ITEMS

    def text_under(self, wanted: bytes) -> str:
        major, count = self._head()
        while major == _TAG:
            major, count = self._head()
        if major != _MAP:
            return ""
        is_open = count < 0
        while is_open or count > 0:
            count -= 1
            key = self._text()
            if key == wanted:
                value = self._text()
                return "" if value is None else value.decode("utf-8", "replace")
            if key is None:  # what is behind the end of an open map is none, either
                return ""
            self._skip()
        return ""

    def _text(self) -> bytes | None:
        """Take a short text; what is none is left."""
        begin = self._at
        major, length = self._head()
        if major != _TEXT or not 0 <= length <= _LONGEST_TEXT or self._at + length > len(self._body):
            self._at = begin
            return None
        self._at += length
        return bytes(self._body[self._at - length : self._at])

    def _skip(self) -> None:
        """Pass over one value with all that is in it."""
        todo = 1
        while todo:
            major, count = self._head()
            todo -= 1
            if major in (_BYTES, _TEXT):
                if count < 0:
                    raise ValueError("text of open length")
                self._at += count
            elif major in (_ARRAY, _MAP):
                if count < 0:
                    raise ValueError("an array of open length")
                todo += count * (2 if major == _MAP else 1)
            elif major == _TAG:
                todo += 1
        if self._at > len(self._body):
            raise ValueError("cut off")

    def _head(self) -> tuple[int, int]:
        """Take the head of a value: its major type and its count, -1 for an open one."""
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many values")
        first = self._body[self._at]
        self._at += 1
        major, short = first >> 5, first & 31
        if short < 24:
            return major, short
        if short == _INDEFINITE:
            return major, -1
        if short > 27:
            raise ValueError("no length")
        size = 1 << (short - 24)
        if self._at + size > len(self._body):
            raise ValueError("cut off")
        self._at += size
        return major, int.from_bytes(self._body[self._at - size : self._at])
