"""Saved configurations (runtime 5, 13; language 13.3)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.definitions import rebuild_arguments, rebuild_job
from flowtoy_dagster.errors import HomeError, RunError
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.store.configs import configs_of

CONFIG: dict[str, Any] = {"flow": [{"name": "é", "x-n": [1, 2.5, None, True, 2**53]}]}


def files(home: Path) -> list[Path]:
    return sorted((home / "flowtoy-configs").iterdir())


def test_a_configuration_is_saved_by_its_hash_for_its_owner_alone(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        reference = configs_of(tmp_path).save("shop", CONFIG)
    finally:
        os.umask(mask)
    (path,) = files(tmp_path)
    assert path.name == f"{reference}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert configs_of(tmp_path).read(reference) == ("shop", CONFIG, None, None)


def test_the_same_configuration_is_saved_once_and_another_next_to_it(tmp_path: Path) -> None:
    configs = configs_of(tmp_path)
    first = configs.save("shop", CONFIG)
    written = files(tmp_path)[0].stat().st_ino
    assert configs.save("shop", dict(CONFIG)) == first
    assert files(tmp_path)[0].stat().st_ino == written
    others = {
        configs.save("shops", CONFIG), configs.save("shop", {"flow": []}),
        configs.save("shop", CONFIG, "/srv/one"), configs.save("shop", CONFIG, "/srv/two"),
    }
    assert len({first, *others}) == len(files(tmp_path)) == 5


def test_a_configuration_that_cannot_be_saved_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "flowtoy-configs").touch()
    with pytest.raises(HomeError, match=r"the home folder .* can't be written: file exists"):
        configs_of(tmp_path).save("shop", CONFIG)


def test_a_folder_in_the_place_of_a_configuration_is_named(tmp_path: Path) -> None:
    flow = load_flow({"name": "f", "flow": [{"name": "a", "source": "env"}]})
    configs = configs_of(tmp_path)
    path = tmp_path / "flowtoy-configs" / f"{configs.save_flow(flow)}.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(HomeError) as raised:
        configs.save_flow(flow)
    assert str(raised.value).endswith(f"can't be written: is a directory\n    {path}")


def test_what_can_t_be_read_of_places_is_written_again(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    flow = load_flow(write("name: f\nflow: [{name: a, source: env}]"))
    configs = configs_of(tmp_path)
    reference = configs.save_flow(flow)
    path = tmp_path / "flowtoy-configs" / f"{reference}.places"
    path.unlink()
    os.mkfifo(path)
    assert configs.save_flow(flow) == reference
    assert path.is_file()


@pytest.mark.parametrize("left", [b"", b"{", bytes(40), b'{"name":"x","config":{}}'])
def test_a_damaged_configuration_counts_as_absent_and_is_written_again(
    left: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configs = configs_of(tmp_path)
    reference = configs.save("shop", CONFIG)
    files(tmp_path)[0].write_bytes(left)
    assert configs.read(reference) is None
    assert configs.read(reference) is None
    (warning,) = caplog.messages  # said once
    assert warning.endswith(
        f"{reference}.json: the saved configuration is damaged, so it is not used"
    )
    assert configs.save("shop", CONFIG) == reference
    assert configs.read(reference) == ("shop", CONFIG, None, None)


@pytest.mark.parametrize(
    "reference",
    ["../../tmp/evil", "/tmp/evil", "", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n", "\0" * 64,
     "٠" * 64],
)
def test_only_a_hash_finds_a_configuration(reference: str, tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="is not the hash of a saved configuration"):
        configs_of(tmp_path).read(reference)
    with pytest.raises(HomeError, match="is not the hash of a saved configuration"):
        rebuild_job(reference, str(tmp_path))


def test_a_file_of_any_other_place_is_not_a_configuration(tmp_path: Path) -> None:
    # A run's tag or a job's argument that names a file must not have it executed.
    other = tmp_path / f"{'0' * 64}.json"
    other.write_text('{"name": "x", "config": {"flow": []}}')
    with pytest.raises(RunError, match="is not in"):
        rebuild_job(str(other), str(tmp_path))


def test_a_job_is_rebuilt_from_a_reference_without_a_path(
    clean_environment: Path, tmp_path: Path
) -> None:
    flow = {"flow": [{"name": "a", "source": {"type": "process", "command": "true"}}]}
    reference = configs_of(clean_environment).save("shop", flow)
    assert rebuild_arguments(clean_environment, reference) == (reference,)
    job = rebuild_job(reference)
    assert job.name == "shop"
    # what runs of the first release hold
    old = str(clean_environment / "flowtoy-configs" / f"{reference}.json")
    assert rebuild_job(old).name == "shop"
    assert rebuild_arguments(tmp_path, reference) == (reference, str(tmp_path))


def test_what_a_location_holds_stays_and_what_nobody_uses_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configs = configs_of(tmp_path)
    kept, used, unused = (configs.save(name, CONFIG) for name in "abc")
    configs.hold("here", [kept])
    configs.hold("there", [])
    configs.delete_unused(lambda: [used])
    assert configs.held() == {kept}
    assert configs.read(kept)
    assert configs.read(used)
    assert configs.read(unused) is None
    configs.hold("here", [used])
    assert configs.held() == {used}
    assert caplog.messages == []
    next(path for path in files(tmp_path) if path.suffix == ".held").write_bytes(b"")
    assert configs_of(tmp_path).held() <= {used}
    assert "what a code location holds can't be read" in caplog.text
