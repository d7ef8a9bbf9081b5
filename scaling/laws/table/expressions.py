"""Conditions on the rows of a table, as a user types them: `loss > 5 and dataset == "rw"`.

A small part of Python's grammar, read by `ast` and evaluated here, column by column; nothing is ever
executed. Names are columns (in backticks where they are no plain word); `row` is the row's number,
counted from 1 below the header. Numbers, quoted text, True, False; `+ - * / **`; comparisons, chained
ones too; `and or not` (or `& | ~` between parentheses); `in [..]`, `not in [..]`; `log log10 exp sqrt
abs`, `min` and `max` of several values, and `isnan` or `isnull` for what is empty or no number.
"""

import ast
import dataclasses
import functools
import re
import warnings
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.laws.table.csv_table import number, numbers
from scaling.laws.table.identity import row_numbers

_LONGEST, _DEEPEST = 1000, 50
_FUNCTIONS: dict[str, Callable] = {
    "log": np.log, "log10": np.log10, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs,
}
_SEVERAL: dict[str, Callable] = {"min": np.minimum, "max": np.maximum}
_EMPTY = ("isnan", "isnull")
_ARITHMETIC: dict[type, Callable] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
}
_ORDER: dict[type, Callable] = {
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal,
}
_SINGLE_EQUALS = re.compile(r"(?<![=!<>])=(?!=)")
_MARK = "ǀ"  # a letter to Python, and to nobody else: names what stands in backticks


@dataclasses.dataclass(frozen=True)
class _Value:
    """Exactly what the words mean: numbers, text, truth. A column of both numbers and text has both.

    Arrays are (rows,) for columns and () for constants.
    """

    said: str
    numbers: np.ndarray | None = None
    text: np.ndarray | None = None
    truth: np.ndarray | None = None


def condition(expression: str, frame: pd.DataFrame) -> np.ndarray:
    """Which rows an expression is true of, (rows,) of bool. Comparisons with nan are false, `!=` true.

    Raises `UserError` in one line: a syntax error and where, an unknown column and the nearest one,
    text compared with numbers, a value that is neither true nor false.
    """
    evaluator = _Evaluator(expression, frame)
    with np.errstate(all="ignore"):
        value = evaluator.value(evaluator.tree, 0)
    return np.broadcast_to(evaluator.truth(value), len(frame)).copy()


