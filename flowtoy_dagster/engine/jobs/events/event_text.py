"""Texts in Dagster's events: bounded, and what is code in them stays code; checks, which tell by
such texts how a step ended whose op succeeds.

An event's texts are stored several times (in its message, its metadata and its error), and each
page that shows the run loads them.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.graph import Step
from flowtoy_dagster.store.output_text import OutputSummary

MOST = 8192
"""Characters of one text that an event holds; of a longer one, the first and the last."""
LARGE_OUTPUT = 16 << 20
"""Bytes of JSON above which an output is warned of."""
CHECK = "step succeeded"
"""The label of the failed check by which a tolerated failure is seen."""
SKIPPED = "step skipped"
"""The label of the check by which it is seen that a condition skipped a step."""
_FENCES = re.compile(r"`{3,}")
_BLOCK = re.compile(r"(`{3,})[a-z]*\n(.*)\n\1\n?\Z", re.DOTALL)


def bounded(text: str) -> str:
    """A text that an event can hold. Secrets must be masked before: a cut one is not found."""
    if len(text) <= MOST:
        return text
    half = MOST // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def large_outputs(
    step: Step, summaries: Mapping[str, OutputSummary]
) -> Iterator[tuple[KeyPath, str]]:
    """Warnings of outputs that should be files (language 20.6), and where in the step they are."""
    for index, output in enumerate(step.outputs):
        summary = summaries.get(output.name)
        if summary is not None and summary.bytes > LARGE_OUTPUT:
            yield ("output", index), (
                f"output '{output.name}' has {summary.bytes / (1 << 20):.0f} MiB of JSON, which "
                "each step that refers to it reads as a whole; 'type: file' writes records to a "
                "file"
            )


def code_block(text: str, language: str = "") -> str:
    """Markdown that shows a text as it is, whatever it holds."""
    longest = max((len(found) for found in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def text_of(block: str) -> str:
    """The text that a `code_block` shows."""
    found = _BLOCK.match(block)
    return found[2] if found else block


def noted(
    success: bool, label: str, reason: str, facts: Mapping[str, Any]
) -> dg.ExpectationResult:
    """An event by which it is seen how a step ended whose op succeeds."""
    return check_event(success, label, bounded(reason), {"reason": bounded(reason), **facts})


def check_event(
    success: bool, label: str, description: str, metadata: Mapping[str, Any]
) -> dg.ExpectationResult:
    """A check, which Dagster's pages show with its metadata."""
    with warnings.catch_warnings():
        # Deprecated in favour of asset checks, which ops without assets can't have.
        warnings.simplefilter("ignore")
        return dg.ExpectationResult(
            success=success,
            label=label,
            description=description,
            metadata=metadata,
        )
