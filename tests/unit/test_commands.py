"""Options that the commands of operators share: the cluster and the namespace that are meant, as with kubectl."""

from __future__ import annotations

import click
import pytest
import yaml
from click.testing import CliRunner

from operatorkit.commands import cluster_options, output_option, with_cluster
from operatorkit.errors import InputError


@pytest.fixture
def kubeconfig(tmp_path):
    """A kubeconfig with a context whose namespace is `prod`, the current one, and one without a namespace."""
    contexts = [
        {"name": "shop", "context": {"cluster": "a", "user": "a", "namespace": "prod"}},
        {"name": "bare", "context": {"cluster": "a", "user": "a"}},
    ]
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": contexts,
        "current-context": "shop",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return str(path)


async def where_is_meant(api, where):
    return where


@pytest.mark.parametrize(
    ("context", "namespace", "meant"),
    [(None, None, "prod"), ("bare", None, "default"), (None, "dev", "dev"), ("bare", "dev", "dev")],
)
def test_the_namespace_is_the_given_one_or_that_of_the_context(kubeconfig, context, namespace, meant):
    assert with_cluster(kubeconfig, context, namespace, where_is_meant) == meant


def test_a_context_that_is_not_there_is_named(kubeconfig):
    with pytest.raises(InputError, match="nowhere"):
        with_cluster(kubeconfig, "nowhere", None, where_is_meant)


def test_a_command_gets_the_options_as_arguments(kubeconfig):
    @click.command()
    @cluster_options
    @output_option
    def show(**given):
        click.echo(sorted(given.items()))

    done = CliRunner().invoke(show, ["--kubeconfig", kubeconfig, "--context", "bare", "-n", "dev", "-o", "json"])
    assert done.exit_code == 0, done.output
    given = {"context": "bare", "kubeconfig": kubeconfig, "namespace": "dev", "output": "json"}
    assert done.output.strip() == str(sorted(given.items()))