class _Evaluator:
    def __init__(self, expression: str, frame: pd.DataFrame):
        if not expression.strip():
            raise UserError("an empty expression; expected a condition such as: loss > 5")
        self.expression = " ".join(expression.split("\n")).strip()
        if len(self.expression) > _LONGEST:
            raise self.error(f"{len(self.expression)} characters long; at most {_LONGEST} are read")
        self.frame = frame
        self.columns = {str(name): name for name in frame.columns}
        source, self.quoted = _without_backticks(self.expression)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.tree = ast.parse(source, mode="eval").body
        except SyntaxError as error:
            hint = "write == to compare" if _SINGLE_EQUALS.search(self.expression) else (
                "a column whose name is no plain word stands in backticks")
            raise self.error(f"not an expression, at {self.place(error.offset)}:"
                             f" {error.msg.split('. ')[0]} ({hint})") from None
        except (ValueError, MemoryError, RecursionError):
            raise self.error("not an expression that can be read") from None

    def error(self, problem: str) -> UserError:
        shown = self.expression if len(self.expression) <= 80 else self.expression[:77] + "..."
        return UserError(f"expression {shown!r}: {problem}")

    def place(self, offset: int | None) -> str:
        if not offset or offset > len(self.expression):
            return "its end"
        return f"character {offset} ({self.expression[offset - 1:offset + 9]!r})"

    def value(self, node: ast.AST, depth: int) -> _Value:
        if depth > _DEEPEST:
            raise self.error(f"nested deeper than {_DEEPEST}")
        rules: dict[type, Callable] = {
            ast.Name: self._name, ast.Constant: self._constant, ast.UnaryOp: self._unary,
            ast.BoolOp: self._joined, ast.BinOp: self._binary, ast.Compare: self._comparison,
            ast.Call: self._call,
        }
        if type(node) not in rules:
            raise self.error(f"{_node_name(node)} is not understood, at"
                             f" {self.place(getattr(node, 'col_offset', 0) + 1)}; expected columns,"
                             " numbers, quoted text, comparisons, and, or, not, in [..], + - * / **")
        return rules[type(node)](node, depth + 1)

    def truth(self, value: _Value) -> np.ndarray:
        if value.truth is None:
            raise self.error(f"{value.said} is {_kind(value)}, neither true nor false; expected a"
                             " condition such as: loss > 5 (with & and |, parentheses about each side)")
        return value.truth

    def number(self, value: _Value) -> np.ndarray:
        if value.numbers is None:
            raise self.error(f"{value.said} is {_kind(value)}; expected numbers there")
        return value.numbers

    def _name(self, node: ast.Name, depth: int) -> _Value:
        name = self.quoted.get(node.id, node.id)
        if name in self.columns:
            return _column(name, self.frame[self.columns[name]])
        if name == "row":
            return _Value("row", numbers=row_numbers(self.frame).astype(float))
        if name == "inf":
            return _Value("inf", numbers=np.array(np.inf))
        if name in ("nan", "null", "NaN"):
            raise self.error(f"{name} equals nothing; write isnan(..) or isnull(..)")
        if node.id not in self.quoted and name in (*_FUNCTIONS, *_SEVERAL, *_EMPTY):
            raise self.error(f"{name} is a function; expected {name}(..)")
        raise self.error(f"no column {name}{did_you_mean(name, [*self.columns, 'row'])}")

    def _constant(self, node: ast.Constant, depth: int) -> _Value:
        value = node.value
        if isinstance(value, bool):
            return _Value(str(value), truth=np.array(value))
        if isinstance(value, str):
            return _Value(repr(value), text=np.array(value, object))
        if isinstance(value, (int, float)):
            return _Value(f"{number(value):g}", numbers=np.array(number(value)))
        raise self.error(f"{value!r} is not understood; expected a number, quoted text, True or False"
                         " (and isnull(..) for what is empty)")

    def _unary(self, node: ast.UnaryOp, depth: int) -> _Value:
        inner = self.value(node.operand, depth)
        if isinstance(node.op, (ast.Not, ast.Invert)):
            return _Value(f"not {inner.said}", truth=~self.truth(inner))
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        return _Value(inner.said, numbers=sign * self.number(inner))

    def _joined(self, node: ast.BoolOp, depth: int) -> _Value:
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        sides = [self.truth(self.value(side, depth)) for side in node.values]
        return _Value("the condition", truth=_reduced(join, sides))

    def _binary(self, node: ast.BinOp, depth: int) -> _Value:
        left, right = self.value(node.left, depth), self.value(node.right, depth)
        if isinstance(node.op, (ast.BitAnd, ast.BitOr)):
            join = np.logical_and if isinstance(node.op, ast.BitAnd) else np.logical_or
            return _Value("the condition", truth=join(self.truth(left), self.truth(right)))
        if type(node.op) not in _ARITHMETIC:
            raise self.error(f"{_node_name(node.op)} is not understood; expected + - * / **")
        operation = _ARITHMETIC[type(node.op)]
        return _Value("the value", numbers=operation(self.number(left), self.number(right)))

    def _comparison(self, node: ast.Compare, depth: int) -> _Value:
        result, left = [], self.value(node.left, depth)
        if isinstance(node.ops[0], (ast.In, ast.NotIn)) and len(node.ops) == 1:
            found = self._within(left, node.comparators[0], depth)
            return _Value("the test", truth=found if isinstance(node.ops[0], ast.In) else ~found)
        for operator, other in zip(node.ops, node.comparators):
            right = self.value(other, depth)
            result.append(self._compared(operator, left, right))
            left = right
        return _Value("the comparison", truth=_reduced(np.logical_and, result))

    def _compared(self, operator: ast.cmpop, left: _Value, right: _Value) -> np.ndarray:
        if type(operator) in _ORDER:
            if left.numbers is None or right.numbers is None:
                raise self._unlike(left, right, "only numbers are ordered")
            return _ORDER[type(operator)](left.numbers, right.numbers)
        if isinstance(operator, (ast.Eq, ast.NotEq)):
            same = self._same(left, right)
            return same if isinstance(operator, ast.Eq) else ~same
        raise self.error(f"{_node_name(operator)} is not understood there; expected == != < <= > >=")

    def _same(self, left: _Value, right: _Value) -> np.ndarray:
        if left.numbers is not None and right.numbers is not None:
            return np.equal(left.numbers, right.numbers)
        if left.text is not None and right.text is not None:
            return np.equal(left.text, right.text).astype(bool)
        if left.truth is not None and right.truth is not None:
            return np.equal(left.truth, right.truth)
        raise self._unlike(left, right, "compare like with like; text stands in quotes")

    def _unlike(self, left: _Value, right: _Value, rule: str) -> UserError:
        return self.error(f"{left.said} is {_kind(left)} and {right.said} is {_kind(right)}: {rule}")

    def _within(self, left: _Value, node: ast.AST, depth: int) -> np.ndarray:
        if not isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            raise self.error("expected a list in brackets after `in`, such as: row in [1, 2]")
        found = [self._same(left, self.value(item, depth)) for item in node.elts]
        return _reduced(np.logical_or, found) if found else np.array(False)

    def _call(self, node: ast.Call, depth: int) -> _Value:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in (*_FUNCTIONS, *_SEVERAL, *_EMPTY) or node.keywords:
            raise self.error(f"no function at {self.place(node.col_offset + 1)}; valid: "
                             + ", ".join((*_FUNCTIONS, *_SEVERAL, *_EMPTY)))
        if (len(node.args) < 2) if name in _SEVERAL else (len(node.args) != 1):
            raise self.error(f"{name} of {len(node.args)} values; expected "
                             + ("two or more" if name in _SEVERAL else "one"))
        values = [self.value(argument, depth) for argument in node.args]
        if name in _EMPTY:
            return _Value("the test", truth=_empty(values[0], name))
        arrays = [self.number(value) for value in values]
        result = _reduced(_SEVERAL[name], arrays) if name in _SEVERAL else _FUNCTIONS[name](arrays[0])
        return _Value(f"{name}(..)", numbers=result)


