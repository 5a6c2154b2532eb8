"""The clock of the machine is set while a flow runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long offset(void) {
    char text[32]; const char *path = getenv("TEST_CLOCK"); int n, file;
    if (!path || (file = open(path, O_RDONLY | O_CLOEXEC)) < 0) return 0;
    n = read(file, text, 31); close(file); if (n <= 0) return 0; text[n] = 0; return atol(text);
}
int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (clock == CLOCK_REALTIME && !result) time->tv_sec += offset();
    return result;
}
int gettimeofday(struct timeval *time, void *zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(time, zone); if (!result) time->tv_sec += offset(); return result;
}
time_t time(time_t *found) {
    static time_t (*real)(time_t *); if (!real) real = dlsym(RTLD_NEXT, "time");
    time_t result = real(0) + offset(); if (found) *found = result; return result;
}
"""
FLOW = """
runner: {timeout: 15m, executor: EXECUTOR}
flow:
  - {name: sets, source: process, input: {command: [cp, jump, clock]}}
  - name: tries twice
    source: {type: process, command: [sh, -c, "mkdir tried || exit 0; exit 1"]}
    depends_on: sets
    retry: {max: 1, delay: 100ms}
    timeout: 10m
"""


@pytest.mark.timeout(500)
@pytest.mark.parametrize(
    ("jump", "executor"), [(3600, "warm"), (-3600, "warm"), (3600, "multiprocess")]
)
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler to set the clock")
def test_a_clock_that_is_set_changes_no_span(
    tmp_path: Path, jump: int, executor: str
) -> None:
    (tmp_path / "clock.c").write_text(CLOCK)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"], cwd=tmp_path, check=True
    )
    (tmp_path / "flow.yaml").write_text(FLOW.replace("EXECUTOR", executor))
    (tmp_path / "jump").write_text(f"{jump}\n")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(tmp_path / "clock.so"),
        "TEST_CLOCK": str(tmp_path / "clock"),
    }
    command = [sys.executable, "-m", "flowtoy_dagster"]
    done = subprocess.run(
        [*command, "run", "flow.yaml", "-q"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "attempt 1 failed, next in 0.1 s" in done.stderr
    spans = re.findall(r"(?:in|after) (\S+ (?:s|min|h)\b.*)", done.stderr)
    assert len(spans) >= 3
    assert all(re.match(r"\d+\.\d s", span) for span in spans), done.stderr
    shown = subprocess.run(
        [*command, "runs", "show", "last", "--json"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=True,
    )
    told = json.loads(shown.stdout)
    for part in (told, *told["steps"].values()):
        assert 0 <= part["ended_at"] - part["started_at"] < 900, told
