"""Finding the operator that a person named."""

from __future__ import annotations

import importlib
import subprocess
import sys
from textwrap import dedent

import pytest

from operatorkit.cli._load import load, locate
from operatorkit.errors import InputError

ONE = 'from operatorkit import Operator\nmine = Operator("mine")\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A directory to work in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_a_file_with_one_operator_needs_no_name(folder):
    (folder / "01-odd name.py").write_text(ONE)
    assert load("./01-odd name.py").app.name == "mine"
    assert locate("./01-odd name.py") == folder / "01-odd name.py"


def test_of_several_operators_app_is_meant(folder):
    (folder / "many_a.py").write_text(ONE + 'app = Operator("main")\n')
    assert load("many_a").app.name == "main"
    assert load("many_a:mine").app.name == "mine"
    assert locate("many_a:mine") == folder / "many_a.py"


def test_an_operator_of_a_file_is_named_behind_a_colon(folder):
    (folder / "many_b.py").write_text(ONE + 'yours = Operator("yours")\n')
    loaded = load(str(folder / "many_b.py:yours"))
    assert loaded.app.name == "yours"
    assert loaded.in_image == "many_b.py:yours"
    assert locate("many_b.py:yours") == folder / "many_b.py"


@pytest.mark.parametrize("name", ["operator", "queue", "yaml"])
def test_a_file_may_be_called_as_a_module_that_others_import(folder, name):
    import yaml  # noqa: F401 - it is loaded, as Python's own are

    before = sys.modules[name] if name in sys.modules else importlib.import_module(name)
    (folder / f"{name}.py").write_text(ONE)
    assert load(f"./{name}.py").app.name == "mine"
    assert importlib.import_module(name) is before


def test_a_bundled_operator_is_found_by_its_name():
    assert load("pki").app.name == "pki"
    assert load("pki").origin == "operators.pki"


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        (
            ONE + 'yours = Operator("yours")\n',
            "case",
            "case has several operators (mine, yours): call one of them app, or name one, as in case:mine",
        ),
        (ONE + 'yours = Operator("yours")\n', "case.py", "or name one, as in case.py:mine"),
        ("raise SystemExit(3)\n", "case.py", "case.py exits when it is imported: put the code that exits under"),
        ("x = 1\n", "case", 'write `app = Operator("name")`'),
        ("x = 1\n", "case:x", "must be an Operator, but it is an int"),
        ("class x: ...\n", "case:x", "must be an Operator, but it is the class x"),
        ("x = 1\n", "case:y", "must be an Operator, but there is none"),
        ("def (\n", "case.py", "case.py, line 1: "),
        ("\nimport nowhere_at_all\n", "case.py", "case.py, line 2: ModuleNotFoundError"),
        ("\n1/0\n", "case", "case.py, line 2: ZeroDivisionError"),
        ("import pydantic\nclass A(pydantic.BaseModel):\n    a = 1\n", "case.py", "case.py, line 2: PydanticUserError"),
        ("", "no_such_thing", "'no_such_thing' is not an installed operator (installed: "),
        ("", "no_such_file.py", "there is no file no_such_file.py"),
        ("", "no_such_file.py:app", "there is no file no_such_file.py"),
        ("", "./", "is a directory: name the file with the operator"),
        ("", "notes.txt", "notes.txt is not a Python file: its name must end in .py"),
        ("", "pki:app", "'pki:app' is not found: 'pki' alone names the installed operator"),
        ("", "broken_package.part", "broken_package.part cannot be imported: broken_package/__init__.py, line 1: Zero"),
        ("", "..part", "is not an installed operator"),
    ],
)
def test_what_cannot_be_found_or_imported_is_said_in_one_line(folder, content, target, message):
    (folder / "case.py").write_text(content)
    (folder / "notes.txt").write_text("app")
    (folder / "broken_package").mkdir()
    (folder / "broken_package" / "__init__.py").write_text("1 / 0\n")
    with pytest.raises(InputError) as caught:
        load(target)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_of_the_user_s_own_named_operators_is_said_to_hide_the_bundled_ones(folder):
    package = folder / "operators"
    package.mkdir()
    (package / "__init__.py").write_text("")
    code = dedent("""
        import sys
        sys.path.insert(0, ".")
        from operatorkit.cli import main
        sys.argv = ["operatorkit", "run", "pki"]
        main()
    """)
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr == (
        f"operatorkit: pki: your own package `operators` at {package} hides the package of the "
        f"bundled operators: rename yours, or run from another directory\n"
    )
