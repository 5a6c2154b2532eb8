"""What `flowtoy deploy init` writes, as far as it can be checked without what it is for.

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

from flowtoy_dagster.deployment.templates import files_of
from flowtoy_dagster.engine.dagster_private.storage import InstanceRef
from flowtoy_dagster.engine.storage.address import check_storage
from flowtoy_dagster.engine.storage.home import new_settings

COMPOSE, SYSTEMD = files_of("compose"), files_of("systemd")
UNITS = {name: text for name, text in SYSTEMD.items() if name.endswith(".service")}
BIN = Path(sys.executable).parent
HOME = "/home/flowtoy/home"
ONCE = ("postgres", "home")
"""Services that no unit stands for."""


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(COMPOSE["compose.yaml"])


def commands_of(unit: str) -> list[list[str]]:
    """The commands that a unit starts."""
    found = re.findall(r"^ExecStart(?:Pre)?=(.+)$", unit, re.MULTILINE)
    return [command.split() for command in found]


def settings_of(unit: str) -> dict[str, str]:
    """The variables that a unit sets."""
    lines = re.findall(r"^Environment=(.+)$", unit, re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def test_there_is_a_unit_for_each_service_and_they_start_the_same(compose: Any) -> None:
    services = {
        name: service["command"] for name, service in compose["services"].items()
        if name not in ONCE
    }
    assert {f"flowtoy-{name}.service" for name in services} == set(UNITS)
    for name, words in services.items():
        *before, command = commands_of(UNITS[f"flowtoy-{name}.service"])
        program, *arguments = command
        assert [Path(program).name, *arguments] == [
            part.replace("0.0.0.0", "127.0.0.1") for part in words
        ]
        assert before == ([["/opt/flowtoy/bin/flowtoy", "runs"]] if name == "code" else [])


def test_every_program_is_one_that_the_packages_bring(compose: Any) -> None:
    commands = [s["command"] for s in compose["services"].values() if "command" in s]
    commands += [command for unit in UNITS.values() for command in commands_of(unit)]
    shell = [command for command in commands if command[0] == "sh"]
    assert [command[-1].rpartition(" exec ")[2] for command in shell] == ["flowtoy runs"]
    for command in commands:
        assert command in shell or (BIN / Path(command[0]).name).exists(), command


def test_services_wait_for_what_they_need(compose: Any) -> None:
    services = compose["services"]
    for name in set(services) - set(ONCE):
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
    assert [n for n, service in services.items() if "env_file" in service] == ["code", "worker"]


def test_no_service_runs_as_root_or_can_write_its_image(compose: Any) -> None:
    assert re.findall(r"^USER (.+)$", COMPOSE["Dockerfile"], re.MULTILINE) == ["10001:10001"]
    for name, service in compose["services"].items():
        if name != "postgres":
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
            assert service["tmpfs"] == ["/tmp"]
            assert service["security_opt"] == ["no-new-privileges:true"]


def test_a_worker_has_the_time_to_end_its_steps(compose: Any) -> None:
    assert compose["services"]["worker"]["stop_grace_period"] == "1h"
    unit = UNITS["flowtoy-worker.service"]
    # Without it, systemd would send SIGTERM to the steps, too.
    assert "\nKillMode=mixed\n" in unit
    assert "\nTimeoutStopSec=1h\n" in unit


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_a_service_comes_up_whenever_what_it_needs_does(unit: str) -> None:
    # By default systemd gives up after five attempts in ten seconds: those of a server that is a
    # little later at boot. And a unit that requires one that fails is not started at all.
    head, _, service = UNITS[unit].partition("[Service]")
    assert "\nStartLimitIntervalSec=0\n" in head
    assert "\nRestart=on-failure\nRestartSec=5\n" in service
    assert "Requires=" not in head
    if "FLOWTOY_PATH" in service or "flowtoy worker" in service:
        # FLOWTOY_FILES: without what is mounted there, the folder is another one.
        assert "remote-fs.target" in head
    else:
        assert "\nAfter=flowtoy-code.service\nWants=flowtoy-code.service\n" in head


def test_the_image_has_what_the_services_refer_to(compose: Any) -> None:
    text = COMPOSE["Dockerfile"]
    assert re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE) == ["postgres"]
    (target,) = re.findall(r"^COPY workspace/ (\S+)$", text, re.MULTILINE)
    assert f"{target}workspace.yaml" in compose["services"]["daemon"]["command"]
    assert f" {target}dagster.yaml {HOME}/ " in compose["services"]["home"]["command"][-1]
    assert re.findall(r"-m 0700 (\S+)$", text, re.MULTILINE) == [HOME]
    for name in set(compose["services"]) - {"postgres"}:
        assert compose["services"][name]["environment"]["DAGSTER_HOME"] == HOME
        assert f"home:{HOME}" in compose["services"][name]["volumes"]
    # What is not in the build's context can't be in the image: no secrets.
    ignored = [line for line in COMPOSE[".dockerignore"].splitlines() if not line.startswith("#")]
    assert ignored == ["*", "!workspace"]


@pytest.mark.parametrize("target", ["compose", "k8s"])
def test_dagsters_settings_are_those_of_a_new_home_with_a_queue(
    target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLOWTOY_STORAGE", "postgresql://flowtoy:secret@127.0.0.1:1/flowtoy")
    text = files_of(target)["workspace/dagster.yaml"]
    settings = yaml.safe_load(text)
    new = yaml.safe_load(new_settings(Path(HOME)))
    del new["run_coordinator"]
    assert {name: settings[name] for name in new} == new
    assert settings["concurrency"] == {"runs": {"max_concurrent_runs": 10}}
    (tmp_path / "dagster.yaml").write_text(text)
    # Dagster takes it; opening it would need the database.
    reference = InstanceRef.from_dir(str(tmp_path))
    assert reference.storage_data.class_name == "WarmPostgresStorage"
    check_storage(tmp_path / "dagster.yaml")


def test_the_workspace_finds_the_code_where_it_is_served(
    compose: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dagster._core.workspace.load import location_origins_from_yaml_paths

    places = [compose["services"]["daemon"]["environment"]]
    places += [settings_of(UNITS[f"flowtoy-{name}.service"]) for name in ("daemon", "webserver")]
    path = tmp_path / "workspace.yaml"
    path.write_text(COMPOSE["workspace/workspace.yaml"])
    assert COMPOSE["workspace/workspace.yaml"] == SYSTEMD["workspace.yaml"]
    for settings in places:
        for name in ("FLOWTOY_CODE_HOST", "FLOWTOY_CODE_PORT"):
            monkeypatch.setenv(name, settings[name])
        (origin,) = location_origins_from_yaml_paths([str(path)])
        assert origin.location_name == "flowtoy_dagster.definitions"
        assert (origin.host, origin.port) in (("code", 4000), ("127.0.0.1", 4000))


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_the_unit(unit: str, tmp_path: Path) -> None:
    need("systemd-analyze")
    for name, text in UNITS.items():
        # The programs are where the tests' own are, not where a deployment has them.
        (tmp_path / name).write_text(text.replace("/opt/flowtoy/bin", str(BIN)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / unit)],
        capture_output=True, text=True,
    )
    ours = [line for line in done.stderr.splitlines() if unit in line]
    assert done.returncode == 0, done.stderr
    assert ours == []


def test_the_guide_installs_the_units_as_their_comments_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md").read_text("utf-8")
    (block,) = re.findall(r"^```bash\ncd units\n(.+?)```", page, re.DOTALL | re.MULTILINE)
    comments = re.findall(r"^#   (.+)$", SYSTEMD["storage.env.example"], re.MULTILINE)
    assert block.splitlines() == comments
