"""The tests of a file in another language than Python, as far as its lines tell."""

import posixpath
import re
from collections import Counter
from dataclasses import dataclass

from agentpkg.checks.integrity.facts import BOUNDED, EXACT, PRESENT, FileFacts, Skip, TestFacts


@dataclass(frozen=True, slots=True)
class Language:
    """How tests look: where one begins (group ``name``), what asserts, what skips, what lets only itself run."""

    begins: re.Pattern[str]
    asserts: re.Pattern[str]
    skips: re.Pattern[str]
    only: re.Pattern[str]


def _language(begins: str, asserts: str, skips: str, only: str = r"(?!)") -> Language:
    return Language(re.compile(begins, re.M), re.compile(asserts), re.compile(skips, re.M), re.compile(only))


_NAME = r"""(?P<quote>['"`])(?P<name>.*?)(?P=quote)"""
_JS = _language(
    rf"^[ \t]*(?:x?it|x?test|it\.\w+|test\.\w+|specify)\s*\(\s*{_NAME}",
    r"\b(?:expect|assert(?:\.\w+)?|t\.(?:is|deepEqual|true|false|throws)|should)\s*[.(]",
    r"\b(?:(?:it|test|describe|suite)\.(?:skip|todo|failing|fixme)|x(?:it|test|describe)|this\.skip\(|t\.skip\()"
    r"|\{[^{}]*\b(?:skip|todo)\s*:\s*(?!false\b)",
    r"\b(?:it|test|describe|suite)\.only\b|\bf(?:it|describe)\s*\(",
)
_GO = _language(
    r"^func\s+(?P<name>(?:Test|Fuzz|Example)\w*)\s*\(",
    r"\b(?:t\.(?:Error|Errorf|Fatal|Fatalf|Fail|FailNow)|assert\.\w+|require\.\w+)\(",
    r"\bt\.(?:Skip|Skipf|SkipNow)\(|^//go:build ignore",
)  # fmt: skip
_RUST = _language(
    r"#\[(?:tokio::|async_std::|rstest::)?(?:test|rstest)[^\]]*\](?:\s*#\[[^\]]*\])*\s*(?:pub\s+)?(?:async\s+)?fn\s+(?P<name>\w+)",
    r"\b(?:assert|assert_eq|assert_ne|debug_assert\w*|assert_matches|panic)!\s*\(|should_panic", r"#\[ignore",
)  # fmt: skip
_JAVA = _language(
    r"@(?:Test|ParameterizedTest|RepeatedTest|Fact|Theory|TestMethod)\b[^{;]*?\b(?P<name>\w+)\s*\([^)]*\)",
    r"\b(?:assert\w*|Assert\.\w+|Assertions\.\w+|verify|expect\w*|should\w*)\s*\(",
    r"@(?:Ignore|Disabled\w*)\b|Skip\s*=\s*\"|\[Ignore\b|assumeTrue\(false",
)
_RUBY = _language(
    rf"^[ \t]*(?:(?:x|f|p)?(?:it|specify|scenario)\s*\(?\s*{_NAME}"
    r"|(?:def|test)\s+['\"]?(?P<other>test_\w+|[\w ]+)['\"]?)",
    r"\b(?:expect|assert\w*|refute\w*|must_\w+|should)\b", r"\b(?:xit|xdescribe|xspecify|pending|skip)\b",
    r"\b(?:fit|fdescribe)\b|focus:\s*true",
)  # fmt: skip
_PHP = _language(
    r"function\s+(?P<name>test\w+)\s*\(", r"(?:->|::)(?:assert\w+|expectException\w*)\(",
    r"markTestSkipped|markTestIncomplete",
)  # fmt: skip
_C = _language(
    r"\b(?:TEST|TEST_F|TEST_P|TEST_CASE|BOOST_AUTO_TEST_CASE)\s*\(\s*(?P<name>[^)]*)\)",
    r"\b(?:EXPECT_\w+|ASSERT_\w+|REQUIRE\w*|CHECK\w*|BOOST_\w+|assert)\s*\(", r"\b(?:DISABLED_|GTEST_SKIP|SKIP\()",
)  # fmt: skip
_SHELL = _language(
    r"^(?:@test\s+['\"](?P<name>.*?)['\"]|(?P<other>test_\w+)\s*\(\))", r"\[\[? |\bassert\w*|\btest ", r"^\s*skip\b"
)

