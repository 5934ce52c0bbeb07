"""Just enough of protocol buffers' wire format to read ONNX files, and to add to one, without the package `onnx`."""

from __future__ import annotations

from collections.abc import Iterator

Span = tuple[int, int]
"""Where a field's bytes begin and end."""


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """An integer and where the next field begins.

    Raises:
        ValueError: it does not end within 64 bits.
    """
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint")


def fields(data: memoryview, span: Span) -> Iterator[tuple[int, int, Span]]:
    """Number, value and position of every field: a number for wire types 0, 1 and 5; for 2 the span counts.

    Raises:
        ValueError: the bytes are no fields.
    """
    at, end = span
    while at < end:
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            start = at
            value, at = varint(data, at)
            yield number, value, (start, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield number, int.from_bytes(data[at : at + size], "little"), (at, at + size)
            at += size
        elif wire == 2:
            length, at = varint(data, at)
            if at + length > end:
                raise ValueError("length")
            yield number, 0, (at, at + length)
            at += length
        else:
            raise ValueError("wire type")
    if at != end:
        raise ValueError("length")


def text(data: memoryview, span: Span) -> str:
    """A field as text."""
    return bytes(data[span[0] : span[1]]).decode("utf-8")


def numbers(data: memoryview, where: Span) -> list[int]:
    """A repeated integer, which may stand alone or packed; `where` of a lone one spans its own bytes."""
    found, at = [], where[0]
    while at < where[1]:
        number, at = varint(data, at)
        found.append(number)
    return found


def encoded(number: int, value: int | bytes | str) -> bytes:
    """One field: an integer, or bytes with their length.

    Examples:
        >>> encoded(1, 300).hex(), encoded(2, "ab").hex()
        ('08ac02', '12026162')
    """
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode("utf-8") if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
