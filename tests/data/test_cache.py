import os
import signal
import subprocess
import sys
import time

import pytest

from scaling.data.cache import build_once
from scaling.errors import UserError


def test_a_folder_is_built_once(tmp_path):
    calls = []

    def build(folder):
        calls.append(folder)
        (folder / "file").write_text("x")

    for _ in range(2):
        build_once(tmp_path / "a" / "b", build)
    assert len(calls) == 1
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


def test_a_build_that_fails_leaves_nothing_and_can_be_repeated(tmp_path):
    def fail(folder):
        (folder / "half").write_text("x")
        raise UserError("no")

    with pytest.raises(UserError, match="^no$"):
        build_once(tmp_path / "a", fail)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []
    build_once(tmp_path / "a", lambda folder: (folder / "whole").write_text("x"))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["whole"]


SLOW_BUILDER = """
import pathlib, sys, time
from scaling.data.cache import build_once

def build(folder):
    (folder / "part").write_text("x")
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(float(sys.argv[3]))
    (folder / "whole").write_text("x")
    with open(sys.argv[4], "a") as file:
        file.write("built\\n")

build_once(pathlib.Path(sys.argv[1]), build)
"""


def start(tmp_path, seconds: float) -> subprocess.Popen:
    arguments = [tmp_path / "cache" / "a", tmp_path / "started", str(seconds), tmp_path / "log"]
    return subprocess.Popen([sys.executable, "-c", SLOW_BUILDER, *arguments], env=os.environ)


def test_killed_in_the_middle_then_built_anew(tmp_path):
    process = start(tmp_path, 60)
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cache" / "a").exists()
    build_once(tmp_path / "cache" / "a", lambda folder: (folder / "whole").write_text("x"))
    folders = [p.name for p in (tmp_path / "cache").iterdir() if p.is_dir()]
    assert folders == ["a"], "what the killed process left is cleared"
    assert [p.name for p in (tmp_path / "cache" / "a").iterdir()] == ["whole"]


def test_processes_that_want_the_same_folder_build_it_once(tmp_path):
    processes = [start(tmp_path, 0.3) for _ in range(4)]
    assert [p.wait() for p in processes] == [0] * 4
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_cache_inside_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*: a part of the path is a file"):
        build_once(tmp_path / "file" / "rows" / "a", lambda folder: None)
