"""What is known of one test without running it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: ``always``: it never runs; ``platform``: not on some machines; ``condition``: who knows
Skip = Literal["", "platform", "condition", "always"]

#: strengths of assertions: nothing can break it; something is there; something about it; exactly what it is
VACUOUS, PRESENT, BOUNDED, EXACT = range(4)


@dataclass(frozen=True, slots=True)
class TestFacts:
    """A test as its source has it.

    Attributes:
        name: with its class: ``TestLogin.test_it``.
        line: where it begins.
        body: a fingerprint of what it does, names and marks left out.
        asserts: assertions as text, each with how often it holds (cases of parameters and literal loops).
        strength: the sum of their strengths, so counted.
        cases: how many tests it is, by its literal parameters.
        skip: when it does not run, and ``reason`` what it says about that.
        names: what it refers to.
        marks: of pytest, those of its own that may decide which tests run.
        literals: the values in it and in its marks, as text.
    """

    #: not a test class, whatever its name suggests to pytest
    __test__ = False

    name: str
    line: int
    body: str
    asserts: Counter[str]
    strength: int
    cases: int = 1
    skip: Skip = ""
    reason: str = ""
    names: frozenset[str] = frozenset()
    literals: frozenset[str] = frozenset()
    marks: frozenset[str] = frozenset()

    @property
    def hollow(self) -> bool:
        """It asserts no more than that something is there."""
        return self.strength <= PRESENT * sum(self.asserts.values())

    @property
    def short(self) -> str:
        """The name without its class."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The tests of one file.

    Attributes:
        skip: of the file as a whole.
        hidden: tests that another one of the same name, further down, takes the place of.
    """

    tests: Mapping[str, TestFacts]
    skip: Skip = ""
    hidden: frozenset[str] = frozenset()


NOTHING = FileFacts({})