_BY_SUFFIX = {
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".vue", ".svelte"), _JS),
    ".go": _GO, ".rs": _RUST, **dict.fromkeys((".java", ".kt", ".kts", ".scala", ".groovy", ".cs"), _JAVA),
    ".rb": _RUBY, ".php": _PHP, **dict.fromkeys((".c", ".cc", ".cpp", ".cxx", ".h", ".hpp"), _C),
    **dict.fromkeys((".sh", ".bash", ".bats"), _SHELL),
}  # fmt: skip

_WEAK = re.compile(
    r"toBeTruthy|toBeDefined|not\.toBeNull|toBeInstanceOf|NotNil\(|NotNull\(|assertTrue\(|assert\s*\(|assert\.(?:ok|exists|isOk|isDefined)\(|\bt\.(?:ok|true|truthy)\(|is_some\(|is_ok\("
)
_SOFT = re.compile(r"toContain|toMatch\b|toBeGreater|toBeLess|assert_ne|NotEqual|Contains|Greater|Less|toThrow\(\)")
_NOTHING = re.compile(
    r"expect\(\s*(true|1)\s*\)\.|assert(?:True)?\(\s*true\s*[),]|assert!\(\s*true\s*\)|assert_eq!\((\w+), \2\)"
)
_SPACE = re.compile(r"\s+")


def known(path: str) -> bool:
    """The language is one whose tests are known by their look."""
    return posixpath.splitext(path)[1].lower() in _BY_SUFFIX


def read(path: str, text: str) -> FileFacts:
    """The tests of a file; each goes from where it begins to where the next one does."""
    language = _BY_SUFFIX[posixpath.splitext(path)[1].lower()]
    starts = list(language.begins.finditer(text))
    ends = [*(match.start() for match in starts[1:]), *([len(text)] if starts else [])]
    tests: dict[str, TestFacts] = {}
    for match, end in zip(starts, ends, strict=True):
        facts = _facts(language, text, match, end)
        tests[facts.name] = facts
    head = text[: starts[0].start()] if starts else ""
    return FileFacts(tests, "always" if language.skips.search(head) or language.only.search(text) else "")


def _facts(language: Language, text: str, match: re.Match[str], end: int) -> TestFacts:
    groups = match.groupdict()
    name = groups.get("name") or groups.get("other") or "?"
    # a mark such as #[ignore] stands before what the pattern finds, or within it
    before = text[max(0, text.rfind("}", 0, match.start())) : match.start()]
    body = text[match.start() : end]
    lines = [line.strip() for line in body.splitlines() if language.asserts.search(line)]
    strengths = {line: _strength(line) for line in lines}
    skip: Skip = "always" if language.skips.search(body) or language.skips.search(_last_lines(before)) else ""
    inner = body[match.end() - match.start() :]
    return TestFacts(
        name, text.count("\n", 0, match.start()) + 1, _SPACE.sub(" ", inner).strip(), Counter(lines),
        sum(strengths[line] for line in lines), 1, skip, "", frozenset(re.findall(r"\w+", inner)),
        frozenset(re.findall(r"-?\d+(?:\.\d+)?|(?<=['\"`])[^'\"`]+(?=['\"`])", inner)),
    )  # fmt: skip


def _last_lines(text: str) -> str:
    lines = text.rstrip().splitlines()[-2:]
    return "\n".join(line for line in lines if line.strip().startswith(("@", "#[", "[")))


def _strength(line: str) -> int:
    if _NOTHING.search(line):
        return 0
    return PRESENT if _WEAK.search(line) else BOUNDED if _SOFT.search(line) else EXACT
