"""CEL expressions of gates, by the published package cel-expr-python (the extra `petset`).

What belongs here: compiling and evaluating. What does not: what an answer means (`gates`).

Guarantees: the package stops an evaluation after a fixed number of iterations, and its regular expressions are RE2, so
that no expression of a user occupies the operator.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from operatorkit.errors import InputError

__all__ = ["VARIABLES", "ExpressionError", "evaluate_expression", "expression_error", "uses"]

VARIABLES = ("object", "pod", "pods", "now")
_MISSING = "needs CEL: install the operator with its extra, operatorkit[petset]"


class ExpressionError(InputError):
    """An expression does not compile, fails, or is not true or false; the message says which."""


def expression_error(text: str) -> str | None:
    """Return why an expression cannot be used, or None."""
    try:
        _compiled(text)
    except ExpressionError as error:
        return str(error)
    return None


def evaluate_expression(text: str, variables: Mapping[str, Any]) -> bool:
    """Return what an expression says of the variables. Raises ExpressionError."""
    compiled = _compiled(text)
    try:
        result = compiled.eval(data=dict(variables))
        value = result.value()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ExpressionError(_first_line(error)) from error
    if not isinstance(value, bool):
        kind = result.type().name()
        problem = str(value) if kind == "ERROR" else f"is of type {kind}, and must be true or false"
        raise ExpressionError(problem)
    return value


def uses(text: str, variable: str) -> bool:
    """Return whether an expression may read a variable."""
    return re.search(rf"\b{variable}\b", text) is not None


@lru_cache(maxsize=256)
def _compiled(text: str) -> Any:
    """Return a compiled expression. Raises ExpressionError."""
    try:
        from cel_expr_python import cel
    except ImportError as error:
        raise ExpressionError(_MISSING) from error
    types = {
        "object": cel.Type.DYN,
        "pod": cel.Type.DYN,
        "pods": cel.Type.DYN,
        "now": cel.Type.TIMESTAMP,
    }
    try:
        compiled = cel.NewEnv(variables=types).compile(text)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ExpressionError(_first_line(error)) from error
    kind = compiled.return_type().name()
    if kind not in {"BOOL", "DYN"}:
        raise ExpressionError(f"is of type {kind}, and must be true or false")
    return compiled


def _first_line(error: Exception) -> str:
    """Return the message without the picture of the place below it."""
    return str(error).partition("\n")[0].removeprefix("INVALID_ARGUMENT: ").strip()
