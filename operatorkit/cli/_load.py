"""Finding the operator that a person named on the command line.

What belongs here: names of installed operators, `module:operator`, and files; and what to say when there is none.
What does not: running it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Container
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from operatorkit.errors import InputError, OperatorKitError
from operatorkit.operator import Operator

__all__ = ["GROUP", "Loaded", "load", "locate"]

GROUP = "operatorkit.operators"


@dataclass(frozen=True, slots=True)
class Loaded:
    """An operator, and how `operatorkit crd render` finds its kinds."""

    app: Operator
    origin: str


def load(target: str) -> Loaded:
    """Find an operator by the name of an installed one, as `module:operator` or `module`, or in a file.

    Raises InputError, which says what was found and what to write instead.
    """
    if target.endswith(".py") or "/" in target:
        path = Path(target)
        return Loaded(_operator_in(_module_from_file(path), None, target), target)
    installed = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if target in installed:
        entry = installed[target]
        module = _module(entry.module, target)
        return Loaded(_operator_in(module, entry.attr or None, entry.value), entry.module)
    name, _, attribute = target.partition(":")
    _find(name, target, installed)
    return Loaded(_operator_in(_module(name, target), attribute or None, target), name)


def locate(target: str) -> Path:
    """Return the file that holds the operator, without running it. Raises InputError when there is none."""
    if target.endswith(".py") or "/" in target:
        path = Path(target)
        if not path.is_file():
            raise InputError(f"there is no file {path}")
        return path.resolve()
    installed = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    name = installed[target].module if target in installed else target.partition(":")[0]
    spec = _find(name, target, installed)
    if spec.origin is None:
        raise InputError(f"{target}: {name} is a package without code of its own: name the module that holds `app`")
    return Path(spec.origin).resolve()


def _find(name: str, target: str, installed: Container[str]) -> ModuleSpec:
    here = str(Path.cwd())
    if target not in installed and here not in sys.path:
        sys.path.insert(0, here)
    try:
        spec = importlib.util.find_spec(name)
    except ImportError:
        spec = None
    if spec is None:
        _refuse_hidden(name, target)
        known = ", ".join(sorted(entry.name for entry in metadata.entry_points(group=GROUP))) or "none"
        raise InputError(
            f"{target!r} is no installed operator (there are: {known}), and there is no module {name!r} in {here} or "
            f"among the installed packages: give a name, module:operator, or FILE.py"
        )
    return spec


def _module(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except OperatorKitError:
        raise
    except Exception as error:
        if isinstance(error, ImportError):
            _refuse_hidden(name, target)
        raise InputError(f"{target} cannot be imported: {_explained(error)}") from error


def _module_from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    name = path.stem
    if not name.isidentifier():
        name = "".join(letter if letter.isalnum() else "_" for letter in f"operator_{name}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except OperatorKitError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be imported: {_explained(error)}") from error
    return module


def _refuse_hidden(name: str, target: str) -> None:
    """Raise InputError if a regular package named `operators` is found before the namespace that holds `name`."""
    package = sys.modules.get("operators")
    if name.startswith("operators.") and package is not None and package.__file__ is not None:
        raise InputError(
            f"{target}: your own package `operators` at {Path(package.__file__).parent} hides the one that holds the "
            f"bundled operators: rename yours, or run from another directory"
        )


def _operator_in(module: ModuleType, attribute: str | None, target: str) -> Operator:
    if attribute is not None:
        found = getattr(module, attribute, None)
        if isinstance(found, Operator):
            return found
        what = "there is none" if found is None else f"it is a {type(found).__name__}"
        raise InputError(f"{target}: {attribute!r} in {module.__name__} should be an Operator, but {what}")
    operators = {name: value for name, value in vars(module).items() if isinstance(value, Operator)}
    distinct = {id(value): value for value in operators.values()}
    if "app" in operators or len(distinct) == 1:
        return operators.get("app") or next(iter(distinct.values()))
    if not operators:
        raise InputError(f'{target}: there is no Operator in {module.__name__}: write `app = Operator("name")`')
    names = ", ".join(sorted(operators))
    raise InputError(f"{target}: {module.__name__} has several operators ({names}): say which, as {target}:NAME")


def _explained(error: Exception) -> str:
    """Say in one line what went wrong in a person's own code, and where."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    where = f"{own[-1].filename}, line {own[-1].lineno}: " if own else ""
    return f"{where}{type(error).__name__}: {error}"
