"""Full-text search over columns of a table, kept by the database itself: whoever writes the table keeps the index.

SQLite: an FTS5 table over the table's own text, and three triggers. PostgreSQL: a generated tsvector column and a GIN
index. Both split text at whatever is no letter or digit, compare without regard to case, and know no languages: names
of models are words of none.

A migration that makes such a table anew (SQLite's way to change more than a column) has to drop the index before and
create it again after.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, FunctionElement, literal, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import Boolean

__all__ = ["TextIndex", "words_of"]

WORDS_MAX = 16
# Shorter words are looked for as they are, longer ones also as beginnings: two letters begin half of all words.
PREFIX_CHARACTERS_MIN = 3
# PostgreSQL has as many kinds of lexemes.
COLUMNS_MAX = 4
# PostgreSQL refuses a row whose words take over 1 MiB; what comes after so many characters is not found there.
TEXT_CHARACTERS_MAX = 200_000
_KINDS = "ABCD"


def words_of(query: str) -> tuple[str, ...]:
    """The different words in a query, at most 16, in lower case."""
    return tuple(dict.fromkeys(re.findall(r"[^\W_]+", query.lower())))[:WORDS_MAX]


@dataclass(frozen=True, slots=True)
class TextIndex:
    """An index over the `columns` of `table`, at most 4, whose integer key is the column `key`."""

    table: str
    key: str
    columns: tuple[str, ...]

    def create(self, connection: Connection) -> None:
        """Make the index of everything that the table holds; for migrations."""
        for statement in self._sqlite() if connection.dialect.name == "sqlite" else self._postgresql():
            connection.execute(text(statement))

    def drop(self, connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            for event in ("insert", "update", "delete"):
                connection.execute(text(f"DROP TRIGGER {self.table}_text_{event}"))
            connection.execute(text(f"DROP TABLE {self.table}_text"))
        else:
            connection.execute(text(f"ALTER TABLE {self.table} DROP COLUMN {self.table}_text"))

    def has_words(
        self, key: ColumnElement[int], words: Sequence[str], columns: int | None = None
    ) -> ColumnElement[bool]:
        """Whether each of `words` stands, or begins a word, in the first so many columns of the row with that key.

        `words` come from `words_of`, at least one.
        """
        kinds = _KINDS[: columns or len(self.columns)]
        within = " ".join(self.columns[: len(kinds)])
        fts5 = " AND ".join(f'"{word}"{"*" if _is_prefix(word) else ""}' for word in words)
        tsquery = " & ".join(f"{word}:{'*' if _is_prefix(word) else ''}{kinds}" for word in words)
        return cast(ColumnElement[bool], _HasWords(key, literal(f"{{{within}}} : ({fts5})"), literal(tsquery)))

    def _sqlite(self) -> list[str]:
        index, columns = f"{self.table}_text", ", ".join(self.columns)
        new, old = (", ".join(f"{row}.{column}" for column in self.columns) for row in ("new", "old"))
        # Names are a migration's, never a caller's.
        remove = f"INSERT INTO {index} ({index}, rowid, {columns}) VALUES ('delete', old.{self.key}, {old});"  # noqa: S608
        add = f"INSERT INTO {index} (rowid, {columns}) VALUES (new.{self.key}, {new});"  # noqa: S608
        changed = " OR ".join(f"old.{column} IS NOT new.{column}" for column in self.columns)
        return [
            f"CREATE VIRTUAL TABLE {index} USING fts5({columns}, content='{self.table}', content_rowid='{self.key}', "
            f"prefix='{PREFIX_CHARACTERS_MIN}', tokenize='unicode61 remove_diacritics 0')",
            f"CREATE TRIGGER {index}_insert AFTER INSERT ON {self.table} BEGIN {add} END",
            f"CREATE TRIGGER {index}_update AFTER UPDATE OF {columns} ON {self.table} WHEN {changed} "
            f"BEGIN {remove} {add} END",
            f"CREATE TRIGGER {index}_delete AFTER DELETE ON {self.table} BEGIN {remove} END",
            f"INSERT INTO {index} ({index}) VALUES ('rebuild')",  # noqa: S608
        ]

    def _postgresql(self) -> list[str]:
        # Its own parser takes `zoo/resnet.v1` for a file and a host, one word each.
        document = " || ".join(
            f"setweight(to_tsvector('simple', {_plain(column)}), '{kind}')"
            for column, kind in zip(self.columns, _KINDS, strict=False)
        )
        index = f"{self.table}_text"
        # A colon before a name would be a parameter of ours.
        add = f"ALTER TABLE {self.table} ADD COLUMN {index} tsvector GENERATED ALWAYS AS ({document}) STORED"
        return [
            add.replace(":", r"\:"),
            f"CREATE INDEX {index}_index ON {self.table} USING gin ({index})",
        ]


class _HasWords(FunctionElement[bool]):
    """Its clauses: the key, the query in FTS5's language, the query in that of to_tsquery."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        # Where an engine has no booleans, ` = 1` would be put behind it, and SQLite then reads every row to find some.
        return self


@compiles(_HasWords, "sqlite")
def _in_sqlite(element: _HasWords, compiler: SQLCompiler, **kw: Any) -> str:
    key, fts5, _ = cast(Any, element).clauses
    index = f"{key.table.name}_text"
    asked = compiler.process(fts5, **kw)
    return f"{compiler.process(key, **kw)} IN (SELECT rowid FROM {index} WHERE {index} MATCH {asked})"  # noqa: S608


@compiles(_HasWords, "postgresql")
def _in_postgresql(element: _HasWords, compiler: SQLCompiler, **kw: Any) -> str:
    key, _, tsquery = cast(Any, element).clauses
    table = key.table.name
    return f"{table}.{table}_text @@ to_tsquery('simple', {compiler.process(tsquery, **kw)})"


def _plain(column: str) -> str:
    return f"regexp_replace(left({column}::text, {TEXT_CHARACTERS_MAX}), '[^[:alnum:]]+', ' ', 'g')"


def _is_prefix(word: str) -> bool:
    return len(word) >= PREFIX_CHARACTERS_MIN
