"""Where a repository's secrets come from, as it is configured."""

from collections.abc import Sequence

from agentpkg import proc
from agentpkg.engine.project import Project
from agentpkg.secrets.providers import Provider, open_providers

#: seconds that a configured command may take to print a secret
_SECRET_SECONDS = 30.0


def providers(project: Project) -> list[Provider]:
    """Where secrets come from, as configured."""
    settings = project.settings.secrets

    def run(command: Sequence[str]) -> tuple[int, bytes]:
        done = proc.run(command, env=project.environ, cwd=project.work_tree, timeout=_SECRET_SECONDS)
        return done.exit_code, done.stdout

    return open_providers(
        settings.providers, environ=project.environ, repository=project.work_tree, file=settings.file,
        command=settings.command, run=run,
    )  # fmt: skip
