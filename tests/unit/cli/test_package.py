"""`operatorkit package` writes charts, and says what is not in step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from operatorkit.cli.package import command
from operatorkit.errors import DefinitionError, InputError

EXAMPLE = Path(__file__).parents[3] / "examples" / "01_website.py"


def package(*arguments):
    done = CliRunner().invoke(command, [*map(str, arguments)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def test_both_charts_of_a_file_are_written_and_then_in_step(tmp_path):
    said = package(EXAMPLE, "-o", tmp_path, "--image", "registry.example.io/site", "--version", "2.0.0")
    assert said.splitlines() == [str(tmp_path / "website"), str(tmp_path / "website-crds")][::-1]
    values = yaml.safe_load((tmp_path / "website" / "values.yaml").read_text())
    assert values["image"]["repository"] == "registry.example.io/site"
    assert '- "01_website.py"' in (tmp_path / "website" / "templates" / "deployment.yaml").read_text()
    assert (
        package(EXAMPLE, "-o", tmp_path, "--image", "registry.example.io/site", "--version", "2.0.0", "--check") == ""
    )


def test_check_names_each_file_that_differs_and_the_remedy_and_writes_nothing(tmp_path):
    package("pki", "-o", tmp_path)
    changed = tmp_path / "pki" / "values.yaml"
    changed.write_text("replicas: 1\n")
    with pytest.raises(InputError) as reported:
        package("pki", "-o", tmp_path, "--check")
    assert str(reported.value) == (
        f"the charts differ from the code; `operatorkit package pki -o {tmp_path}` writes them:\n"
        f"  {changed} differs from the code"
    )
    assert changed.read_text() == "replicas: 1\n"


def test_check_of_what_was_never_written_names_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"pki-crds/Chart\.yaml is missing"):
        package("pki", "-o", tmp_path, "--check")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_code_no_longer_makes_is_reported_and_left(tmp_path):
    stale = tmp_path / "pki" / "templates" / "old.yaml"
    stale.parent.mkdir(parents=True)
    stale.write_text("kind: Old\n")
    with pytest.raises(InputError, match=r"old\.yaml is not generated from the code: remove it"):
        package("pki", "-o", tmp_path)
    assert stale.exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--version", "next", "is not a version of a chart"),
        ("--version", "v1.2", "is not a version of a chart"),
        ("--version", "1.02.3", "is not a version of a chart"),
        ("--image", "Upper/Case", "in lower case"),
        ("--image", "registry.example.io/site:1.0", "its tag is a value of the chart"),
    ],
)
def test_what_helm_or_a_registry_would_reject_is_rejected_before_anything_is_written(tmp_path, option, value, words):
    with pytest.raises(click.BadParameter, match=words):
        package("pki", "-o", tmp_path, option, value)
    assert list(tmp_path.iterdir()) == []


def test_versions_and_images_of_every_legal_form_are_taken(tmp_path):
    for version in ("0.0.1", "1.2.3-rc.1", "1.2.3+build.5", "10.20.30-alpha-7.x"):
        package("pki", "-o", tmp_path, "--version", version)
    for image in ("pki", "team/pki", "localhost:5000/pki", "registry.example.io/a/b__c/d-e.f"):
        package("pki", "-o", tmp_path, "--image", image)


def test_the_version_of_an_installed_operator_is_that_of_its_package(tmp_path):
    from importlib.metadata import version

    package("pki", "-o", tmp_path)
    assert yaml.safe_load((tmp_path / "pki" / "Chart.yaml").read_text())["version"] == version("operatorkit")


@pytest.mark.parametrize("target", ["operators.pki", "operators.pki:app"])
def test_an_installed_operator_has_one_chart_however_it_is_named(tmp_path, target):
    package("pki", "-o", tmp_path)
    assert package(target, "-o", tmp_path, "--check") == ""


VERSIONS = """
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


def test_a_chart_has_all_versions_of_own_kinds_and_no_external_kind(tmp_path):
    (tmp_path / "app.py").write_text(VERSIONS % ", external=True")
    package(tmp_path / "app.py", "-o", tmp_path / "charts")
    templates = tmp_path / "charts" / "pool-crds" / "templates"
    assert [path.name for path in templates.glob("*.yaml")] == ["x.example.io_pools.yaml"]
    text = (templates / "x.example.io_pools.yaml").read_text()
    assert "- name: v1\n" in text
    assert "- name: v1alpha1\n" in text


def test_a_kind_of_which_it_is_not_clear_whose_it_is_is_not_packaged(tmp_path):
    (tmp_path / "app.py").write_text(VERSIONS % "")
    with pytest.raises(DefinitionError, match=r"Monitor: .* write external=True .* or external=False"):
        package(tmp_path / "app.py", "-o", tmp_path / "charts")
    assert not (tmp_path / "charts").exists()


def test_a_chart_grants_what_handlers_of_kopf_need(tmp_path):
    path = tmp_path / "mixed.py"
    path.write_text(
        EXAMPLE.read_text()
        + """
import kopf


@kopf.on.create("batch", "v1", "cronjobs")
async def created(**_): ...
"""
    )
    arguments = ["package", path, "-o", tmp_path / "charts", "--image", "registry.example.io/site"]
    # in a process of its own: kopf has one registry for all handlers of a process
    done = subprocess.run(
        [sys.executable, "-m", "operatorkit", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    [rule] = [
        rule.split("- apiGroups")[0]
        for template in (tmp_path / "charts" / "website" / "templates").glob("*.yaml")
        for rule in template.read_text().split('resources: ["cronjobs"]')[1:]
    ]
    assert {"list", "watch", "patch"} <= {verb.strip('", ') for verb in rule.split("[")[1].split("]")[0].split(",")}
