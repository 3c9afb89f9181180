"""Walks over pickle opcodes, to tell a pickle from other bytes. Arguments are skipped, never read into objects.

The opcodes and what they do to the stack are those of Python's own `pickletools`.
"""

import pickletools
import re
from typing import BinaryIO

__all__ = ["is_pickle"]

OPCODES_MAX = 100_000  # so many that make sense are no accident
LINE_BYTES_MAX = 64 * 1024  # that is looked at; longer ones are passed over
LINES_BYTES_MAX = 64 * 1024 * 1024

_OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
_CALLS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
# One that is cut off or broken behind a call has made the call before anybody sees that.
_TUPLES = frozenset({"TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
# What a tuple that was put aside comes back by.
_AGAIN = frozenset({"GET", "BINGET", "LONG_BINGET", "DUP"})
_NAMES = frozenset({"GLOBAL", "STACK_GLOBAL"})
_KEEPS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_COLLECTS = frozenset({"MARK", "PUT", "BINPUT", "LONG_BINPUT"})
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_DOTTED_NAME = rb"[A-Za-z_][A-Za-z0-9_.<>]*"
_LINES = {
    "INT": re.compile(rb"\s*[+-]?[0-9]+\s*"),
    "LONG": re.compile(rb"\s*[+-]?[0-9]+L?\s*"),
    "FLOAT": re.compile(rb"\s*[+-]?(?:[0-9.]+(?:[eE][+-]?[0-9]+)?|inf|nan)\s*"),
    "STRING": re.compile(rb"\s*(?:'[^\x00]*'|\"[^\x00]*\")\s*"),
    "PERSID": re.compile(rb"[\x20-\x7e]*"),
    "GET": re.compile(rb"[0-9]+"),
    "PUT": re.compile(rb"[0-9]+"),
    "GLOBAL": re.compile(_DOTTED_NAME),
    "INST": re.compile(_DOTTED_NAME),
}
_TWO_LINES = frozenset({"GLOBAL", "INST"})


class _Walk:
    """The state of one walk: what is on the stack (True for a mark), which opcodes came, and how many items the last
    opcode took of those that take all down to a mark.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.seen: set[str] = set()
        self.count = 0
        self.taken = 0
        self._file = file
        self._size = size
        self._stack: list[bool] = []

    def step(self) -> str | None:
        """Walk over one opcode and its argument: its name, or None if these bytes are none here."""
        code = self._file.read(1)
        opcode = _OPCODES.get(code[0]) if code else None
        if opcode is None or not self._skip_argument(opcode) or not self._apply(opcode):
            return None
        self.seen.add(opcode.name)
        self.count += 1
        return opcode.name

    def _skip_argument(self, opcode: pickletools.OpcodeInfo) -> bool:
        if opcode.arg is None:
            return True
        if opcode.arg.n == pickletools.UP_TO_NEWLINE:
            lines = [self._line(opcode.name) for _ in range(2 if opcode.name in _TWO_LINES else 1)]
            return all(lines)
        if opcode.arg.n >= 0:
            argument = self._file.read(opcode.arg.n)
            return len(argument) == opcode.arg.n and not (opcode.name == "PROTO" and argument[0] > 5)
        length = self._file.read(_LENGTH_BYTES[opcode.arg.n])
        if len(length) != _LENGTH_BYTES[opcode.arg.n]:
            return False
        end = self._file.tell() + int.from_bytes(length, "little")
        self._file.seek(min(end, self._size))
        return end <= self._size

    def _line(self, name: str) -> bool:
        line = self._file.readline(LINE_BYTES_MAX)
        pattern = _LINES.get(name)
        if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            return self._pass_over_line()
        return line.endswith(b"\n") and (pattern is None or pattern.fullmatch(line[:-1].rstrip(b"\r")) is not None)

    def _pass_over_line(self) -> bool:
        for _ in range(LINES_BYTES_MAX // LINE_BYTES_MAX):
            piece = self._file.readline(LINE_BYTES_MAX)
            if len(piece) < LINE_BYTES_MAX or piece.endswith(b"\n"):
                return piece.endswith(b"\n")
        return False

    def _apply(self, opcode: pickletools.OpcodeInfo) -> bool:
        before, after = opcode.stack_before, opcode.stack_after
        if pickletools.markobject in before or (opcode.name == "POP" and self._stack[-1:] == [True]):
            if True not in self._stack:
                return False
            self.taken = 0
            while not self._stack.pop():
                self.taken += 1
            before = before[: before.index(pickletools.markobject)] if pickletools.markobject in before else []
        if len(self._stack) < len(before):
            return False
        del self._stack[len(self._stack) - len(before) :]
        self._stack.extend(kind is pickletools.markobject for kind in after)
        return True


def is_pickle(file: BinaryIO) -> bool:
    """Whether the file, read from its start, is one that `pickle.load` would follow.

    With the mark of protocol 2 and later (0x80), that is one that imports something or comes to its end. Earlier
    protocols are plain characters, so only one counts that imports something and calls it, or that comes to its end and
    calls something on the way or ends where the file does: the text `N.B.` begins with a valid pickle of None.
    """
    size = file.seek(0, 2)
    file.seek(0)
    while (follows := _follows(file, size)) is None:
        pass
    return follows


def _follows(file: BinaryIO, size: int) -> bool | None:
    """Whether `pickle.load` would do something from here on; None where it comes to a harmless end and may go on."""
    walk = _Walk(file, size)
    has_mark = False
    before = ""
    while (name := walk.step()) is not None:
        if name == "PROTO" and walk.count == 1:
            has_mark = True
        if name == "STOP":
            if has_mark or bool(walk.seen & _CALLS) or (bool(walk.seen & _COLLECTS) and file.tell() == size):
                return True
            # One pickle may follow another in a file, and the first be for those that look at no more.
            return None if _begins_with_mark(file) else False
        if walk.count == OPCODES_MAX or _has_called(name, before, walk):
            return True
        before = before if name in _KEEPS else name
        # joblib and others put raw bytes between the opcodes, where the walk ends.
        if has_mark and name in _NAMES:
            return True
    return False


def _has_called(name: str, before: str, walk: _Walk) -> bool:
    """Whether the opcode calls something that was named, with arguments: no text gets so far by accident."""
    if name == "INST":
        return walk.taken > 0
    if not walk.seen & _NAMES:
        return False
    return (name in ("REDUCE", "NEWOBJ") and before in _TUPLES | _AGAIN) or (name == "OBJ" and walk.taken > 1)


def _begins_with_mark(file: BinaryIO) -> bool:
    at = file.tell()
    mark = file.read(1)
    file.seek(at)
    return mark == b"\x80"
