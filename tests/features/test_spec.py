import time

import pytest

from agentpkg.features.spec import canonical_ref, find_requirements, parse_plan, parse_spec

SPEC = """\
---
status: draft
---
# Feature Specification: User Authentication System

**Feature Branch**: `003-auth`

Add login and logout.
With tokens.

## User stories

FR-1 is what most people want (see FR-2).

## Functional Requirements

FR-1: Users can log in
- Accept POST /api/auth/login
- Return 401 if invalid

FR-2: Tokens are validated

```text
FR-3: in a code block this is no requirement
```

Prose after it.

- **FR-003**: Sessions persist
  - for 7 days
  and are refreshed
- **FR-004** (must): Logout
- **NFR-1 — Fast.** Below 200 ms.
- [ ] FR-5a: With a box
- WP01: not a requirement

| ID | Title | Text |
|----|-------|------|
| FR-006 | Pipes | a \\| b |
| **C-1** | Only git |  |

### FR7: Under a heading

Its text.

#### Detail

More.

### Other

Not part of it.

## Success Criteria

### Measurable Outcomes

- **SC-001**: fast

## Assumptions

None.
"""


def text_of(ref: str) -> str:
    [found], _ = find_requirements(parse_spec(SPEC), [ref])
    return found.text


@pytest.mark.parametrize("ref", ["FR-1", "FR-001", "FR1", "fr-01", "`FR-1`", "[FR-1]"])
def test_spellings_of_a_reference_are_one(ref: str):
    assert canonical_ref(ref) == "FR-1"


def test_different_references_stay_different():
    refs = ["FR-1", "NFR-1", "FR-10", "FR-1a", "FR-1.1", "FR-AUTH-1", "C-1"]
    assert len({canonical_ref(ref) for ref in refs}) == len(refs)
    assert canonical_ref("whatever it is") == "whatever it is"


def test_a_line_keeps_the_list_below_it():
    assert text_of("FR-1") == "Users can log in\n- Accept POST /api/auth/login\n- Return 401 if invalid"


def test_a_line_ends_before_other_prose_and_keeps_its_code_block():
    assert text_of("FR-2").startswith("Tokens are validated\n\n```text\nFR-3: in a code")
    assert "Prose" not in text_of("FR-2")


def test_a_list_item_keeps_what_is_indented_below_it():
    assert text_of("FR-3") == "Sessions persist\n  - for 7 days\n  and are refreshed"


def test_notes_and_bold_sentences_stay_in_the_text():
    assert text_of("FR-4") == "(must) Logout"
    assert text_of("NFR-001") == "**Fast.** Below 200 ms."
    assert text_of("FR-5a") == "With a box"


def test_a_row_of_a_table_names_its_columns():
    assert text_of("FR-6") == "Title: Pipes; Text: a | b"
    assert text_of("C-001") == "Only git"


def test_a_heading_owns_all_below_it():
    assert text_of("FR-007") == "Under a heading\n\nIts text.\n\n#### Detail\n\nMore."


def test_only_definitions_count():
    spec = parse_spec(SPEC)
    assert "WP-1" not in spec.requirements
    assert spec.requirements["FR-3"].ref == "FR-003"


def test_references_without_a_requirement_are_given_back():
    found, missing = find_requirements(parse_spec(SPEC), ["FR-99", "FR-1"])
    assert ([one.ref for one in found], missing) == (["FR-1"], ["FR-99"])


def test_title_overview_and_success_criteria():
    spec = parse_spec(SPEC, "d")
    assert spec.title == "User Authentication System"
    assert spec.overview == "Add login and logout.\nWith tokens."
    assert spec.success_criteria == "### Measurable Outcomes\n- **SC-001**: fast"
    assert spec.digest == "d"


def test_a_section_of_its_own_is_the_overview():
    assert parse_spec("# X\n\nFirst.\n\n## Problem Statement\n\nSecond.\n").overview == "Second."


def test_an_empty_specification_has_nothing():
    spec = parse_spec("")
    assert (spec.title, spec.overview, dict(spec.requirements), spec.success_criteria) == ("", "", {}, "")


def test_a_plan_is_its_sections_in_order():
    plan = parse_plan("before\n# Plan\n\n## Decisions\ntext\n```\n# no heading\n```\n### Deep ###\n")
    assert plan.sections == (
        ("", 0, "before"), ("Plan", 1, ""), ("Decisions", 2, "text\n```\n# no heading\n```"), ("Deep", 3, ""),
    )  # fmt: skip


def test_closing_marks_of_a_heading_are_no_part_of_it():
    assert [heading for heading, _, _ in parse_plan("# A ##\n#\n## C#").sections] == ["A", "", "C"]


@pytest.mark.parametrize(
    "line",
    [
        "- **" + "A1" * 50_000,
        "- " + "A-" * 50_000,
        "- FR-" + "0" * 100_000,
        "FR-1" + " " * 100_000 + "x",
        "# " + " " * 100_000 + "x",
        "a |\n" + " " * 100_000 + "x",
        "|" * 100_000,
    ],
)
def test_long_lines_are_read_at_once(line: str):
    started = time.process_time()
    parse_spec(f"{line}\n" * 3)
    assert canonical_ref(line)
    assert time.process_time() - started < 2
