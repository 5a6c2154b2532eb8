"""What came of tests: in words with diffs, and as JUnit XML."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from flowtoy_dagster.testing.cases import Verdict
from flowtoy_dagster.testing.expectations import MISSING, Mismatch, same

_CONTEXT = 2
"""Equal lines that a diff shows around others."""
_LONGEST = 60
"""Lines of a diff that are shown."""


def lines_of(verdict: Verdict) -> list[str]:
    """What is printed of a test that failed, after its name."""
    found: list[str] = []
    for mismatch in verdict.mismatches:
        found += _lines(verdict, mismatch)
    return found


def _lines(verdict: Verdict, mismatch: Mismatch) -> list[str]:
    case = verdict.case
    place = case.node.nearest((*case.path, *mismatch.path)).location
    lines = [f"{place}: {verdict.run.mask.text(mismatch.what)}"]
    if mismatch.reason is not None:
        lines.append(f"    {mismatch.reason}")
    if mismatch.expected is not MISSING and mismatch.found is not MISSING:
        expected = verdict.run.mask.data(mismatch.expected)
        if same(expected, mismatch.found):
            lines.append("    what is secret is compared as '***': write that")
        else:
            lines += [f"    {line}" for line in diff(expected, mismatch.found)]
    return lines


def diff(expected: Any, found: Any) -> list[str]:
    """The lines in which two values differ: `-` is expected, `+` is found."""
    one, other = _text(expected), _text(found)
    if len(one) == len(other) == 1:
        return [f"- {one[0]}", f"+ {other[0]}"]
    lines = difflib.unified_diff(one, other, n=_CONTEXT, lineterm="")
    kept = [line[:1] + " " + line[1:] for line in list(lines)[2:] if not line.startswith("@@")]
    more = len(kept) - _LONGEST
    return kept if more <= 0 else [*kept[:_LONGEST], f"… and {more} lines more"]


def _text(value: Any) -> list[str]:
    return json.dumps(value, ensure_ascii=False, indent=2).splitlines()


def summary(verdicts: Sequence[Verdict], seconds: float) -> str:
    """`3 tests passed in 0.12 s`."""
    failed = sum(not verdict.passed for verdict in verdicts)
    count = f"{len(verdicts)} test{'' if len(verdicts) == 1 else 's'}"
    if failed:
        return f"{failed} of {len(verdicts)} tests failed in {seconds:.2f} s"
    return f"{count} passed in {seconds:.2f} s"


def junit(verdicts: Iterable[Verdict]) -> bytes:
    """The same as JUnit XML, which CI systems read."""
    by_file: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_file.setdefault(verdict.case.file, []).append(verdict)
    root = ET.Element("testsuites")
    for file, some in by_file.items():
        failed = sum(not verdict.passed for verdict in some)
        suite = ET.SubElement(root, "testsuite", {
            "name": _xml(file), "tests": str(len(some)), "failures": str(failed), "errors": "0",
            "time": f"{sum(verdict.seconds for verdict in some):.3f}",
        })
        for verdict in some:
            case = ET.SubElement(suite, "testcase", {
                "classname": _xml(file), "name": _xml(verdict.case.config.name),
                "time": f"{verdict.seconds:.3f}",
            })
            if not verdict.passed:
                lines = lines_of(verdict)
                failure = ET.SubElement(case, "failure", {"message": _xml(lines[0])})
                failure.text = _xml("\n".join(lines))
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _xml(text: str) -> str:
    """A text without what XML can't hold."""
    return "".join(
        c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
        else "\ufffd"
        for c in text
    )
