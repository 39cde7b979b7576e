from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

KIND = """
from operatorkit.resource import Model, NoStatus, Resource

class PoolSpec(Model):
    size: int = 1

class Pool(Resource[PoolSpec, NoStatus], group="x.example.io", version="v1", external=False):
    pass
"""


def render(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "operatorkit", "crd", "render", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "pool.py").write_text(KIND)
    return tmp_path


@pytest.mark.parametrize("target", ["pool.py", "./pool.py", "pool"])
def test_a_file_or_a_module_is_rendered_as_yaml(here: Path, target: str) -> None:
    done = render(target, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    (manifest,) = yaml.safe_load_all(done.stdout)
    assert manifest["metadata"]["name"] == "pools.x.example.io"


def test_a_machine_gets_one_json_list(here: Path) -> None:
    done = render("pool.py", "-o", "json", cwd=here)
    assert [item["spec"]["names"]["kind"] for item in json.loads(done.stdout)["items"]] == ["Pool"]


def test_a_directory_gets_a_file_for_each_kind(here: Path) -> None:
    done = render("pool.py", "-o", "out/crds", cwd=here)
    path = here / "out/crds/x.example.io_pools.yaml"
    assert done.stdout == "out/crds/x.example.io_pools.yaml\n"
    assert path.read_text() == render("pool.py", cwd=here).stdout


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (
            None,
            "nowhere",
            "operatorkit: 'nowhere' is not an installed operator (installed: attestation, mysql_sharding, petset, pki), and there is no module",
        ),
        (None, "./nowhere.py", "operatorkit: there is no file nowhere.py"),
        ("x = 1", "bad.py", "operatorkit: bad.py has no resource classes"),
        ("x = 1 / 0", "bad.py", "bad.py cannot be imported: bad.py, line 1: ZeroDivisionError: division by zero"),
        (
            "import nothing_like_this",
            "bad",
            "bad cannot be imported: bad.py, line 1: ModuleNotFoundError: No module named 'nothing_like",
        ),
        ("def", "bad.py", "bad.py cannot be imported: bad.py, line 1: SyntaxError: "),
        (KIND.replace('version="v1"', 'version="1"'), "bad.py", "operatorkit: Pool: version='1' is not a version"),
        (KIND.replace("size: int", "size: bytes"), "bad.py", "operatorkit: Pool, field spec.size: bytes cannot be"),
    ],
)
def test_what_cannot_be_rendered_is_one_line_and_exit_code_1(
    tmp_path: Path, source: str | None, target: str, message: str
) -> None:
    if source is not None:
        (tmp_path / "bad.py").write_text(source)
    done = render(target, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_directory_that_cannot_be_written_is_named(here: Path) -> None:
    (here / "file").write_text("")
    done = render("pool.py", "-o", "file", cwd=here)
    assert done.returncode == 1
    assert "file cannot be written: File exists" in done.stderr


def test_kinds_of_an_operator_are_found_through_it(here: Path) -> None:
    (here / "app.py").write_text(
        "import pool\nfrom operatorkit import Operator\n\napp = Operator('pool')\napp.reads(pool.Pool)\n"
    )
    done = render("app.py", cwd=here)
    assert done.stderr == ""
    assert "pools.x.example.io" in done.stdout


def test_of_several_operators_in_a_file_the_kinds_of_one_can_be_asked_for(here: Path) -> None:
    (here / "two.py").write_text(
        KIND
        + "class Lake(Resource[PoolSpec, NoStatus], group='x.example.io', version='v1', external=False): ...\n"
        + "from operatorkit import Operator\na, b = Operator('a'), Operator('b')\na.reads(Pool)\nb.reads(Lake)\n"
    )
    done = render("two.py:b", cwd=here)
    assert [one["spec"]["names"]["kind"] for one in yaml.safe_load_all(done.stdout)] == ["Lake"]


OPERATOR = """
from operatorkit import Context, Model, Operator, Resource
from operatorkit.resource import NoStatus

class Spec(Model):
    size: int = 1

class Old(Resource[Spec, NoStatus], group="x.example.io", version="v1alpha1", kind="Pool", storage=False): ...
class Pool(Resource[Spec, NoStatus], group="x.example.io", version="v1"): ...
class Monitor(Resource[Spec, NoStatus], group="monitoring.example.com", version="v1"%s): ...

app = Operator("pool")

@app.reconcile(Pool, owns=[Monitor])
async def reconcile(pool: Pool, ctx: Context) -> None: ...
"""


@pytest.mark.parametrize("target", ["app.py", "app.py:app"])
def test_all_versions_are_rendered_and_no_external_kind_is(here: Path, target: str) -> None:
    (here / "app.py").write_text(OPERATOR % ", external=True")
    done = render(target, cwd=here)
    assert done.stderr == ""
    (manifest,) = yaml.safe_load_all(done.stdout)
    assert [version["name"] for version in manifest["spec"]["versions"]] == ["v1", "v1alpha1"]


def test_a_kind_of_which_it_is_not_clear_whose_it_is_is_not_rendered(here: Path) -> None:
    (here / "app.py").write_text(OPERATOR % "")
    done = render("app.py", cwd=here)
    assert (done.returncode, done.stdout) == (1, "")
    assert "write external=True in the class if the kind is defined elsewhere" in done.stderr
