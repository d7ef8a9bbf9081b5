"""Workers are started for the cores that a process has, not for those of its machine."""

import argparse
import os

import pytest

from scaling.commands import plan, transfer
from scaling.cores import core_ids, n_cores

pinnable = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no process is pinned here")


@pytest.fixture
def one_core():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    yield max(allowed)
    os.sched_setaffinity(0, allowed)


@pinnable
def test_of_a_process_that_is_pinned(one_core):
    assert core_ids() == [one_core]
    assert n_cores() == 1


@pinnable
@pytest.mark.parametrize(("command", "words"), [
    (plan, ["study.gin", "--out", "folder"]), (transfer, ["tune", "study.gin", "--out", "folder"]),
])
def test_a_worker_for_each_of_them(one_core, command, words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert parser.parse_args(words).workers == 1


def test_where_a_system_does_not_say_which(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert core_ids() is None
    assert n_cores() == 6