def point(text: str, columns: Iterable[str] | None = None) -> dict[str, float]:
    """`n_params=1e9,n_tokens=2e10` as numbers by column, in the order given.

    columns: those that a law needs; each must be given, and no other. Raises `UserError` if the text
    is something else or a number is not positive.
    """
    values: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (word.strip().strip("`") for word in part.partition("="))
        if not (name and equals):
            raise UserError(f"{text!r}: expected columns and numbers, as in n_params=1e9,n_tokens=2e10")
        if not (np.isfinite(number(value)) and number(value) > 0):
            raise UserError(f"{part.strip()!r}: expected a positive number after {name!r} =")
        if name in values:
            raise UserError(f"{text!r}: {name!r} is given twice")
        values[name] = number(value)
    if columns is not None:
        columns = list(columns)
        for name in values:
            if name not in columns:
                raise UserError(f"{text!r}: the law has no column {name!r}{did_you_mean(name, columns)}")
        if missing := [name for name in columns if name not in values]:
            raise UserError(f"{text!r}: no {', '.join(missing)}; the law needs {', '.join(columns)}")
    return values


def _column(name: str, column: pd.Series) -> _Value:
    column = column.infer_objects()
    if pd.api.types.is_bool_dtype(column.dtype):
        return _Value(f"column {name}", truth=column.to_numpy(bool))
    values = numbers(column)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _Value(f"column {name}", numbers=values)
    text = column.astype(object).where(column.notna(), "").map(str).to_numpy(object)
    return _Value(f"column {name}", numbers=None if np.isnan(values).all() else values, text=text)


def _empty(value: _Value, function: str) -> np.ndarray:
    """Fields without anything; for isnan, in a column of numbers, also those that are no number."""
    if value.truth is not None:
        return np.zeros_like(value.truth)
    if value.numbers is not None and (value.text is None or function == "isnan"):
        return np.isnan(value.numbers)
    return np.equal(value.text, "").astype(bool)


def _reduced(join: Callable, arrays: list[np.ndarray]) -> np.ndarray:
    return functools.reduce(join, arrays)


def _kind(value: _Value) -> str:
    if value.truth is not None:
        return "true or false"
    array = value.numbers if value.numbers is not None else value.text
    if value.numbers is None:
        return "text"
    return "numbers" if array.ndim else "a number"


def _node_name(node: ast.AST) -> str:
    """What a node is called by people: Attribute -> attribute, ListComp -> list comp."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).lower()


def _without_backticks(expression: str) -> tuple[str, dict[str, str]]:
    """The expression with a plain word, as long, for each name in backticks; and those names."""
    quoted: dict[str, str] = {}

    def word(found: re.Match) -> str:
        if found[1] is None:
            return found[0]  # quoted text, in which a backtick is a backtick
        made = _MARK + str(len(quoted)).rjust(len(found[0]) - 1, _MARK)
        quoted[made] = found[1]
        return made

    return re.sub(r"""'[^']*'|"[^"]*"|`([^`]+)`""", word, expression), quoted
