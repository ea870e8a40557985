"""Secrets found where the configuration says, all refusals at once, values nowhere in sight."""

import pickle
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentpkg.core.errors import BadInput
from agentpkg.secrets import Resolved, Secret, allowed_variables, open_providers, referenced, resolve_environment
from agentpkg.secrets.dotenv import parse

JWT = "value-of-the-jwt-secret"
ENVIRONMENT = {
    "RUST_LOG": "info",
    "JWT_SECRET": "${{ secrets.JWT_SECRET }}",
    "URL": "postgres://app:${{secrets.DB_PASSWORD}}@db/app",
}


def run(argv: Sequence[str]) -> tuple[int, bytes]:
    done = subprocess.run(list(argv), capture_output=True, check=False)
    return done.returncode, done.stdout


def resolve(environ: dict[str, str], repository: Path, allowed: list[str] | None = None) -> Resolved:
    providers = open_providers(["environment"], environ=environ, repository=repository)
    return resolve_environment(ENVIRONMENT, providers, allowed)


def test_references_are_filled_in_and_kept_apart_from_plain_variables(tmp_path: Path) -> None:
    found = resolve({"JWT_SECRET": JWT, "DB_PASSWORD": "correct horse"}, tmp_path)
    assert found.plain == {"RUST_LOG": "info"}
    assert {name: value.reveal() for name, value in found.hidden.items()} == {
        "JWT_SECRET": JWT,
        "URL": "postgres://app:correct horse@db/app",
    }
    assert set(found.secrets) == {"JWT_SECRET", "DB_PASSWORD"}
    assert JWT not in repr(found)


def test_a_package_gets_only_the_secrets_it_lists(tmp_path: Path) -> None:
    found = resolve({"JWT_SECRET": JWT}, tmp_path, ["JWT_SECRET"])
    assert set(found.hidden) == {"JWT_SECRET"}
    assert found.left_out == ("URL",)
    assert allowed_variables(ENVIRONMENT, []) == {"RUST_LOG": "info"}
    assert referenced(ENVIRONMENT) == {"JWT_SECRET", "DB_PASSWORD"}


def test_all_that_cannot_be_resolved_is_told_at_once_and_no_value_is(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        resolve_environment(
            {**ENVIRONMENT, "BAD": "${{ env.HOME }}"},
            open_providers(["environment"], environ={"JWT_SECRET": "hunter2"}, repository=tmp_path),
        )
    told = {problem["value"]: problem["message"] for problem in caught.value.details["problems"]}
    assert set(told) == {"JWT_SECRET", "DB_PASSWORD", "${{ env.HOME }}"}
    assert "shorter than 8" in told["JWT_SECRET"]
    assert "has no value (asked: environment)" in told["DB_PASSWORD"]
    assert caught.value.exit_code == 2
    assert "hunter2" not in str(caught.value.as_json())


def test_a_secret_without_a_value_is_told_where_its_variable_stands(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        resolve_environment(
            ENVIRONMENT, open_providers(["environment"], environ={}, repository=tmp_path), ["JWT_SECRET"],
            {"JWT_SECRET": ("config.yaml", 7)},
        )  # fmt: skip
    assert [(one["file"], one["line"]) for one in caught.value.details["problems"]] == [("config.yaml", 7)]


def test_a_value_that_looks_like_a_reference_is_not_resolved_again(tmp_path: Path) -> None:
    found = resolve({"JWT_SECRET": "${{ secrets.DB_PASSWORD }}", "DB_PASSWORD": "correct horse"}, tmp_path)
    assert found.hidden["JWT_SECRET"].reveal() == "${{ secrets.DB_PASSWORD }}"


def file_provider(path: Path, repository: Path) -> Resolved:
    providers = open_providers(["file"], environ={}, repository=repository, file=str(path))
    return resolve_environment({"JWT_SECRET": "${{ secrets.JWT_SECRET }}"}, providers)


def test_a_private_file_outside_the_repository_is_read(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    path.write_text(f"# mine\nexport JWT_SECRET='{JWT}'\n")
    path.chmod(0o600)
    (tmp_path / "repo").mkdir()
    assert file_provider(path, tmp_path / "repo").hidden["JWT_SECRET"].reveal() == JWT


def test_a_file_that_others_can_read_or_that_lies_in_the_repository_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    path.write_text(f"JWT_SECRET={JWT}\n")
    path.chmod(0o640)
    (tmp_path / "repo").mkdir()
    with pytest.raises(BadInput, match="chmod 600"):
        file_provider(path, tmp_path / "repo")
    path.chmod(0o600)
    with pytest.raises(BadInput, match="inside the repository"):
        file_provider(path, tmp_path)
    link = tmp_path / "elsewhere.env"
    link.symlink_to(path)
    with pytest.raises(BadInput, match="inside the repository"):
        file_provider(link, tmp_path)


def test_the_default_file_lies_in_the_users_configuration_folder(still_world: Path, tmp_path: Path) -> None:
    from agentpkg.secrets.providers import default_file

    place = default_file()
    assert place.is_relative_to(still_world)
    assert place.name == "secrets.env"
    place.parent.mkdir(parents=True)
    place.write_text(f"JWT_SECRET={JWT}\n")
    place.chmod(0o600)
    providers = open_providers(["file"], environ={}, repository=tmp_path)
    assert resolve_environment({"A": "${{ secrets.JWT_SECRET }}"}, providers).hidden["A"].reveal() == JWT


def test_providers_are_asked_in_their_order_until_one_has_it(tmp_path: Path) -> None:
    providers = open_providers(
        ["file", "environment", "command"],
        environ={"A": "from-the-environment"},
        repository=tmp_path / "repo",
        file=str(tmp_path / "missing.env"),
        command=["sh", "-c", 'test "$1" = B && echo from-the-command', "sh", "{name}"],
        run=run,
    )
    found = resolve_environment({"A": "${{ secrets.A }}", "B": "${{ secrets.B }}"}, providers)
    assert {name: value.reveal() for name, value in found.hidden.items()} == {
        "A": "from-the-environment",
        "B": "from-the-command",
    }
    with pytest.raises(BadInput, match=r"has no value \(asked: file, environment, command\)"):
        resolve_environment({"C": "${{ secrets.C }}"}, providers)


def test_a_command_that_cannot_start_says_so(tmp_path: Path) -> None:
    providers = open_providers(
        ["command"], environ={}, repository=tmp_path, command=["/nonexistent/pass", "{name}"], run=run
    )
    with pytest.raises(BadInput, match="cannot be started"):
        resolve_environment({"A": "${{ secrets.A }}"}, providers)


def test_the_keyring_is_asked_and_a_machine_without_one_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    providers = open_providers(["keyring"], environ={}, repository=tmp_path)
    with pytest.raises(BadInput, match="the keyring does not answer"):
        resolve_environment({"A": "${{ secrets.A }}"}, providers)


def test_a_secret_cannot_be_shown_by_accident() -> None:
    secret = Secret("JWT", JWT)
    assert f"{secret} {secret!r} {secret:>10} {[secret]}" == "*** *** *** [***]"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_lines_of_a_secrets_file_are_read_as_documented() -> None:
    text = 'A=b c # x\nexport B=\'q # r\'\nC="l1\nl2\\n\\"" # c\n# D=1\nE=a#b\nF=\n G = x\r\nnonsense\n'
    assert parse(text) == {"A": "b c", "B": "q # r", "C": 'l1\nl2\n"', "E": "a#b", "F": "", "G": "x"}
