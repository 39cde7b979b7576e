"""Finding what a person named on the command line: an installed operator, a module, or a file.

What belongs here: reading such a name, importing the code behind it, finding the operator in it;
and what to say when that fails. What does not: running it.
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
from typing import TYPE_CHECKING

from operatorkit.errors import InputError, OperatorKitError

if TYPE_CHECKING:
    from operatorkit.operator import Operator

__all__ = [
    "GROUP",
    "Loaded",
    "Target",
    "explained",
    "load",
    "load_module",
    "locate",
    "operator_in",
    "parse",
    "shown",
]

GROUP = "operatorkit.operators"
"""The entry-point group by which installed operators are known by a name."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a person named: a file or a module, and perhaps the operator in it.

    `attribute` is what stands behind the colon, or what the entry point of an installed operator
    names.
    """

    text: str
    module: str
    attribute: str | None = None
    path: Path | None = None
    installed: bool = False

    @property
    def origin(self) -> str:
        """How `operatorkit crd render` finds the same kinds."""
        return self.text if self.path is not None else self.module


@dataclass(frozen=True, slots=True)
class Loaded:
    """An operator, and how it was named."""

    app: Operator
    target: Target

    @property
    def origin(self) -> str:
        """How `operatorkit crd render` finds its kinds."""
        return self.target.origin

    @property
    def in_image(self) -> str:
        """How `operatorkit run` finds it in an image: a file is in the working directory there.

        An installed operator has one name, however it was named here.
        """
        if self.target.path is not None:
            return self.target.text.rpartition("/")[2]
        entry = self.entry_point
        return self.target.text if entry is None else entry.name

    @property
    def entry_point(self) -> metadata.EntryPoint | None:
        """Return the entry point that names this very operator, if it is installed."""
        for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
            module = sys.modules.get(entry.module)
            if module is not None and getattr(module, entry.attr or "app", None) is self.app:
                return entry
        return None


def load(text: str) -> Loaded:
    """Find an operator: `FILE.py`, `FILE.py:OPERATOR`, `MODULE`, `MODULE:OPERATOR`, or the name of an installed one.

    Raises InputError, which says what was found and what to write instead; a DefinitionError of the
    code passes.
    """
    target = parse(text)
    return Loaded(operator_in(load_module(target), target), target)


def parse(text: str) -> Target:
    """Read a name. Raises InputError for a path at which there is no Python file."""
    file, colon, attribute = text.rpartition(":")
    if not colon or not file.endswith(".py"):
        file, attribute = text, ""
    path = Path(file)
    if file.endswith(".py") or "/" in file or path.is_file():
        return Target(text, _module_name(path), attribute or None, _python_file(path))
    for entry in metadata.entry_points(group=GROUP, name=text):
        return Target(text, entry.module, entry.attr or None, installed=True)
    module, _, attribute = text.partition(":")
    return Target(text, module, attribute or None)


def locate(text: str) -> Path:
    """Return the file that holds the operator, without running it. Raises InputError when there is none."""
    target = parse(text)
    if target.path is not None:
        return target.path.resolve()
    _look_here_too(target)
    try:
        spec = importlib.util.find_spec(target.module)
    except Exception as error:
        raise _not_imported(target, error) from error
    if spec is None:
        raise _no_module(target)
    if spec.origin is None:
        raise InputError(
            f"{text}: {target.module} is a package without code: name the module with the operator"
        )
    return Path(spec.origin).resolve()


def load_module(target: Target) -> ModuleType:
    """Import what `target` names; the current directory, or that of a file, is importable.

    Raises InputError, which says what was looked for and, for code that fails, where it fails; a
    DefinitionError of the module passes.
    """
    _look_here_too(target)
    try:
        return (
            _run_file(target.module, target.path)
            if target.path
            else importlib.import_module(target.module)
        )
    except OperatorKitError:
        raise
    except SystemExit as error:
        raise InputError(
            f'{target.text} exits when it is imported: put the code that exits under `if __name__ == "__main__":`'
        ) from error
    except Exception as error:
        raise _not_imported(target, error) from error


def operator_in(module: ModuleType, target: Target) -> Operator:
    """Return the operator of that name, or the only one, or of several `app`. Raises InputError."""
    from operatorkit.operator import Operator

    text, attribute = target.text, target.attribute
    if attribute is not None:
        found = getattr(module, attribute, None)
        if isinstance(found, Operator):
            return found
        what = "there is none" if found is None else f"it is {_described(found)}"
        raise InputError(
            f"{text}: {attribute!r} in {module.__name__} must be an Operator, but {what}"
        )
    operators = {name: value for name, value in vars(module).items() if isinstance(value, Operator)}
    distinct = {id(value): value for value in operators.values()}
    if "app" in operators or len(distinct) == 1:
        return operators.get("app") or next(iter(distinct.values()))
    if not operators:
        raise InputError(
            f'{text}: there is no Operator in {module.__name__}: write `app = Operator("name")`'
        )
    first, *_ = names = sorted(operators)
    raise InputError(
        f"{text} has several operators ({', '.join(names)}): call one of them app, or name one, as in {text}:{first}"
    )


def explained(error: Exception) -> str:
    """Say in one line what went wrong in a person's own code, and where."""
    if isinstance(error, SyntaxError):
        return f"{shown(error.filename or '?')}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if "importlib" not in frame.filename and frame.filename != __file__
    ]
    where = ""
    if own:  # a library that rejects what it was given is not where to look
        theirs = [frame for frame in own if "site-packages" not in frame.filename] or own
        where = f"{shown(theirs[-1].filename)}, line {theirs[-1].lineno}: "
    return f"{where}{type(error).__name__}: {' '.join(str(error).split())}"


