"""A CSV file as a table: its shape is checked here, its numbers where they are needed.

Split so that a user may drop bad rows: which columns must hold numbers is known only once the law
and the selection of rows are.
"""

import csv
import io
import pathlib
import re

import numpy as np
import pandas as pd

from scaling.errors import UserError

RUN_NAMES = ("run_id", "run", "run_name", "name")  # columns that may name a run, the first found
_WORDS = (*RUN_NAMES, "status", "reason")  # columns of text, whatever they hold
_MISSING = ["", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "null"]
_FORMATS = (
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook; save it as CSV"),
    (b"PAR1", "a Parquet file; save it as CSV"),
    (b"\xff\xfe", "UTF-16, or a binary file; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16, or a binary file; save it as UTF-8"),
)
_SEPARATORS = ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"))
# pandas before 3 reads the last digit of a float with an error; from 3 on it is exact by itself
_EXACT = {"float_precision": "round_trip"} if int(pd.__version__.split(".")[0]) < 3 else {}


def read_table(path: str | pathlib.Path, expected: str = "n_params, n_tokens, loss") -> pd.DataFrame:
    """All rows of a CSV in UTF-8, commas between fields, names in the first line.

    A column is of numbers (empty fields and `nan` are NaN) or of True and False where every field can
    be read so, else of text; those that name runs always are text. Rows are counted from 1 below the
    header, blank lines not counted, and row i has index i - 1. `expected` columns are named in the
    errors. Raises `UserError` for what is not such a table, naming row or column.
    """
    path = pathlib.Path(path)
    text = _text(path, expected)
    header = _header(text, str(path), expected)
    _check_fields(text, len(header), str(path))
    words = {name: str for name in header if name.lower() in _WORDS}
    try:
        frame = pd.read_csv(
            io.StringIO(text), names=header, header=0, dtype=words, skipinitialspace=True,
            index_col=False, low_memory=False, keep_default_na=False, na_values=_MISSING, **_EXACT,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, OverflowError) as error:
        raise UserError(f"{path}: not a CSV: {str(error).strip().splitlines()[0]}") from None
    for name in header:
        column = frame[name]
        if name not in words and not pd.api.types.is_numeric_dtype(column) and column.notna().any():
            # integers beyond 64 bits are text to pandas
            if np.isfinite(number(column[column.first_valid_index()])):
                values = numbers(column)
                if not np.isnan(values[column.notna()]).any():
                    frame[name] = values
    return frame


def number(text: object) -> float:
    """The number that a field holds, or nan. Python's 1_000 is a habit of thousands, not of tables."""
    if isinstance(text, str) and "_" in text:
        return np.nan
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan
    except OverflowError:  # an integer beyond floats
        return np.inf


def numbers(column: pd.Series) -> np.ndarray:
    """Float64 values of a column; nan where a field is no number."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=float, na_value=np.nan)
    return np.array([number(value) for value in column], float)


def why_no_number(text: str) -> str:
    """Why a field is refused as a number, with a hint where the habit behind it is known."""
    said = f"{text!r} is not a number"
    if re.fullmatch(r"\s*[-+]?\d{1,3}([, '_]\d{3})+(\.\d*)?\s*", text):
        return f"{said}: write it without thousands separators"
    if re.fullmatch(r"\s*[-+]?\d+,\d+\s*", text):
        return f"{said}: write it with a decimal point"
    if scaled := re.fullmatch(r"\s*([-+]?[\d.]+)\s*([kKmMbBgGtT])\s*", text):
        zeros = {"k": 3, "m": 6, "b": 9, "g": 9, "t": 12}[scaled[2].lower()]
        return f"{said}: write it as {scaled[1]}e{zeros}"
    if re.fullmatch(r"\s*[-+]?[\d.]+\s*%\s*", text):
        return f"{said}: write it without the percent sign"
    return said


def _text(path: pathlib.Path, expected: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    for magic, what in _FORMATS:
        if raw.startswith(magic):
            raise UserError(f"{path}: {what}; expected a CSV of runs (not a binary file)")
    try:
        text = raw.decode("utf-8-sig")
        if "\0" in text:
            raise ValueError
    except ValueError:
        raise UserError(f"{path}: a binary file, or text that is not UTF-8; expected a CSV of runs"
                        " in UTF-8") from None
    if not text.strip():
        raise UserError(f"{path}: empty; expected a header with {expected} and rows")
    if text.lstrip()[0] in "{[<":
        kind = "HTML or XML" if text.lstrip()[0] == "<" else "JSON"
        raise UserError(f"{path}: looks like {kind}; expected a CSV with a header: {expected}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _records(text: str, where: str):
    """The fields of each line that is not blank, header first."""
    row = -1
    try:
        for fields in csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True):
            if fields and (len(fields) > 1 or fields[0].strip()):
                row += 1
                yield row, fields
    except csv.Error as error:
        at = f"row {row + 1}" if row >= 0 else "the header"
        reason = "a quote that is not closed" if "unexpected end" in str(error) else str(error)
        raise UserError(f"{where}: not a CSV: {at}: {reason}") from None


def _header(text: str, where: str, expected: str) -> list[str]:
    _, fields = next(_records(text, where))
    names = [" ".join(field.split()) for field in fields]
    line = text.lstrip().split("\n", 1)[0]
    for mark, plural in _SEPARATORS:
        if len(names) == 1 and mark in line:
            raise UserError(f"{where}: fields are separated by {plural}; expected commas")
    if all(np.isfinite(number(name)) for name in names):
        raise UserError(f"{where}: the first line holds numbers; expected a header with {expected}")
    for i, name in enumerate(names):
        if name and name in names[:i]:
            raise UserError(f"{where}: two columns are named {name} (columns {names.index(name) + 1} and"
                            f" {i + 1}); expected different names")
    # pandas writes its index under an empty name, and reads it so
    return [name or f"Unnamed: {i}" for i, name in enumerate(names)]


def _check_fields(text: str, n_columns: int, where: str) -> None:
    """Refuses rows with more or fewer fields than the header."""
    if '"' not in text:  # then commas and line ends mean what they say, and counting is quick
        data = np.frombuffer(text.rstrip("\n").encode() + b"\n", np.uint8)
        ends, commas = np.flatnonzero(data == ord("\n")), np.flatnonzero(data == ord(","))
        fields = np.diff(np.searchsorted(commas, ends), prepend=0) + 1
        blank = np.diff(ends, prepend=-1) == 1
        if ((fields == n_columns) | blank).all():
            return
    for row, fields in _records(text, where):
        if len(fields) != n_columns:
            raise UserError(f"{where}: not a CSV: row {row} has {len(fields)} field"
                            f"{'s' * (len(fields) != 1)}, and the header {n_columns}")
