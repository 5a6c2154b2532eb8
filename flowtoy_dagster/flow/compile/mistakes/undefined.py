"""Names and sources that a template uses and that are not there (language 6.3, 6.4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from flowtoy_dagster.flow.compile.catalog import ProviderCatalog
from flowtoy_dagster.flow.compile.mistakes.reference_hints import of_flow_hint, root_hint
from flowtoy_dagster.flow.compile.validate import Draft
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.files.suggestions import nearest
from flowtoy_dagster.flow.files.synonyms import meanings
from flowtoy_dagster.flow.templates.compared_states import never_equal
from flowtoy_dagster.flow.templates.names import (
    BATCH,
    END_WORDS,
    FLOW,
    FLOW_WORDS,
    INCREMENTAL,
    INCREMENTAL_WORDS,
    ITEM,
    LOOP,
    LOOP_WORDS,
    ROOTS,
    RUN,
    RUN_WORDS,
)
from flowtoy_dagster.flow.templates.references import (
    asked_names,
    attributes_of,
    free_names,
    loop_words,
    references,
    words_of,
)

_DOLLAR = re.compile(r"\$\{\{[^{}]*\}\}")
"""A template as GitHub Actions have it; within a longer text, `$` may be of a price."""
_OF_ITEMS = "only templates of a step with 'for_each' have it"
_BEFORE_ITEMS = "this is rendered once, before there are items: of 'for_each', 'key' alone has it"
_NOT_IN_SOURCES = (
    "the templates of a named source don't know the item of a step: write this one in the step"
)
_OF_RESULTS = "JSON that a step got is 'result.data', that of a command 'result.data.json'"
_FILTERS = {
    "len": "length", "length": "length", "str": "string", "int": "int", "float": "float",
    "json": "tojson", "upper": "upper", "lower": "lower", "join": "join", "sorted": "sort",
    "round": "round", "abs": "abs", "sum": "sum", "max": "max", "min": "min", "trim": "trim",
    "to_json": "tojson", "toJson": "tojson", "fromJson": "fromjson", "list": "list",
}
"""Functions of other languages, and the filters that do the same."""
_OF_CURSORS = (
    "only templates of a step with 'incremental' have it: its input, source, outputs and conditions"
)


class NameCheck:
    """Rejects what a document's templates use and nothing gives, unless they test it."""

    def __init__(self, draft: Draft, providers: ProviderCatalog) -> None:
        self._draft = draft
        self._providers = providers
        written = draft.document.root.child("sources")
        named = written.value if written else None
        # If it is not a mapping at all, that is the error, and no name is wrong because of it.
        self._told = named is not None and not isinstance(named, dict)
        self._sources = frozenset(named if isinstance(named, dict) else ())

    def check(self, template: str, path: KeyPath, names: Collection[str] | None) -> None:
        """Note what is unknown in a template.

        Args:
            template: one that `references` takes.
            path: where it is.
            names: what it knows besides the roots; None where any name may be missing.
        """
        if _DOLLAR.fullmatch(template):
            told = "the '$' before '{{' stays in the text"
            self._draft.problems.warning(path, told, "write {{ ... }} without '$'")
        for name, line in free_names(template).items():
            if names is None or name in names or (name,) in asked_names(template):
                continue
            hint = self._of_item(name, names, path) or self._hint(name, names, template)
            self._draft.problems.error(path, f"'{name}' is not a name", hint, line=line)
        self._check_loop(template, path, names)
        self._check_cursor(template, path, names)
        self._check_flow(template, path)
        self._check_run(template, path)
        self._check_states(template, path)
        for reference in references(template):
            name = reference.step or ""
            if reference.root != "sources" or not self._is_no_source(name):
                continue
            if ("sources", name) not in asked_names(template):
                hint = nearest(name, self._draft.sources).hint
                message = f"there is no source '{name}'"
                self._draft.problems.error(path, message, hint, line=reference.line)

    def _check_loop(self, template: str, path: KeyPath, names: Collection[str] | None) -> None:
        """Note what is unknown of `loop`, where it is not that of a template's own `for`."""
        if names is None or LOOP not in template:
            return
        asked = asked_names(template)
        for word, line in loop_words(template).items():
            if LOOP not in names and (LOOP,) not in asked:
                hint = _who_has_items(path)
                self._draft.problems.error(path, f"'{LOOP}' is not a name", hint, line=line)
            elif LOOP in names and word not in (None, *LOOP_WORDS) and (LOOP, word) not in asked:
                hint = nearest(word or "", LOOP_WORDS).hint
                self._draft.problems.error(path, f"'{LOOP}' has no '{word}'", hint, line=line)

    def _check_cursor(self, template: str, path: KeyPath, names: Collection[str] | None) -> None:
        """Note what is unknown of `incremental`."""
        if names is None or INCREMENTAL not in names or INCREMENTAL not in template:
            return
        for word, line in _unknown_words(template, INCREMENTAL, INCREMENTAL_WORDS):
            hint = nearest(word, INCREMENTAL_WORDS).hint
            self._draft.problems.error(path, f"'{INCREMENTAL}' has no '{word}'", hint, line=line)

    def _check_flow(self, template: str, path: KeyPath) -> None:
        """Note what is unknown of `flow`, which is easily written for `flows`."""
        if FLOW not in words_of(template):
            return
        for word, line in _unknown_words(template, FLOW, FLOW_WORDS):
            steps = [step.config.name for step in self._draft.steps]
            hint = of_flow_hint(word, steps)
            self._draft.problems.error(path, f"'{FLOW}' has no '{word}'", hint, line=line)

    def _check_run(self, template: str, path: KeyPath) -> None:
        """Note what is unknown of `run`."""
        if RUN not in words_of(template):
            return
        known = (*RUN_WORDS, *END_WORDS) if path[:1] == ("notify",) else RUN_WORDS
        for word, line in _unknown_words(template, RUN, known):
            hint = nearest(word, known).hint
            if word in END_WORDS:
                hint = "only templates of 'notify' have it"
            self._draft.problems.error(path, f"'{RUN}' has no '{word}'", hint, line=line)

    def _check_states(self, template: str, path: KeyPath) -> None:
        """Warn of a comparison that is the same whatever happens."""
        for found in never_equal(template):
            message = f"'{found.written}' is never '{found.word}'"
            hint = nearest(found.word, found.states).question
            hint = hint or f"it is {', '.join(map(repr, found.states))}"
            self._draft.problems.warning(path, message, hint, line=found.line)

    def _is_no_source(self, name: str) -> bool:
        return bool(name) and name not in self._sources and not self._told

    def _of_item(self, name: str, names: Collection[str], path: KeyPath) -> str | None:
        """Who knows the item of a loop that a template asks for; None where it asks for none."""
        loops = [step.config.for_each for step in self._draft.steps if step.config.for_each]
        if name not in (ITEM, "items", BATCH, *(loop.name for loop in loops)):
            return None
        if path[0] == "sources":
            return _NOT_IN_SOURCES
        if LOOP not in names:
            return _who_has_items(path)
        own = [step.config.for_each for step in self._draft.steps if step.path == path[:2]]
        return f"this step calls it '{own[0].name}'" if own and own[0] else None

    def _hint(self, name: str, names: Collection[str], template: str) -> str:
        if name == INCREMENTAL:
            return _OF_CURSORS
        if "started_at" in meanings(name):
            return "the time at which the run began is run.started_at"
        of_provider = self._providers.name_hint(name)
        if of_provider and "result" in names:
            return _OF_RESULTS
        if name in _FILTERS:
            return f"write it as a filter, such as 'value | {_FILTERS[name]}'"
        steps = (step.config.name for step in self._draft.steps)
        known = of_provider or root_hint(name, template, steps)
        return known or nearest(name, [*ROOTS, *names]).hint


def _who_has_items(path: KeyPath) -> str:
    """Which templates know an item, for one at a place that does not."""
    return _BEFORE_ITEMS if path[2:3] == ("for_each",) else _OF_ITEMS


def _unknown_words(template: str, name: str, known: Collection[str]) -> Iterator[tuple[str, int]]:
    """What a template reads of a name that does not have it, and its line.

    What it asks for, as in `run.x is defined`, may be missing.
    """
    for word, line in attributes_of(template, name).items():
        if word not in (None, *known) and (name, word) not in asked_names(template):
            yield str(word), line
