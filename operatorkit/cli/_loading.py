"""Finding what a person names on the command line: a module, a file, or an installed operator.

What belongs here: importing it, and saying clearly what is wrong when that fails. What does not: what is done with it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from operatorkit.errors import InputError, OperatorKitError

__all__ = ["ENTRY_POINTS", "load_module"]

ENTRY_POINTS = "operatorkit.operators"
"""The entry-point group by which installed operators are known by a name."""


def load_module(target: str) -> ModuleType:
    """Import what `target` names: a file (`pg.py`), an installed operator (`pki`), or a module (`operators.pki.api`).

    The current directory is importable, as it is for `python -m`. Raises InputError, which says what was looked for
    and, for code that fails, where it fails; a DefinitionError of the module passes.
    """
    if target.endswith(".py") or "/" in target:
        return _load_file(Path(target))
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=target):
        target = entry.module
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if error.name is not None and (target == error.name or target.startswith(f"{error.name}.")):
            raise InputError(
                f"there is no module {target!r}: give a module that can be imported from here, a file such as "
                f"./operator.py, or one of the installed operators ({_installed()})"
            ) from error
        raise _failed(target, error) from error
    except OperatorKitError:
        raise
    except Exception as error:
        raise _failed(target, error) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{str(path)!r} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    if str(path.parent.resolve()) not in sys.path:
        sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except OperatorKitError:
        raise
    except Exception as error:
        raise _failed(str(path), error) from error
    return module


def _failed(target: str, error: Exception) -> InputError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}, line {error.lineno})"
    return InputError(f"{target} cannot be imported: {type(error).__name__}: {error}{where}")


def _installed() -> str:
    names = sorted({entry.name for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)})
    return ", ".join(names) or "there are none"
