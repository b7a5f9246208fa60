"""Numbers out of a column that may hold text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LARGEST = 1e150  # its square is still a number
NULL_WORDS = ("", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nat")
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity)$"


def read_numbers(column: pd.Series, *, decimal: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Reads a column as numbers.

    Args:
        column: [N] numbers, text, or both; nulls and the words of `NULL_WORDS` (any case) are missing values.
        decimal: the decimal point of text.

    Returns:
        numbers [N], NaN where missing or unreadable; and where a value is neither a number nor missing [N].
    """
    if is_real(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return numbers, np.zeros(len(numbers), np.bool_)
    return _numbers_of_text(column, decimal)


def read_truths(column: pd.Series, *, decimal: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Reads a column as numbers, as `read_numbers` does, but that true and false (any case) are 1 and 0."""
    if pd.api.types.is_bool_dtype(column.dtype) and not isinstance(column.dtype, pd.CategoricalDtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.zeros(len(column), np.bool_)
    numbers, bad = read_numbers(column, decimal=decimal)
    if bad.any():
        words = as_text(column[bad]).str.strip().str.lower()
        truths = words.map({"true": 1.0, "false": 0.0}).to_numpy(dtype=np.float64, na_value=np.nan)
        numbers, bad = numbers.copy(), bad.copy()
        numbers[bad] = truths
        bad[bad] = np.isnan(truths)
    return numbers, bad


def _numbers_of_text(column: pd.Series, decimal: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Parses text as Arrow does, correctly rounded, so that one bad value changes no digit of the others."""
    words = as_text(column)
    missing = is_null_word(words)
    text = pc.utf8_trim_whitespace(pa.array(words.mask(missing), pa.large_string()))
    if decimal != ".":
        typed = pa.array([not isinstance(value, str) for value in column], pa.bool_())
        # A full stop is no decimal point here, nor is it a thousands separator: the value is unreadable.
        pointed = pc.replace_substring(pc.replace_substring(text, ".", "?"), decimal, ".")
        text = pc.if_else(typed, text, pointed)
    readable = pc.fill_null(pc.match_substring_regex(text, _NUMBER), False)
    numbers = pc.cast(pc.if_else(readable, text, pa.scalar(None, text.type)), pa.float64())
    return numbers.to_numpy(zero_copy_only=False), ~readable.to_numpy(zero_copy_only=False) & ~missing


def as_text(column: pd.Series) -> pd.Series:
    """Writes values as text.

    Args:
        column: [N] of any type.

    Returns:
        [N] text, null where the value is; whole numbers without a fraction, timestamps as in ISO 8601.
    """
    if column.dtype == object:  # not by astype, which decodes bytes
        return pd.Series([None if is_null(value) else _text_of(value) for value in column], dtype="str")
    text = column.astype("str").reset_index(drop=True)
    if pd.api.types.is_float_dtype(column.dtype):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        whole = (numbers == np.trunc(numbers)) & (np.abs(numbers) < 1e18)
        text[whole] = numbers[whole].astype(np.int64).astype(str)
    return text


def _text_of(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def is_null_word(text: pd.Series) -> NDArray[np.bool_]:
    """Finds what stands for nothing.

    Args:
        text: [N] as `as_text` gives it.

    Returns:
        Whether each is null or one of `NULL_WORDS`, blanks and case aside [N].
    """
    return np.asarray(text.isna() | text.str.strip().str.lower().isin(NULL_WORDS), dtype=np.bool_)


def is_real(column: pd.Series) -> bool:
    """Whether a column's type is that of whole or real numbers."""
    return pd.api.types.is_float_dtype(column.dtype) or pd.api.types.is_integer_dtype(column.dtype)


def is_null(value: Any) -> bool:
    """Whether one value of a column stands for nothing: None, NaN, NaT, NA."""
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))
