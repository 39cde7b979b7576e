"""What a person reads who gave the command line something wrong: one clear message, no traceback, exit code not 0."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from operatorkit.controlplane.backend import ControlPlane

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "01_website.py"


def operatorkit(*arguments: str | Path, cwd: Path | None = None) -> str:
    """Run a command that must fail, and return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "operatorkit", *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    said = done.stdout + done.stderr
    assert done.returncode not in (0, -9, -15), said
    assert "Traceback" not in said
    return said


def written(path: Path, kubeconfig: object) -> Path:
    path.write_text(kubeconfig if isinstance(kubeconfig, str) else yaml.safe_dump(kubeconfig))
    return path


def test_an_operator_that_is_not_installed_is_named_with_those_that_are() -> None:
    said = operatorkit("run", "pkii")
    assert "pkii" in said
    assert "pki" in said.replace("pkii", "")


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "nowhere" in operatorkit("run", "pki", "--kubeconfig", tmp_path / "nowhere")


def test_a_kubeconfig_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    assert "broken" in operatorkit("run", "pki", "--kubeconfig", written(tmp_path / "broken", "clusters: [}"))


def test_an_unreachable_api_server_is_one_line_with_its_address(controlplane: ControlPlane, tmp_path: Path) -> None:
    kubeconfig = controlplane.kubeconfig()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"https://127.0.0.1:{closed.getsockname()[1]}"
        kubeconfig["clusters"][0]["cluster"]["server"] = address
        said = operatorkit("run", "pki", "--kubeconfig", written(tmp_path / "config", kubeconfig))
    assert address in said
    assert len([line for line in said.splitlines() if "operatorkit:" in line]) == 1


def test_missing_permissions_are_named_by_verb_and_resource(
    controlplane: ControlPlane, tmp_path: Path, kubeconfig: Path
) -> None:
    installed = subprocess.run(
        [sys.executable, "-m", "operatorkit", "crd", "render", str(EXAMPLE)], capture_output=True, text=True, check=True
    )
    apply_crd(controlplane, yaml.safe_load(installed.stdout))
    no_user = controlplane.write_kubeconfig(tmp_path / "nobody", user="nobody-in-particular", groups=())
    said = operatorkit("run", EXAMPLE, "--kubeconfig", no_user)
    for verb in ("list", "watch", "patch"):
        assert verb in said
    assert "websites" in said
    assert "configmaps" in said
    assert "example.io" in said


def apply_crd(controlplane: ControlPlane, manifest: dict[str, object]) -> None:
    """Create a definition and wait until it is served."""
    import asyncio

    from operatorkit.cluster import LiveCluster, PatchType, load_config
    from operatorkit.names import ApiResource
    from operatorkit.testing import eventually

    crds = ApiResource(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
    )
    name = manifest["metadata"]["name"]  # type: ignore[index]

    async def apply() -> None:
        async with LiveCluster(load_config(controlplane.kubeconfig())) as api:
            await api.patch(crds, name, manifest, patch_type=PatchType.APPLY, field_manager="test", force=True)

            async def established() -> bool:
                conditions = (await api.get(crds, name)).get("status", {}).get("conditions") or ()  # null at first
                return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

            await eventually(established)

    asyncio.run(apply())


def test_a_kind_that_the_cluster_does_not_serve_is_named_with_the_remedy(tmp_path: Path, kubeconfig: Path) -> None:
    code = EXAMPLE.read_text().replace("example.io", "not-installed.example.io")
    (tmp_path / "site.py").write_text(code)
    said = operatorkit("run", tmp_path / "site.py", "--kubeconfig", kubeconfig)
    assert "Website" in said
    assert "not-installed.example.io" in said
    assert "operatorkit crd render" in said


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("from operatorkit import Operator\napp = Operator('Not A Name')\n", ["Not A Name"]),
        ("def broken(:\n", ["site.py", "line 1"]),
        ("import nothing_of_that_name\n", ["nothing_of_that_name"]),
    ],
    ids=["a name that is none", "a syntax error", "an import that fails"],
)
@pytest.mark.parametrize("command", [("run",), ("crd", "render")], ids=" ".join)
def test_a_file_that_is_no_operator_is_named(
    command: tuple[str, ...], code: str, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "site.py").write_text(code)
    said = operatorkit(*command, tmp_path / "site.py")
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(
    ("command", "lacking"), [(("run",), "no Operator"), (("crd", "render"), "no resource classes")], ids=["run", "crd"]
)
def test_a_file_without_what_was_looked_for_is_named(command: tuple[str, ...], lacking: str, tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text("x = 1\n")
    said = operatorkit(*command, tmp_path / "site.py")
    assert "site.py" in said
    assert lacking in said


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("size: tuple[int, str]", ["Site", "spec.size", "tuple"]),
        ("parent: 'SiteSpec | None' = None", ["Site", "spec.parent"]),
        ("name: Annotated[str, Field(pattern=r'(?=a)b')]", ["SiteSpec", "name", "(?="]),
        ("either: int | dict[str, str]", ["Site", "spec.either"]),
    ],
    ids=["a tuple", "a recursion", "a pattern that looks around", "a union of unlike things"],
)
def test_a_class_that_has_no_structural_schema_names_class_and_field(
    field: str, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "site.py").write_text(
        "from typing import Annotated\n"
        "from pydantic import Field\n"
        "from operatorkit import Model, Operator, Resource\n"
        "from operatorkit.resource import NoStatus\n"
        "class SiteSpec(Model):\n"
        f"    {field}\n"
        "class Site(Resource[SiteSpec, NoStatus], group='example.io', version='v1'): ...\n"
        "app = Operator('site')\n"
        "@app.reconcile(Site)\n"
        "async def reconcile(site, ctx): ...\n"
    )
    said = operatorkit("crd", "render", tmp_path / "site.py")
    assert [word for word in words if word not in said] == [], said


def test_commands_name_an_option_that_does_not_exist() -> None:
    assert "--kubecofnig" in operatorkit("run", "pki", "--kubecofnig", "x")


def test_json_is_printed_where_a_machine_reads() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "operatorkit", "crd", "render", str(EXAMPLE), "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
