"""Merged configurations, each under its hash, and which of them code locations hold."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from flowtoy_dagster.errors import HomeError, system_reason
from flowtoy_dagster.flow.files.saved_places import packed
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.templates.values import to_json
from flowtoy_dagster.json_text import dumps, loads
from flowtoy_dagster.store.shared.shared_files import FILES_VARIABLE, shared_place, shared_store
from flowtoy_dagster.store.store import Store

CONFIGS_FOLDER = "flowtoy-configs"
_REFERENCE = re.compile(r"[0-9a-f]{64}")
_LONGEST_SHOWN = 80
_CONFIG = ".json"
_PLACES = ".places"
_HELD = ".held"
_LOG = logging.getLogger("flowtoy.store")


class SavedConfig(NamedTuple):
    """What was saved of a flow.

    Attributes:
        name: the name that it has where the configuration gives none.
        config: the merged configuration, as plain JSON data.
        folder: the flow's folder, where the flow depends on it.
        places: where its values are in its files (`flow.files.saved_places`), if that was asked.
    """

    name: str
    config: dict[str, Any]
    folder: str | None = None
    places: Any = None


class ConfigStore:
    """The configurations that a home has run or serves.

    Args:
        store: where they are.
        place: what messages call where they are.
    """

    def __init__(self, store: Store, place: str) -> None:
        self._store = store
        self._place = place
        self._reported: set[str] = set()

    def save(self, name: str, config: Mapping[str, Any], folder: str | None = None) -> str:
        """Save a configuration, unless it is there and whole.

        Args:
            name: the name that the flow has where the configuration gives none.
            config: plain JSON data.
            folder: the flow's folder, where the flow depends on it: equal flows that do not share
                one entry.

        Returns:
            its reference: the SHA-256 of what was saved, in lower-case hexadecimal digits.

        Raises:
            HomeError: it can't be written.
        """
        saved: dict[str, Any] = {"name": name, "config": config}
        if folder is not None:
            saved["folder"] = folder
        data = to_json(saved).encode()
        reference = hashlib.sha256(data).hexdigest()
        if self._read(reference) != data:
            self._put(f"{reference}{_CONFIG}", data)
        return reference

    def save_flow(self, flow: Flow) -> str:
        """Save the configuration of a flow, and where its values are in the files.

        Equal configurations of several files share an entry; it has the places of the latest.

        Returns:
            its reference, as `save` gives it.

        Raises:
            HomeError: it can't be written.
        """
        reference = self.save(flow.name, flow.config, flow.folder)
        places = packed(flow.written, flow.files) if flow.written is not None else None
        if places is not None:
            key, data = f"{reference}{_PLACES}", dumps(places)
            with contextlib.suppress(OSError):  # what can't be read is written anew
                if self._store.read(key) == data:
                    return reference
            self._put(key, data)
        return reference

    def read(self, reference: str, *, with_places: bool = False) -> SavedConfig | None:
        """What was saved under that reference.

        Returns:
            None where it is absent. One that is damaged counts as absent, with a warning.

        Raises:
            HomeError: it is no hash. References come from tags of runs, which others may write.
        """
        if not _REFERENCE.fullmatch(reference):
            cut = "…" if len(reference) > _LONGEST_SHOWN else ""
            shown = reference[:_LONGEST_SHOWN] + cut
            raise HomeError(f"{shown!r} is not the hash of a saved configuration")
        data = self._read(reference)
        if data is None:
            return None
        saved = loads(data)
        places = self._places(reference) if with_places else None
        return SavedConfig(saved["name"], saved["config"], saved.get("folder"), places)

    def check(self, reference: str) -> None:
        """See that a configuration is there; waits for a store that does not answer.

        Raises:
            HomeError: it is not there, or can't be read; says which.
        """
        try:
            self._store.read(f"{reference}{_CONFIG}")
        except FileNotFoundError:
            raise HomeError(
                f"the configuration of the run is not in {self._place}; set {FILES_VARIABLE} to a "
                "folder or URL that all machines of the deployment share"
            ) from None
        except OSError as error:
            reason = system_reason(error)
            raise HomeError(
                f"the configuration of the run can't be read in {self._place}: {reason}"
            ) from None

    def _places(self, reference: str) -> Any:
        """Where the values are; None where that was not kept, or can't be read."""
        with contextlib.suppress(OSError, ValueError):
            return loads(self._store.read(f"{reference}{_PLACES}"))
        return None

    def delete_unused(self, used: Callable[[], Iterable[str]]) -> None:
        """Delete all configurations but those that are used or that a code location holds.

        Args:
            used: gives the references that are used; called when nobody else is between saving
                one and storing what uses it.
        """
        with self.alone():
            kept = {*used(), *self.held()}
            for key in list(self._store.list()):
                if key.endswith((_CONFIG, _PLACES)) and key.partition(".")[0] not in kept:
                    self._store.delete(key)

    def keeping(self) -> AbstractContextManager[None]:
        """While the block runs, nothing is deleted: not what is saved in it, either.

        Hold it while a configuration is saved, until a run or code location that uses it is stored.

        Raises:
            HomeError: the home can't be written.
        """
        return self._lock(alone=False)

    def alone(self) -> AbstractContextManager[None]:
        """While the block runs, no other process is in `keeping`; waits for those that are.

        Raises:
            HomeError: the home can't be written.
        """
        return self._lock(alone=True)

    @contextlib.contextmanager
    def _lock(self, *, alone: bool) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(self._store.lock(alone=alone))
            except OSError as error:
                raise self._unwritable(error) from None
            yield

    def _unwritable(self, error: OSError) -> HomeError:
        reason, path = system_reason(error), error.filename2 or error.filename
        which = f"\n    {path}" if path else ""
        return HomeError(f"{self._place} can't be written: {reason}{which}")

    def hold(self, location: str, references: Iterable[str]) -> None:
        """Hold configurations for a code location, in place of those that it held before.

        A code location refers to them for as long as it is loaded; no run has a trace of that.

        Args:
            location: what distinguishes the location from others.
            references: the references of the configurations.

        Raises:
            HomeError: it can't be written.
        """
        key = f"{hashlib.sha256(location.encode()).hexdigest()}{_HELD}"
        data = json.dumps(sorted(references)).encode()
        try:
            if self._store.read(key) == data:
                return
        except OSError:
            """It is written below."""
        self._put(key, data)

    def held(self) -> set[str]:
        """The references that some code location holds."""
        found: set[str] = set()
        for key in self._store.list():
            if key.endswith(_HELD):
                try:
                    found.update(json.loads(self._store.read(key)))
                except FileNotFoundError:
                    """It was deleted meanwhile."""
                except (OSError, ValueError, TypeError) as error:
                    self._report(key, f"what a code location holds can't be read: {error}")
        return found

    def clean(self) -> int:
        """Remove what writers that were killed left behind; how many files that were."""
        return self._store.clean()

    def _put(self, key: str, data: bytes) -> None:
        try:
            self._store.put(key, data)
        except OSError as error:
            raise self._unwritable(error) from None

    def _read(self, reference: str) -> bytes | None:
        """The bytes of a configuration, if they are those that were saved."""
        key = f"{reference}{_CONFIG}"
        try:
            data = self._store.read(key)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = system_reason(error)
            self._report(key, f"the saved configuration can't be read: {reason}")
            return None
        if hashlib.sha256(data).hexdigest() != reference:
            self._report(key, "the saved configuration is damaged, so it is not used")
            return None
        return data

    def _report(self, key: str, problem: str) -> None:
        if key not in self._reported:
            self._reported.add(key)
            _LOG.warning("%s: %s", f"{self._store.url}/{key}", problem)


def configs_of(home: Path) -> ConfigStore:
    """The configurations of a home folder."""
    return ConfigStore(shared_store(home, CONFIGS_FOLDER), shared_place(home))
