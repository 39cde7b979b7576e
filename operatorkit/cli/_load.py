"""Finding the operator that a person named on the command line.

What belongs here: names of installed operators, `module:operator`, and files; and what to say when there is none.
What does not: running it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

from operatorkit.errors import InputError, OperatorKitError
from operatorkit.operator import Operator

__all__ = ["GROUP", "Loaded", "load"]

GROUP = "operatorkit.operators"


@dataclass(frozen=True, slots=True)
class Loaded:
    """An operator, how `operatorkit crd render` finds its kinds, and the file that holds it (None if installed)."""

    app: Operator
    origin: str
    file: Path | None = None


def load(target: str) -> Loaded:
    """Find an operator by the name of an installed one, as `module:operator` or `module`, or in a file.

    Raises InputError, which says what was found and what to write instead.
    """
    if target.endswith(".py") or "/" in target:
        path = Path(target)
        return Loaded(_operator_in(_module_from_file(path), None, target), target, path.resolve())
    installed = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if target in installed:
        entry = installed[target]
        module = _module(entry.module, target)
        return Loaded(_operator_in(module, entry.attr or None, entry.value), entry.module)
    name, _, attribute = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        known = ", ".join(sorted(installed)) or "none"
        raise InputError(
            f"{target!r} is no installed operator (there are: {known}), and there is no module {name!r} in {here} or "
            f"among the installed packages: give a name, module:operator, or FILE.py"
        )
    module = _module(name, target)
    file = Path(module.__file__).resolve() if module.__file__ else None
    return Loaded(_operator_in(module, attribute or None, target), name, file)


def _module(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except OperatorKitError:
        raise
    except Exception as error:
        hiding = _hides_the_bundled_ones(name)
        if hiding is not None and isinstance(error, ImportError):
            raise InputError(
                f"{target}: your own package `operators` at {hiding} hides the one that holds the bundled operators: "
                f"rename yours, or run from another directory"
            ) from error
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


def _hides_the_bundled_ones(name: str) -> str | None:
    """Return the place of a regular package `operators`, if `name` would be found in the namespace of that name."""
    package = sys.modules.get("operators")
    if not name.startswith("operators.") or package is None or package.__file__ is None:
        return None
    return str(Path(package.__file__).parent)


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