def shown(path: str | Path) -> str:
    """Return a path as a person would write it here: relative when it is in the current directory or below."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _python_file(path: Path) -> Path:
    if path.is_dir():
        raise InputError(
            f"{path} is a directory: name the file with the operator, such as {path}/app.py"
        )
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if path.suffix != ".py":
        raise InputError(f"{path} is not a Python file: its name must end in .py")
    return path


def _module_name(path: Path) -> str:
    """Return a name for the module of a file: its own, unless another module has that, or it is no name at all."""
    name = path.stem
    known = sys.modules.get(name)
    taken = name in sys.stdlib_module_names or (known is not None and not _is_of(known, path))
    if name.isidentifier() and not taken:
        return name
    return "".join(letter if letter.isalnum() else "_" for letter in f"operator_{name}")


def _is_of(module: ModuleType, path: Path) -> bool:
    return module.__file__ is not None and Path(module.__file__).resolve() == path.resolve()


def _run_file(name: str, path: Path) -> ModuleType:
    folder = str(path.resolve().parent)
    if (
        folder not in sys.path
    ):  # last: a file called queue.py must not hide what others import by that name
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "its name ends in .py"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _look_here_too(target: Target) -> None:
    """Make the current directory importable, as it is for `python -m`."""
    here = str(Path.cwd())
    if target.path is None and not target.installed and here not in sys.path:
        sys.path.insert(0, here)


def _not_imported(target: Target, error: Exception) -> InputError:
    """Say why a module could not be imported: because there is none, or because of what is in it."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    absent = missing is not None and (
        target.module == missing or target.module.startswith(f"{missing}.")
    )
    if target.path is None and (
        absent or not all(part.isidentifier() for part in target.module.split("."))
    ):
        return _hidden(target) or _no_module(target)
    if isinstance(error, ImportError) and target.path is None and (hidden := _hidden(target)):
        return hidden
    return InputError(f"{target.text} cannot be imported: {explained(error)}")


def _no_module(target: Target) -> InputError:
    installed = sorted({entry.name for entry in metadata.entry_points(group=GROUP)})
    if target.module in installed:
        return InputError(
            f"{target.text!r} is not found: {target.module!r} alone names the installed operator"
        )
    return InputError(
        f"{target.text!r} is not an installed operator (installed: {', '.join(installed) or 'none'}), and there is no "
        f"module {target.module!r} in {Path.cwd()} or among the installed packages: give a name, module:operator, or "
        "FILE.py"
    )


def _hidden(target: Target) -> InputError | None:
    """Return what to say if a regular package named `operators` is found before the namespace of the bundled ones."""
    package = sys.modules.get("operators")
    if not target.module.startswith("operators.") or package is None or package.__file__ is None:
        return None
    return InputError(
        f"{target.text}: your own package `operators` at {Path(package.__file__).parent} hides "
        f"the package of the bundled operators: rename yours, or run from another directory"
    )


def _described(value: object) -> str:
    name = type(value).__name__
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
