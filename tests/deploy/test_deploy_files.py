"""The files of docs/how-to/deploy/, as far as they can be checked without what they are for.

Their commands are run in tests/deploy/postgres/test_daemon.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from programs import need  # type: ignore[import-not-found]

FILES = Path(__file__).parents[2] / "docs" / "how-to" / "deploy"
UNITS = sorted(FILES.glob("*.service"))
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((FILES / "compose.yaml").read_text(encoding="utf-8"))


def commands_of(unit: Path) -> list[list[str]]:
    """The commands that a unit starts."""
    found = re.findall(r"^ExecStart(?:Pre)?=(.+)$", unit.read_text(), re.MULTILINE)
    return [command.split() for command in found]


def settings_of(unit: Path) -> dict[str, str]:
    """The variables that a unit sets."""
    lines = re.findall(r"^Environment=(.+)$", unit.read_text(), re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def test_there_is_a_unit_for_each_service_and_they_start_the_same(compose: Any) -> None:
    services = {
        name: service["command"] for name, service in compose["services"].items()
        if name not in ("postgres", "home")
    }
    assert sorted(f"flowtoy-{name}.service" for name in services) == [u.name for u in UNITS]
    for unit in UNITS:
        *before, command = commands_of(unit)
        name = unit.stem.removeprefix("flowtoy-")
        program, *arguments = command
        assert [Path(program).name, *arguments] == [
            part.replace("0.0.0.0", "127.0.0.1") for part in services[name]
        ]
        assert before == ([["/opt/flowtoy/bin/flowtoy", "runs"]] if name == "code" else [])


def test_every_program_is_one_that_the_packages_bring(compose: Any) -> None:
    commands = [s["command"] for s in compose["services"].values() if "command" in s]
    commands += [command for unit in UNITS for command in commands_of(unit)]
    for command in commands:
        assert (BIN / Path(command[0]).name).exists(), command


def test_services_wait_for_what_they_need(compose: Any) -> None:
    services = compose["services"]
    for name in ("code", "daemon", "webserver"):
        assert services[name]["depends_on"] == {
            "home": {"condition": "service_completed_successfully"}
        }
    assert services["home"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    used = {volume.split(":")[0] for s in services.values() for volume in s.get("volumes", ())}
    assert {name for name in used if not name.startswith(".")} == set(compose["volumes"])


def test_nothing_is_open_to_the_outside_and_no_password_is_written(compose: Any) -> None:
    services = compose["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:3000:3000"]
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if "password" in f"{name}{value}".lower():
                assert "${POSTGRES_PASSWORD:?is not set}" in value
    # The flows' own secrets are for the service that runs them alone.
    assert [name for name, service in services.items() if "env_file" in service] == ["code"]


def test_the_image_has_what_the_services_refer_to(compose: Any) -> None:
    text = (FILES / "Dockerfile").read_text(encoding="utf-8")
    assert "flowtoy-dagster[postgres]" in text
    (target,) = re.findall(r"^COPY workspace.yaml (\S+)$", text, re.MULTILINE)
    assert target in compose["services"]["daemon"]["command"]
    (home,) = re.findall(r"-m 0700 (\S+)$", text, re.MULTILINE)
    for name in ("home", "code", "daemon", "webserver"):
        assert compose["services"][name]["environment"]["DAGSTER_HOME"] == home
        assert f"home:{home}" in compose["services"][name]["volumes"]


def test_the_workspace_finds_the_code_where_it_is_served(
    compose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster._core.workspace.load import location_origins_from_yaml_paths

    places = [compose["services"]["daemon"]["environment"]]
    places += [settings_of(unit) for unit in UNITS if unit.stem != "flowtoy-code"]
    for settings in places:
        for name in ("FLOWTOY_CODE_HOST", "FLOWTOY_CODE_PORT"):
            monkeypatch.setenv(name, settings[name])
        (origin,) = location_origins_from_yaml_paths([str(FILES / "workspace.yaml")])
        assert origin.location_name == "flowtoy_dagster.definitions"
        assert (origin.host, origin.port) in (("code", 4000), ("127.0.0.1", 4000))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    need("systemd-analyze")
    for path in UNITS:
        # The programs are where the tests' own are, not where a deployment has them.
        text = path.read_text().replace("/opt/flowtoy/bin", str(BIN))
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
         str(tmp_path / unit.name)],
        capture_output=True, text=True,
    )
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert done.returncode == 0, done.stderr
    assert ours == []
