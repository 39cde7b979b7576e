from __future__ import annotations

from pathlib import Path

import pytest

from operatorkit.controlplane.real import binaries, build
from operatorkit.errors import InputError, OperatorKitError


def _install(directory: Path, *programs: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for program in programs:
        (directory / program).write_text("#!/bin/sh\n")
        (directory / program).chmod(0o755)
    return directory


def _environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "c"),
        **more,
    }


def test_nothing_is_found_on_an_empty_machine(tmp_path: Path) -> None:
    assert binaries.find(environ=_environ(tmp_path)) is None


def test_an_api_server_without_etcd_is_not_a_control_plane(tmp_path: Path) -> None:
    assets = _install(tmp_path / "assets", "kube-apiserver")

    assert binaries.find(environ=_environ(tmp_path, KUBEBUILDER_ASSETS=str(assets))) is None


def test_a_named_program_beats_the_assets_which_beat_the_stores(tmp_path: Path) -> None:
    named = _install(tmp_path / "named", "my-apiserver") / "my-apiserver"
    assets = _install(tmp_path / "assets", "kube-apiserver", "etcd")
    environ = _environ(tmp_path, KUBEBUILDER_ASSETS=str(assets), TEST_ASSET_KUBE_APISERVER=str(named))
    store, cache = binaries.search_path("1.36.3", environ)[1:]
    _install(store, "etcd", "kubectl")
    _install(cache, "etcd", "kubectl", "kube-controller-manager")

    found = binaries.find("1.36.3", environ=environ)

    assert found == binaries.Binaries(
        "1.36.3",
        kube_apiserver=named,
        etcd=assets / "etcd",
        kube_controller_manager=cache / "kube-controller-manager",
        kubectl=store / "kubectl",
    )
    assert found.missing == ["helm"]


def test_a_file_that_cannot_be_executed_is_passed_over(tmp_path: Path) -> None:
    assets = _install(tmp_path / "assets", "kube-apiserver", "etcd")
    (assets / "etcd").chmod(0o644)

    assert binaries.find(environ=_environ(tmp_path, KUBEBUILDER_ASSETS=str(assets))) is None


def test_each_version_has_a_cache_of_its_own(tmp_path: Path) -> None:
    environ = _environ(tmp_path)

    assert binaries.cache_directory("1.35.0", environ) != binaries.cache_directory("1.36.3", environ)


def test_the_module_files_build_the_version_that_we_are_developed_against() -> None:
    for program in build.plan():
        module = (build.MODULES / program.module / "go.mod").read_text()
        assert program.package in module
        assert (build.MODULES / program.module / "go.sum").is_file()
    assert build._required_version(build.MODULES) == binaries.VERSION


def test_a_built_api_server_says_its_version() -> None:
    flags = next(program.linker_flags for program in build.plan("1.36.3") if program.name == "kube-apiserver")

    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "-X k8s.io/component-base/version.gitMinor=36" in flags


def test_the_error_on_a_machine_that_can_neither_find_nor_build_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KUBEBUILDER_ASSETS", "TEST_ASSET_KUBE_APISERVER", "TEST_ASSET_ETCD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in _environ(tmp_path).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(InputError, match=r"1\.36\.3 are not all on this machine: set KUBEBUILDER_ASSETS"):
        build.ensure_binaries(modules=tmp_path)


def _toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `go` on the path that writes down what it builds and makes an empty program of it; return the list."""
    built = tmp_path / "built"
    go = _install(tmp_path / "bin", "go") / "go"
    go.write_text(
        "#!/bin/sh\n"
        'while [ "$1" != -o ]; do shift; done\n'
        f'echo "$3" >> {built}\n'
        'printf "#!/bin/sh\\n" > "$2"; chmod 755 "$2"\n'
        f"if [ -e {tmp_path}/broken ]; then echo no such module >&2; exit 1; fi\n"
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for name in ("KUBEBUILDER_ASSETS", "TEST_ASSET_KUBE_APISERVER", "TEST_ASSET_ETCD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in _environ(tmp_path).items():
        monkeypatch.setenv(name, value)
    return built


def test_what_is_missing_is_built_once_and_then_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = _toolchain(tmp_path, monkeypatch)
    assets = _install(tmp_path / "assets", "kube-apiserver", "etcd", "kubectl")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    reported: list[str] = []

    first = build.ensure_binaries(progress=reported.append)
    again = build.ensure_binaries(progress=reported.append)

    assert first == again
    assert first.missing == []
    assert first.kube_apiserver == assets / "kube-apiserver"
    assert built.read_text().splitlines() == [
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "helm.sh/helm/v4/cmd/helm",
    ]
    assert reported == [
        "[1/2] building kube-controller-manager for Kubernetes 1.36.3",
        "[2/2] building helm for Kubernetes 1.36.3",
    ]


def test_a_build_that_fails_says_why_and_leaves_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _toolchain(tmp_path, monkeypatch)
    (tmp_path / "broken").touch()

    with pytest.raises(OperatorKitError, match=r"(?s)building kube-apiserver failed: .*go build .*no such module"):
        build.ensure_binaries(progress=lambda _: None)

    assert binaries.find() is None


def test_a_version_that_the_module_files_do_not_build_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _toolchain(tmp_path, monkeypatch)

    with pytest.raises(InputError, match=r"builds Kubernetes 1\.36\.3, not 1\.30\.0: set KUBEBUILDER_ASSETS"):
        build.ensure_binaries("1.30.0", progress=lambda _: None)
