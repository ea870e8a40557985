"""Annotated tags by plumbing: made once, never moved, and the same object whenever they are made again."""

from dataclasses import dataclass

from agentpkg.git.identity import Identity
from agentpkg.git.repo import Git


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag to be made.

    Attributes:
        name: without ``refs/tags/``.
        commit: what it points to.
        message: with a newline at its end.
        seconds: when, since the epoch.
    """

    name: str
    commit: str
    message: str
    tagger: Identity
    seconds: int


def make(git: Git, tag: Tag) -> bool:
    """Makes a tag where there is none of its name; True when this very tag is there afterwards.

    A tag of somebody else's by that name, or one in the way of it, stays as it is.
    """
    who = f"{_plain(tag.tagger.name)} <{_plain(tag.tagger.email)}> {tag.seconds} +0000"
    text = f"object {tag.commit}\ntype commit\ntag {tag.name}\ntagger {who}\n\n{tag.message}"
    made = git.run("hash-object", "-t", "tag", "-w", "--stdin", stdin=text.encode("utf-8", "surrogateescape")).text
    ref = f"refs/tags/{tag.name}"
    git.run("update-ref", "-m", "agentpkg: stage done", ref, made, "0" * len(made), ok=(0, 1, 128))
    return git.run("rev-parse", "-q", "--verify", "--end-of-options", ref, ok=(0, 1)).text == made


def in_the_way(git: Git, name: str) -> str | None:
    """The tag of somebody else's that keeps one of this name from being made: the same, one above or one below it."""
    parts = name.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts))]
    asked = [f"refs/tags/{one}" for one in (*above, name)]
    there = git.text("for-each-ref", "--format=%(refname)", *asked).splitlines()
    names = [ref.removeprefix("refs/tags/") for ref in there]
    return next((one for one in names if one in (*above, name) or one.startswith(f"{name}/")), None)


def _plain(text: str) -> str:
    """Without what would end a field of the tagger line."""
    return "".join(" " if char in "<>\n\0" else char for char in text).strip() or "agentpkg"
