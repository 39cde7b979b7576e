"""Prints figures of the code: how long functions are, how they branch, how often they are used, how lines look.

python tools/code_figures.py              our packages, each, and all of them
python tools/code_figures.py DIRECTORY... other packages, one row for each, to compare with

The figures are a mirror, not limits. Of each directory, every Python file counts, tests excepted.

    functions     number of functions and methods, nested ones included
    lines         median and maximum of their lines of code, from `def` on: no blank lines, comments and docstrings
    complex       share of functions with a cyclomatic complexity over 10
    branches      decision points per function: its complexity less 1. Decision points are `if`, `elif`, `for`, `while`,
                  `except`, `assert`, a conditional expression, `for` and `if` of a comprehension, each further operand
                  of `and` and `or`, and each `case` that is not the wildcard. A nested function counts for itself.
    used once     share of private functions (one leading underscore) that are named at one place only of their module,
                  outside themselves
    over 100      share of lines of code that are longer than 100 characters
    comments      share of all lines that are a comment and nothing else

Source of the complexity: T. J. McCabe, A Complexity Measure, 1976; the decision points are those that radon counts
(https://radon.readthedocs.io/en/latest/intro.html#cyclomatic-complexity), and the cases of `match`.
"""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 100
COMPLEX = 10

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Figures:
    """What was counted in some files; adding the figures of others is `add`."""

    function_lines: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    private_functions: int = 0
    used_once: int = 0
    code_lines: int = 0
    long_lines: int = 0
    comment_lines: int = 0
    all_lines: int = 0

    def add(self, other: Figures) -> None:
        """Count what another one counted, too."""
        self.function_lines += other.function_lines
        self.branches += other.branches
        self.private_functions += other.private_functions
        self.used_once += other.used_once
        self.code_lines += other.code_lines
        self.long_lines += other.long_lines
        self.comment_lines += other.comment_lines
        self.all_lines += other.all_lines

    def row(self) -> list[str]:
        """Return the columns of the table, as text."""
        lines, branches = self.function_lines, self.branches
        return [
            str(len(lines)),
            f"{statistics.median(lines):g}" if lines else "-",
            str(max(lines)) if lines else "-",
            _share(sum(1 for count in branches if count + 1 > COMPLEX), len(branches)),
            f"{statistics.mean(branches):.2f}" if branches else "-",
            _share(self.used_once, self.private_functions),
            _share(self.long_lines, self.code_lines),
            _share(self.comment_lines, self.all_lines),
        ]


HEAD = [
    "package",
    "functions",
    "median lines",
    "max lines",
    "complex",
    "branches",
    "used once",
    "over 100",
    "comments",
]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def figures(source: str) -> Figures:
    """Count in the text of one module. Raises SyntaxError for what is no Python."""
    tree = ast.parse(source)
    code, comments = _lines(source)
    code -= _docstring_lines(tree)
    lines = source.splitlines()
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    private = [
        node for node in functions if node.name.startswith("_") and not node.name.startswith("__")
    ]
    named = _named(tree)
    return Figures(
        function_lines=[len(code & _span(node)) for node in functions],
        branches=[branches(node) for node in functions],
        private_functions=len(private),
        used_once=sum(named[node.name] - _named(node)[node.name] == 1 for node in private),
        code_lines=len(code),
        long_lines=sum(len(lines[number - 1]) > WIDTH for number in code),
        comment_lines=len(comments),
        all_lines=len(lines),
    )


def branches(function: Function) -> int:
    """Return the number of decision points of a function, without those of functions inside it."""
    return sum(_decisions(node) for node in _own_nodes(function))


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


def _decisions(node: ast.AST) -> int:
    match node:
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.comprehension():
            return 1 + len(node.ifs)
        case ast.match_case():
            return not (
                isinstance(node.pattern, ast.MatchAs)
                and node.pattern.pattern is None
                and node.guard is None
            )
        case (
            ast.If()
            | ast.IfExp()
            | ast.For()
            | ast.AsyncFor()
            | ast.While()
            | ast.ExceptHandler()
            | ast.Assert()
        ):
            return 1
    return 0


def _named(tree: ast.AST) -> Counter[str]:
    """Return how often each name stands below a node, as a name or as an attribute."""
    return Counter(
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    )


def _span(node: ast.stmt) -> set[int]:
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def _docstring_lines(tree: ast.Module) -> set[int]:
    """Return the lines of all strings that stand as statements: docstrings, those of fields included."""
    texts = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
    return {number for node in texts for number in _span(node)}


_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def _lines(source: str) -> tuple[set[int], set[int]]:
    """Return the numbers of the lines that hold a token of code, and of those that hold only a comment."""
    code: set[int] = set()
    comments: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in _NO_CODE:
            code |= set(range(token.start[0], token.end[0] + 1))
    return code, comments - code


def of_files(paths: Iterable[Path]) -> Figures:
    """Count in all these files."""
    found = Figures()
    for path in paths:
        found.add(figures(path.read_text(encoding="utf-8")))
    return found


def _python_files(directory: Path) -> list[Path]:
    return [
        path
        for path in sorted(directory.rglob("*.py"))
        if not {"tests", "_tests"} & set(path.relative_to(directory).parts)
    ]


def packages() -> dict[str, list[Path]]:
    """Return our packages by name, each with its files; modules that stand alone are one row."""
    rows: dict[str, list[Path]] = {}
    for top in ("operatorkit", "operators"):
        base = ROOT / top
        alone = sorted(base.glob("*.py"))
        if alone:
            rows[f"{top} (single modules)"] = alone
        for directory in sorted(base.iterdir()):
            if files := _python_files(directory):
                rows[f"{top}.{directory.name}"] = files
    rows["**all**"] = [path for files in list(rows.values()) for path in files]
    return rows


def table(rows: dict[str, list[Path]]) -> str:
    """Return the table in Markdown."""
    cells = [HEAD, ["---", *["---:"] * (len(HEAD) - 1)]]
    cells += [[name, *of_files(files).row()] for name, files in rows.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def main(arguments: list[str]) -> int:
    """Print the table."""
    missing = [name for name in arguments if not _python_files(Path(name))]
    if missing:
        print(
            f"code_figures: no Python file in {missing[0]!r}: give directories of packages",
            file=sys.stderr,
        )
        return 1
    print(table({Path(name).name: _python_files(Path(name)) for name in arguments} or packages()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
