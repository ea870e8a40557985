"""What ``answer``, ``approve`` and ``deny`` share: a package's question found, answered and shown."""

from pathlib import Path

from agentpkg import views
from agentpkg.cli.common import Speaker, package_words, project_at
from agentpkg.core import questions
from agentpkg.core.records import QuestionRow
from agentpkg.engine.asking import approvals


def decide(words: tuple[str, ...], option: str, reason: str | None, repo: Path | None, speak: Speaker) -> int:
    """Approves or denies a package's candidate, and tells what became of the question."""
    name, wp = package_words(words)
    project = project_at(repo)
    project.require_person(f"{'approve' if option == questions.YES else 'deny'} {wp}")
    feature, wp = project.find_package(wp, name)
    return told(approvals.decide(project, feature, wp, option, reason), speak)


def told(question: QuestionRow, speak: Speaker) -> int:
    """Shows an answered question."""
    document = views.question(question)
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_questions

    render.show(render_questions.answered(document))
    return 0
