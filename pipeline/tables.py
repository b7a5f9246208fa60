"""Tables for people: Markdown that reads as aligned plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

UNKNOWN = "-"


def render_table(table: pd.DataFrame) -> str:
    """A table of figures as Markdown; numbers have four significant digits."""
    rows = [[format_figure(value) for value in row] for row in table.itertuples(index=False)]
    return align_rows([[str(name) for name in table.columns], *rows])


def format_figure(value: Any) -> str:
    """Text as it is, whole numbers in full, others with four significant digits, `-` for what is undefined."""
    if pd.isna(value):
        return UNKNOWN
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def align_rows(rows: Sequence[Sequence[str]]) -> str:
    """Rows of fields as a Markdown table.

    Args:
        rows: the header, then the others; the first column is text, all others are numbers.

    Returns:
        The table, its columns padded to equal width, with a line feed at its end.
    """
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width if place == 0 else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "".join(_line(row, widths) for row in (rows[0], rule, *rows[1:]))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    fields = [first[0].ljust(first[1]), *(field.rjust(width) for field, width in others)]
    return f"| {' | '.join(fields)} |\n"
