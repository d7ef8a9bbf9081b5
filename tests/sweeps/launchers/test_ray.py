"""Ray: refusals, and a real cluster of several local nodes, one of them killed in mid-sweep."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from scaling.errors import UserError
from scaling.sweeps.launchers.ray import RayConfig

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install 'scaling[ray]'")


@pytest.mark.parametrize("field, value", [
    ("address", "head"), ("address", "head:"), ("address", "head:1\n"), ("cpus", -1.0),
    ("gpus", float("nan")), ("retries", -1),
])
def test_options_that_cannot_be(field, value):
    with pytest.raises(UserError, match=field):
        RayConfig(**{field: value})


def test_ray_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_AUTH_MODE", "")  # so that what `check` sets is undone
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    with pytest.raises(UserError, match=r"not installed; pip install 'scaling\[ray\]'"):
        RayConfig().check()


@needs_ray
def test_no_cluster_at_the_address_is_told_at_once(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    with pytest.raises(UserError, match=f"no cluster answers at 127.0.0.1:{port} .*ray start --head"):
        RayConfig(address=f"127.0.0.1:{port}").check()


CLUSTER = """
import os, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1, object_store_memory=10**8) for _ in range(3)]
print(cluster.address, flush=True)
for line in sys.stdin:
    if line == "kill\\n":
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print("killed", flush=True)
cluster.shutdown()
"""


@pytest.fixture
def cluster():
    """A process with a head and three nodes of one CPU each, on the loopback interface, with a token."""
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_USAGE_STATS_ENABLED": "0",
           "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        process = subprocess.Popen([sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        yield process
        process.stdin.close()
        process.wait(timeout=60)


def listening() -> set[str]:
    """Local addresses on which a process of Ray listens."""
    done = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True)
    ours = ("raylet", "gcs_server", "ray::")
    return {line.split()[3].rpartition(":")[0] for line in done.stdout.splitlines()
            if any(name in line for name in ours)}


@pytest.mark.slow
@needs_ray
def test_a_sweep_survives_the_death_of_a_node(cluster, toy, uninterrupted, start, results_of, tmp_path):
    address = cluster.stdout.readline().strip()
    root = toy(tmp_path / "a sweep")
    launcher = start("sweep", root, "--launcher", "ray", "--ray-address", address, "--workers", 3)
    for _ in range(1800):
        if len(list(root.glob("runs/*/progress.json"))) == 3:
            break
        assert launcher.poll() is None, launcher.communicate()[0]
        time.sleep(0.1)
    assert listening() <= {"127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"}
    cluster.stdin.write("kill\n")
    cluster.stdin.flush()
    assert cluster.stdout.readline() == "killed\n"
    output, _ = launcher.communicate(timeout=600)
    assert launcher.returncode == 0, output
    assert "ray: 4 nodes" in output  # Ray may hear of the death (seconds of silence) after the sweep's end
    assert list(root.glob("runs/*/claim.1")) and not list(root.glob("runs/*/*.crashed"))
    assert results_of(root) == uninterrupted


@pytest.mark.slow
@needs_ray
def test_ctrl_c_saves_and_a_local_cluster_continues(toy, uninterrupted, start, results_of, tmp_path):
    root = toy(tmp_path / "sweep")
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    launcher = start("sweep", root, "--launcher", "ray", "--workers", 2, env=env)
    for _ in range(1800):
        if list(root.glob("runs/*/progress.json")):
            break
        assert launcher.poll() is None, launcher.communicate()[0]
        time.sleep(0.1)
    assert listening() <= {"127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"}
    launcher.send_signal(signal.SIGINT)
    output, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 130 and "to continue: scaling sweep" in output, output
    claims = {claim.parent for claim in root.glob("runs/*/claim.0")}
    assert all((run / "claim.0.released").exists() or (run / "record.json").exists() for run in claims)
    launcher = start("sweep", root, "--launcher", "ray", "--workers", 2, env=env)
    output, _ = launcher.communicate(timeout=600)
    assert launcher.returncode == 0, output
    assert results_of(root) == uninterrupted
