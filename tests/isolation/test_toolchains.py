"""What a sandbox shows of a home folder: programs that PATH names with what they belong to, nothing else."""

from pathlib import Path

import pytest

from agentpkg.isolation.inner import inner_environment, tools_of
from agentpkg.isolation.toolchains import Tools


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "user"
    for name in (".ssh/id", ".netrc", ".config/gh/hosts.yml", ".cargo/credentials.toml", ".local/share/keyrings/k"):
        _write(home / name)
    return home


def _write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def seen(home: Path, *path: Path, closed: tuple[str, ...] = (), **env: str) -> set[str]:
    tools = Tools(str(home), closed)
    tools.add_environment({"PATH": ":".join(map(str, path)), "HOME": str(home), **env})
    return {str(Path(found).relative_to(home)) for found in tools.paths if Path(found).is_relative_to(home)}


def test_an_installation_deep_in_the_home_is_shown_as_a_whole(home: Path) -> None:
    node = _write(home / ".nvm/versions/node/v20/bin/node")
    assert seen(home, node.parent) == {".nvm/versions/node/v20"}


def test_of_a_folder_directly_in_the_home_only_programs_are_shown(home: Path) -> None:
    cargo = _write(home / ".cargo/bin/cargo")
    _write(home / ".rustup/toolchains/stable/bin/rustc")
    assert seen(home, cargo.parent) == {".cargo/bin", ".rustup/toolchains"}
    local = _write(home / ".local/bin/tool")
    assert seen(home, local.parent) == {".local/bin"}


def test_programs_right_in_the_home_do_not_show_the_home(home: Path) -> None:
    own = _write(home / "bin/tool")
    assert seen(home, own.parent) == {"bin"}
    assert seen(home, home) == set()


def test_links_are_followed_to_what_they_belong_to(home: Path) -> None:
    agent = _write(home / ".local/share/agent/versions/1.2")
    _write(home / ".local/share/uv/tools/ruff/bin/ruff")
    (home / ".local/share/uv/tools/ruff/pyvenv.cfg").touch()
    bin_ = home / ".local/bin"
    bin_.mkdir()
    (bin_ / "agent").symlink_to(agent)
    (bin_ / "ruff").symlink_to("../share/uv/tools/ruff/bin/ruff")
    assert seen(home, bin_) == {".local/bin", ".local/share/agent/versions/1.2", ".local/share/uv/tools/ruff"}


def test_a_virtual_environment_is_shown_with_the_interpreter_it_was_made_from(home: Path) -> None:
    real = _write(home / ".pyenv/versions/3.12.1/bin/python3.12")
    (home / ".pyenv/versions/3.12").symlink_to("3.12.1")
    env = home / "code/app/.venv"
    (env / "bin").mkdir(parents=True)
    (env / "bin/python").symlink_to(home / ".pyenv/versions/3.12/bin/python3.12")
    (home / "code/app/.env").write_text("SECRET=1")
    found = seen(home, env / "bin", closed=(str(home / "code/app"),))
    assert found == {"code/app/.venv", ".pyenv/versions/3.12", ".pyenv/versions/3.12.1"}
    assert real.exists()


def test_a_variable_stays_where_parts_of_what_it_names_are_shown(home: Path) -> None:
    proxy = _write(home / ".cargo/bin/cargo").parent
    _write(home / ".rustup/toolchains/stable/bin/cargo")
    env = {"PATH": str(proxy), "HOME": str(home), "GOPATH": str(home / "go")}
    tools, needs = tools_of(env, (), (), ())
    assert needs == {"RUSTUP_HOME": str(home / ".rustup")}
    kept = inner_environment({**needs, **env}, tools)
    assert (kept["RUSTUP_HOME"], "GOPATH" in kept) == (str(home / ".rustup"), False)


def test_a_version_manager_is_told_where_it_lies(home: Path) -> None:
    shims = _write(home / ".pyenv/shims/python").parent
    _write(home / ".pyenv/versions/3.12/bin/python")
    tools = Tools(str(home))
    assert tools.add_environment({"PATH": str(shims), "HOME": str(home)}) == {"PYENV_ROOT": str(home / ".pyenv")}
    assert tools.covers(str(home / ".pyenv/versions/3.12/bin/python"))


@pytest.mark.parametrize("folder", [".config/tool/bin", ".ssh/bin", ".aws/bin"])
def test_of_folders_with_settings_and_keys_only_the_named_folder_is_shown(home: Path, folder: str) -> None:
    assert seen(home, _write(home / folder / "x").parent) == {folder}


def test_the_repository_is_not_shown_for_a_folder_of_it_on_the_path(home: Path) -> None:
    scripts = _write(home / "code/app/bin/run").parent
    modules = _write(home / "code/app/node_modules/.bin/tsc").parent
    assert seen(home, scripts, modules, closed=(str(home / "code/app"),)) == {"code/app/bin", "code/app/node_modules"}


def test_a_program_is_shown_alone_and_with_the_interpreter_of_its_first_line(home: Path) -> None:
    python = _write(home / "envs/a/bin/python")
    script = home / "agents/mine.py"
    script.parent.mkdir()
    script.write_text(f"#!{python} -I\n")
    tools = Tools(str(home))
    tools.add_program(str(script))
    assert {str(Path(p).relative_to(home)) for p in tools.paths} == {"agents/mine.py", "envs/a"}
