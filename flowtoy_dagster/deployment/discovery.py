"""Which files make which flow of a code location, and what its job is called. No Dagster in here.

Every YAML file of a folder is a flow, but for four kinds:

- `NAME.ANYTHING.yaml` next to `NAME.yaml` is an override: it is merged over that flow, several of
  them in the order of their names.
- `flow.yaml` names its flow for the folder that it is in.
- `*.test.yaml` are tests of flows.
- `workspace.yaml`, `dagster.yaml` and others that tools look for by name, manifests of Kubernetes,
  and what these tools merge over such a file, are no flows, unless they have a key `flow`.

What begins with a dot is not looked at.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import flowtoy_dagster.loader
from flowtoy_dagster.engine.jobs.dagster_names import dagster_name
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.flow.files.suffixes import OF_TESTS, YAML, is_special

CONFIG_VARIABLE = "FLOWTOY_CONFIG"
"""These files, merged into one flow."""
PATH_VARIABLE = "FLOWTOY_PATH"
"""These files, and all flows in these folders."""
VARIABLES = (CONFIG_VARIABLE, PATH_VARIABLE)
FOLDERS_FLOW = "flow"
OF_TOOLS = (
    "component", "compose", "dagster", "defs", "docker-compose", "kustomization", "values",
    "workspace",
)
"""Names of files that Dagster and container tools look for."""
_FLOW_KEY = re.compile(rb"""^(?:\{\s*)?["']?flow["']?\s*:""", re.MULTILINE)
_KEYS_OF_MANIFESTS = (
    re.compile(rb"^apiVersion\s*:", re.MULTILINE), re.compile(rb"^kind\s*:", re.MULTILINE),
)


class FlowFiles(NamedTuple):
    """The files of one flow.

    Attributes:
        paths: merged from left to right.
        name: the flow's name where the configuration gives none.
        job: the name of its job; None where it is that of the flow.
    """

    paths: tuple[Path, ...]
    name: str
    job: str | None


def flows_here(environment: Mapping[str, str] = os.environ) -> list[FlowFiles]:
    """The flows that the environment names, or else those of the folder `examples`."""
    config = _paths_in(environment.get(CONFIG_VARIABLE, ""))
    if config:
        return [FlowFiles(tuple(config), config[0].stem, None)]
    return flows_in(_paths_in(environment.get(PATH_VARIABLE, "")) or _examples())


def flows_in(places: Iterable[str | Path]) -> list[FlowFiles]:
    """The flows in files and folders, each with a job name of its own.

    A place that is not there is a flow that can't be read, so that it is not passed over.
    """
    found: list[FlowFiles] = []
    for place in map(Path, places):
        found += _flows_of_folder(place) if place.is_dir() else [_flow_of_file(place)]
    taken: set[str] = set()
    return [flow._replace(job=_unused(flow.job or flow.name, taken)) for flow in found]


def files_of_flows(paths: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The files of each flow in files and folders; `-` is standard input.

    Raises:
        UsageError: there is no flow in a folder.
    """
    for path in paths:
        if path == "-" or not os.path.isdir(path):
            yield (path,)
            continue
        found = flows_in([path])
        if not found:
            raise UsageError(
                f"there is no flow in the folder '{path}'\n"
                f"    flowtoy init {shlex.quote(path)} writes a first one"
            )
        for flow in found:
            yield tuple(map(str, flow.paths))


def job_name_of(parts: Iterable[str]) -> str:
    """The name of a job for a place: the folders on the way to it, and its own name."""
    # Names of ops have three underscores in a row, names of jobs two at most.
    joined = re.sub("_{3,}", "__", "__".join(dagster_name(part) for part in parts))
    return dagster_name(joined)


def _paths_in(value: str) -> list[Path]:
    return [Path(part).expanduser() for part in value.split(os.pathsep) if part]


def _examples() -> list[Path]:
    project = Path(flowtoy_dagster.loader.__file__).parent.parent
    if (project / "pyproject.toml").exists() and (project / "examples").is_dir():
        return [project / "examples"]
    return [Path("examples")] if Path("examples").is_dir() else []


def _flow_of_file(path: Path) -> FlowFiles:
    return FlowFiles((path,), path.stem, job_name_of([path.stem]))


def _flows_of_folder(root: Path) -> Iterator[FlowFiles]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        files = sorted(
            Path(folder, name)
            for name in names
            if name.endswith(YAML) and not name.startswith(".")
            if not name.endswith(OF_TESTS) and not is_special(os.path.join(folder, name))
        )
        settings = _settings_of_tools(files)
        files = [path for path in files if path not in settings]
        above = Path(folder).relative_to(root).parts
        for path, overrides in _grouped(files):
            if path.stem == FOLDERS_FLOW:
                parts = above or (root.resolve().name,)
            else:
                parts = (*above, path.stem)
            yield FlowFiles((path, *overrides), parts[-1], job_name_of(parts))


def _settings_of_tools(files: Iterable[Path]) -> set[Path]:
    """Those that are the settings of some tool, or are merged over such a file."""
    texts = {path: text for path in files if (text := _text_without_flow(path)) is not None}
    tools = {
        path.stem for path, text in texts.items()
        if path.stem in OF_TOOLS or all(key.search(text) for key in _KEYS_OF_MANIFESTS)
    }
    return {path for path in texts if path.stem in tools or _base_of(path.stem, tools)}


def _text_without_flow(path: Path) -> bytes | None:
    """The text of a file that has no key `flow`. One that can't be read counts as a flow."""
    try:
        text = path.read_bytes() if path.is_file() else None
    except OSError:
        return None
    return None if text is None or _FLOW_KEY.search(text) else text


def _grouped(files: Sequence[Path]) -> Iterator[tuple[Path, list[Path]]]:
    """Each flow's first file, and what is merged over it."""
    overrides: dict[str, list[Path]] = {path.stem: [] for path in files}
    firsts = []
    for path in files:
        base = _base_of(path.stem, overrides)
        if base is None:
            firsts.append(path)
        else:
            overrides[base].append(path)
    seen: set[str] = set()
    for path in firsts:
        # a.yaml and a.yml: the overrides are the first one's.
        yield path, [] if path.stem in seen else overrides[path.stem]
        seen.add(path.stem)


def _base_of(stem: str, stems: Collection[str]) -> str | None:
    """The shortest name that a file's name adds to, of those that are there."""
    parts = stem.split(".")
    bases = (".".join(parts[:count]) for count in range(1, len(parts)))
    return next((base for base in bases if base in stems), None)


def _unused(name: str, taken: set[str]) -> str:
    unused, number = name, 2
    while unused in taken:
        unused, number = f"{name}_{number}", number + 1
    taken.add(unused)
    return unused
