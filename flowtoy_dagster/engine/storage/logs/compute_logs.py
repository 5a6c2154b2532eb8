"""What steps print, into files as it comes, without secrets and without helper processes."""

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Self

from flowtoy_dagster.datafiles.modes import make_own_folder, open_in_mode
from flowtoy_dagster.engine.dagster_private.storage import (
    CapturedLogContext,
    ConfigurableClassData,
    LocalComputeLogManager,
)
from flowtoy_dagster.engine.storage.logs.log_pump import Pumps
from flowtoy_dagster.steps.state.mask import SharedMask, StepMask
from flowtoy_dagster.store.shared.shared_files import (
    LOGS_FOLDER,
    check_shared_folder,
    shared_folder,
    shared_store,
    shared_url,
)
from flowtoy_dagster.store.shared.uploads import part_of, uploaded
from flowtoy_dagster.store.store import Store

_alone = threading.RLock()
"""Held while a step's output is captured: steps in several threads share the descriptors."""
_CHUNK = 1 << 16
_CHUNKS_AT_ONCE = 32
"""More than a pipe holds, so that one who prints without a pause can't hold up the step's end."""
_EXTENSIONS = "out", "err", "complete"
_SHORT_NAME = re.compile(r"\w[\w.-]{0,199}")
"""A name that Dagster takes as it is, whatever its extension; its own are eight letters."""
_DISCARDED = b"(what this step printed is not kept: its secret outputs are not known)\n"


class DirectComputeLogManager(LocalComputeLogManager):
    """Dagster's local log files, written by the step's own process.

    Dagster's own starts two `tail` and two watching processes a step, to repeat on the console
    what goes into the files. Here a thread takes what the step prints out of two pipes, hides
    the secrets that the step knows, and appends it to the files, which the UI and
    `flowtoy runs logs` read live.
    """

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "DirectComputeLogManager":
        base = Path(config_value["base_dir"])
        check_shared_folder(base.parent)
        shared = shared_folder(base.parent)
        if shared != base.parent:
            config_value = {**config_value, "base_dir": str(shared / LOGS_FOLDER)}
        manager = cls(inst_data=inst_data, **config_value)
        if shared_url() is not None:
            manager._shared = shared_store(base.parent, LOGS_FOLDER)
        return manager

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._captures: list[_Capture] = []
        self._shared: Store | None = None
        self._latest: tuple[Sequence[str], Path] = (), Path()
        self._pumps = Pumps()

    def keep_pump(self) -> None:
        """Have one thread for all that is captured in this process, until its end."""
        self._pumps.keep()

    def mask_with(self, mask: StepMask) -> None:
        """Hide what a step knows to be secret in everything that is captured now."""
        for capture in tuple(self._captures):
            capture.mask.add(mask)

    @contextlib.contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        *paths, ended = self._paths(log_key)
        make_own_folder(ended.parent)
        with self._uploaded(paths), _alone, _Capture(paths, self._pumps) as capture:
            self._captures.append(capture)
            try:
                yield CapturedLogContext(log_key)
            finally:
                self._captures.remove(capture)
        # The file exists: no more will come.
        os.close(open_in_mode(ended, os.O_WRONLY))
        if self._shared is not None:
            with contextlib.suppress(OSError):  # it was reported above
                self._shared.put(self._key(ended), b"")

    def _paths(self, log_key: Sequence[str]) -> Sequence[Path]:
        """The files for stdout and stderr, and the one that is there when no more will come."""
        *folder, name = log_key
        if not _SHORT_NAME.fullmatch(name):
            return [Path(self.get_captured_local_path(log_key, end)) for end in _EXTENSIONS]
        if self._latest[0] != folder:
            # Dagster looks at each folder of the path; all steps of a run have the same.
            self._latest = folder, Path(self.get_captured_local_path(log_key, "out")).parent
        return [self._latest[1] / f"{name}.{end}" for end in _EXTENSIONS]

    def read_path(
        self, path: str, offset: int = 0, max_bytes: int | None = None
    ) -> tuple[bytes | None, int]:
        if self._shared is None or os.path.exists(path):
            return super().read_path(path, offset, max_bytes)  # type: ignore[no-any-return]
        return part_of(self._shared, self._key(path), offset, max_bytes)

    def is_capture_complete(self, log_key: Sequence[str]) -> bool:
        if super().is_capture_complete(log_key):
            return True
        ended = self._key(self.get_captured_local_path(log_key, "complete"))
        return self._shared is not None and self._shared.exists(ended)

    def _uploaded(self, paths: Sequence[Path]) -> contextlib.AbstractContextManager[None]:
        """Where others can see what is written to these files, while a block runs."""
        if self._shared is None:
            return contextlib.nullcontext()
        return uploaded(self._shared, {self._key(path): path for path in paths})

    def _key(self, path: str | Path) -> str:
        """What a file of the folder is called in the store."""
        return Path(path).relative_to(Path(self._base_dir).resolve()).as_posix()


class _Capture:
    """File descriptors 1 and 2 into two files, for the length of a block.

    Args:
        paths: the files for stdout and stderr.
        pumps: has what moves what comes while the block runs.
    """

    def __init__(self, paths: Sequence[Path], pumps: Pumps) -> None:
        self._files = [open_in_mode(path, os.O_WRONLY | os.O_APPEND) for path in paths]
        self._pumps = pumps
        self._held = [b"", b""]
        self.mask = SharedMask()

    def __enter__(self) -> Self:
        _flush()
        pipes = [os.pipe(), os.pipe()]
        self.ends: Sequence[int] = [read for read, _ in pipes]
        self._kept = [os.dup(1), os.dup(2)]
        for descriptor, (read, write) in zip((1, 2), pipes, strict=True):
            os.set_blocking(read, False)
            os.dup2(write, descriptor)
            os.close(write)
        self._emptying = self._pumps.emptying(self)
        self._emptying.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        _flush()
        for descriptor, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, descriptor)
            os.close(kept)
        self._emptying.__exit__(None, None, None)
        # What a child that was left behind still prints is not waited for.
        for end in self.ends:
            self.drain(end)
        self._write_held()
        for descriptor in (*self.ends, *self._files):
            os.close(descriptor)

    def drain(self, end: int) -> bool:
        """Move what is there into the file, or the first part; False at the pipe's end."""
        index = self.ends.index(end)
        for _ in range(_CHUNKS_AT_ONCE):
            try:
                data = os.read(end, _CHUNK)
            except BlockingIOError:
                break
            if not data:
                return False
            # What may be the beginning of a secret is held back until more comes, or the end.
            data = self._held[index] + data
            waits = self.mask.is_holding or self.mask.is_discarding
            held = len(data) if waits else self.mask.held_back(data)
            self._held[index] = data[len(data) - held :] if held else b""
            self._write(index, data[: len(data) - held])
        return True

    def _write_held(self) -> None:
        for index, data in enumerate(self._held):
            self._write(index, _DISCARDED if data and self.mask.is_discarding else data)
        self._held = [b"", b""]

    def _write(self, index: int, data: bytes) -> None:
        if data:
            with contextlib.suppress(OSError):  # a full disk must not fail a step that prints
                os.write(self._files[index], self.mask.octets(data))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
