"""What the old Unix `compress` wrote (LZW, Welch 1984, codes of 9 to 16 bits), read back."""

__all__ = ["decompress"]

BITS_MIN, BITS_MAX = 9, 16
CLEAR = 256
# Codes come in groups of eight; where their width changes, the rest of a group is padding.
GROUP = 8


def decompress(data: bytes) -> bytes:
    """The text of one block-mode stream, its three bytes of header left out. Raises ValueError where it is no such."""
    first = [bytes([value]) for value in range(256)] + [b""]
    table, width = list(first), BITS_MIN
    start, count = 0, 0  # where the codes of this width begin, in bits, and how many were read
    previous = b""
    pieces: list[bytes] = []
    while start + (count + 1) * width <= 8 * len(data):
        code = _bits(data, start + count * width, width)
        count += 1
        if code == CLEAR:
            start, count = _next_group(start, count, width), 0
            table, width, previous = list(first), BITS_MIN, b""
            continue
        if code > len(table) or (code == len(table) and not previous):
            raise ValueError(f"code {code} stands for nothing yet: damaged, or not LZW")
        piece = table[code] if code < len(table) else previous + previous[:1]
        pieces.append(piece)
        if previous and len(table) < 1 << BITS_MAX:
            table.append(previous + piece[:1])
            # The writer's table is one ahead of the reader's.
            if len(table) == 1 << width and width < BITS_MAX:
                start, count = _next_group(start, count, width), 0
                width += 1
        previous = piece
    return b"".join(pieces)


def _bits(data: bytes, offset: int, width: int) -> int:
    """`width` bits from bit `offset` on, the least significant first."""
    byte = offset >> 3
    return (int.from_bytes(data[byte : byte + 4], "little") >> (offset & 7)) & ((1 << width) - 1)


def _next_group(start: int, count: int, width: int) -> int:
    return start + -(-count // GROUP) * GROUP * width
