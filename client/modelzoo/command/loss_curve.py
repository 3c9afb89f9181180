"""A curve as lines of text: braille dots where the terminal has them, stars elsewhere."""

from collections.abc import Sequence

__all__ = ["draw_curve"]

# Of a braille cell, two dots wide and four high, from the top (Unicode 15.0, 21.1).
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800


def draw_curve(
    points: Sequence[tuple[float, float]], width: int, height: int, *, braille: bool = True
) -> tuple[str, ...]:
    """`height` lines of at most `width` characters, the highest value at the top, with the highest and the lowest value
    written beside; () where there are fewer than two points. Points are (x, y), x ascending; y of those that meet in
    one column are averaged."""
    if len(points) < 2:
        return ()
    values = [y for _, y in points]
    low, high = min(values), max(values)
    marks = {0: f"{high:.4g}", height - 1: f"{low:.4g}"}
    margin = max(map(len, marks.values()))
    columns = max(1, width - margin - 2)
    wide, tall = (2, 4) if braille else (1, 1)
    grid = _plotted(points, columns * wide, height * tall, low, high)
    cells = [
        "".join(_cell(grid, row * tall, column * wide, braille=braille) for column in range(columns))
        for row in range(height)
    ]
    return tuple(f"{marks.get(row, ''):>{margin}} {text}".rstrip() for row, text in enumerate(cells))


def _plotted(
    points: Sequence[tuple[float, float]], width: int, height: int, low: float, high: float
) -> set[tuple[int, int]]:
    """Dots as (row, column), those above each other joined, so that a steep curve has no holes."""
    first, last = points[0][0], points[-1][0]
    scale = (width - 1) / (last - first) if last > first else 0.0
    by_column: dict[int, list[float]] = {}
    for x, y in points:
        by_column.setdefault(round((x - first) * scale), []).append(y)
    dots: set[tuple[int, int]] = set()
    before: tuple[int, int] | None = None
    for column, values in sorted(by_column.items()):
        share = (sum(values) / len(values) - low) / (high - low) if high > low else 0.5
        row = round((1 - share) * (height - 1))
        dots.add((row, column))
        if before is not None:
            dots |= set(_between(before, (row, column)))
        before = (row, column)
    return dots


def _between(a: tuple[int, int], b: tuple[int, int]) -> list[tuple[int, int]]:
    steps = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
    return [(round(a[0] + (b[0] - a[0]) * n / steps), round(a[1] + (b[1] - a[1]) * n / steps)) for n in range(1, steps)]


def _cell(dots: set[tuple[int, int]], row: int, column: int, *, braille: bool) -> str:
    if not braille:
        return "*" if (row, column) in dots else " "
    code = sum(_DOTS[y][x] for y in range(4) for x in range(2) if (row + y, column + x) in dots)
    return chr(_BLANK + code) if code else " "
