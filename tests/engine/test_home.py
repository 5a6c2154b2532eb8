"""The home folder (cli: Home; runtime 5, 12, 13; language 13.3)."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import dagster as dg
import platformdirs
import pytest
import yaml

from flowtoy_dagster.engine.storage.home import home_folder, open_home
from flowtoy_dagster.errors import HomeError, UsageError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"DAGSTER_HOME": "/d", "FLOWTOY_HOME": "/f"}, "/d"),
        ({"FLOWTOY_HOME": "/f"}, "/f"),
        ({"DAGSTER_HOME": "", "FLOWTOY_HOME": "/f"}, "/f"),
        ({"FLOWTOY_HOME": "~/flows"}, "/home/somebody/flows"),
    ],
    ids=["an existing deployment", "flowtoy's own", "empty is not set", "tilde"],
)
def test_the_environment_says_where_it_is(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLOWTOY_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert home_folder() == Path(folder)


def test_without_the_environment_it_is_the_users_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FLOWTOY_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert home_folder() == Path(platformdirs.user_data_dir("flowtoy", appauthor=False))
    assert home_folder() == tmp_path / "flowtoy"


def test_a_relative_folder_is_made_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWTOY_HOME", "here")
    assert open_home() == tmp_path / "here"
    assert (tmp_path / "here" / "dagster.yaml").exists()


def test_a_new_home_is_private_whatever_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        home = open_home(tmp_path / "deep" / "home")
    finally:
        os.umask(mask)
    assert mode(home) == mode(home.parent) == 0o700
    assert mode(home / "dagster.yaml") == 0o600
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]


@pytest.mark.parametrize(
    "name",
    ["home", "a home: with 'quotes\" {and} #signs $HOME 100%", "maïson\nline", "back\\slash"],
)
def test_dagster_takes_the_configuration_of_a_new_home(name: str, tmp_path: Path) -> None:
    home = open_home(tmp_path / name)
    settings = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8"))
    assert settings["telemetry"] == {"enabled": False}
    assert settings["nux"] == {"enabled": False}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.root_directory == str(home)
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.get_runs() == []
        assert instance.storage_directory() == str(home / "storage")
    assert (home / "history" / "runs.db").exists()


def test_a_second_opening_changes_nothing(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    (home / "dagster.yaml").write_text("# mine\n")
    assert open_home(home) == home
    assert (home / "dagster.yaml").read_text() == "# mine\n"
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]


def test_a_deployments_folder_is_left_as_it_is(tmp_path: Path) -> None:
    # runtime 12: never over a user's own, and a folder without one runs on Dagster's defaults.
    (tmp_path / "history").mkdir()
    open_home(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["history"]


def test_a_home_that_another_process_is_making_is_new(tmp_path: Path) -> None:
    # runtime 12: else this one would run on Dagster's defaults.
    (tmp_path / ".dagster.yaml.abc").touch()
    open_home(tmp_path)
    assert (tmp_path / "dagster.yaml").exists()


# Each fails for every user, root too, whom permissions don't stop.
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("{tmp}/file/home", "not a directory"),
        ("{tmp}/file", "file exists"),
        ("/proc/flowtoy", "no such file or directory"),
        ("/proc", "no such file or directory"),
        ("{tmp}/" + "x" * 300, "file name too long"),
    ],
    ids=["below a file", "a file", "not to be made", "not to be written", "too long"],
)
def test_a_home_that_cannot_be_used_is_a_clear_error(
    place: str, reason: str, tmp_path: Path
) -> None:
    # runtime 13
    (tmp_path / "file").touch()
    folder = Path(place.format(tmp=tmp_path))
    with pytest.raises(HomeError) as caught:
        open_home(folder)
    first, second = str(caught.value).splitlines()
    assert first == f"the home folder {folder} can't be used: {reason}"
    assert second.strip() == "set FLOWTOY_HOME to a folder that you can write"
    assert isinstance(caught.value, UsageError)
    assert caught.value.exit_code == 2


def test_settings_that_are_no_text_are_named(tmp_path: Path) -> None:
    open_home(tmp_path / "home")
    settings = tmp_path / "home" / "dagster.yaml"
    settings.write_bytes(b"\x95\xb5")
    with pytest.raises(HomeError) as caught:
        open_home(tmp_path / "home")
    assert str(caught.value) == f"{settings} can't be used: it is not UTF-8 text"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a?b", "its path contains '?', which has a special meaning for Dagster"),
        ("*", "its path contains '*', which has a special meaning for Dagster"),
        ("[a]", "its path contains '[', which has a special meaning for Dagster"),
        ("%20", "its path contains '%20', which has a special meaning for Dagster"),
        ("\udcff", "its path is not UTF-8 text"),
        ("/".join(["x" * 200] * 3), "bytes, more than 420"),
    ],
    ids=["question mark", "star", "bracket", "percent code", "not UTF-8", "too long in all"],
)
def test_a_path_that_dagster_would_take_for_another_is_a_clear_error(
    name: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(HomeError, match=r"can't be used: ") as caught:
        open_home(tmp_path / name)
    assert reason in str(caught.value)
    assert str(caught.value).encode()  # can be printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("home", [None, ""], ids=["no HOME", "HOME is empty"])
@pytest.mark.parametrize("value", [None, "~/flows"], ids=["by default", "tilde"])
def test_without_a_home_directory_the_home_folder_must_be_named(
    home: str | None, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLOWTOY_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("HOME")
    # A user id that is nowhere, as containers give.
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    if home is not None:
        monkeypatch.setenv("HOME", home)
    if value is not None:
        monkeypatch.setenv("FLOWTOY_HOME", value)
    with pytest.raises(HomeError, match="this user has no home directory") as caught:
        open_home()
    assert "set FLOWTOY_HOME to a folder that you can write" in str(caught.value)


def test_a_relative_home_in_a_deleted_working_directory_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(HomeError, match="the working directory is deleted"):
        open_home(Path("home"))


@pytest.mark.parametrize("name", ["lost+found", ".snapshot", "storage", "README"])
def test_a_folder_in_which_dagster_kept_no_runs_is_a_new_home(name: str, tmp_path: Path) -> None:
    """A volume of its own has a folder; and a run may write to a home that was deleted."""
    (tmp_path / name).mkdir()
    open_home(tmp_path)
    assert (tmp_path / "dagster.yaml").exists()


@pytest.mark.parametrize("open_to", [0o755, 0o770, 0o2775, 0o701])
def test_a_home_that_is_open_to_others_is_closed_and_that_is_said(
    tmp_path: Path, open_to: int, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(open_to)
    logging.getLogger("flowtoy").addHandler(caplog.handler)
    try:
        open_home(home)
        open_home(home)
    finally:
        logging.getLogger("flowtoy").removeHandler(caplog.handler)
    assert mode(home) == open_to & ~0o077
    told = {record.getMessage() for record in caplog.records}
    assert told == {f"the home folder {home} was open to other users (mode {open_to:04o}): "
                    f"it is now {open_to & ~0o077:04o}"}


def test_a_folder_for_everybody_is_no_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o1777)
    with pytest.raises(HomeError, match="is a folder for all users of the machine"):
        open_home(home)
    assert mode(home) == 0o1777


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator gives files away")
@pytest.mark.parametrize("given", ["the folder", "its settings"])
def test_a_home_of_another_user_is_an_error(tmp_path: Path, given: str) -> None:
    home = open_home(tmp_path / "home")
    os.chown(home if given == "the folder" else home / "dagster.yaml", 12345, -1)
    with pytest.raises(HomeError, match=r"belongs to another user \(uid 12345\)"):
        open_home(home)
