import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from scaling.errors import UserError
from scaling.models import DecoderConfig, ParamSpec, build_model
from scaling.partitioning import (
    Constrainer,
    MeshConfig,
    check_batch,
    make_mesh,
    parameter_shardings,
)
from scaling.partitioning.mesh import ACTIVATION_RULES, PARAMETER_RULES


@pytest.fixture(scope="module")
def on_eight_devices():
    return found_by()


def found_by(*arguments: str) -> dict:
    """What `mesh_program.py` found; the number of devices is fixed when JAX starts, hence a process."""
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "mesh_program.py", *arguments],
        capture_output=True, text=True, env=os.environ,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("runs", "n_meshes"),
    [("runs", 3), ("encoder", 1), ("encoder_decoder", 1), ("experts", 2), ("experts with a capacity", 2)],
)
def test_every_mesh_trains_to_the_same_numbers(on_eight_devices, runs, n_meshes):
    """Losses, gradient norms, row sums and parameters after 3 updates, within float32 rounding.

    In one piece or in microbatches.
    """
    check_same(on_eight_devices[runs], n_meshes)


@pytest.mark.slow
def test_every_family_trains_to_the_same_numbers_on_each_combination():
    found = found_by("--thorough")
    for family in ("decoder", "encoder", "encoder_decoder"):
        check_same(found[family], 7)


def check_same(runs: list[dict], n_meshes: int) -> None:
    alone, *meshes = runs
    assert len(meshes) == n_meshes
    assert len(set(alone["losses"])) == 3 and np.isfinite(alone["losses"]).all()
    for run in meshes:
        for name in ("losses", "gradient_norms", "evaluation"):
            np.testing.assert_allclose(run[name], alone[name], rtol=3e-6, err_msg=str(run["mesh"]))
        np.testing.assert_allclose(
            run["params"], alone["params"], atol=1e-5, err_msg=str(run["mesh"])
        )


def test_fsdp_and_tensor_axes_divide_the_parameters(on_eight_devices):
    """Every matrix lies along `embed`, so fsdp = 8 leaves an eighth on each device."""
    shares = [run["largest_share_on_a_device"] for run in on_eight_devices["runs"]]
    assert shares[:3] == [1, 1, pytest.approx(1 / 8)]
    assert 1 / 4 < shares[3] < 0.26  # gains know no tensor axis


def test_the_expert_axis_divides_experts_and_batch(on_eight_devices):
    """The mesh expert = 4, data = 2 leaves a quarter of the experts, and what is no expert, whole."""
    for name in ("experts", "experts with a capacity"):
        alone, _, run = on_eight_devices[name]
        assert (run["mesh"]["data"], run["mesh"]["expert"]) == (2, 4)
        assert run["rows_on_a_device"] == 1
        assert run["expert_share_on_a_device"] == 1 / 4


def test_both_data_axes_divide_the_batch(on_eight_devices):
    """A mesh whose fsdp axis shared out the parameters alone would do all the work eight times."""
    rows = [run["rows_on_a_device"] for run in on_eight_devices["runs"]]
    assert rows[:4] == [8, 1, 1, 2]


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("heads", ["'heads' of size 2", "'tensor' of size 4"]),
        ("embed", ["'embed' of size 12", "'fsdp' of size 8"]),
        ("batch", ["Experiment.batch_size = 6", "4 devices"]),
        ("microbatches", ["Experiment.batch_size = 8", "4 microbatches", "4 devices"]),
        ("evaluation", ["EvaluationConfig.batch_size = 6", "4 devices"]),
        ("devices", ["3 x 4 x 1 x 1 needs 12 devices", "sees 8"]),
    ],
)
def test_what_does_not_fit_is_one_clear_line(on_eight_devices, what, named):
    message = on_eight_devices["refused"][what]
    assert all(part in message for part in named), message
    assert "\n" not in message


def test_a_mesh_larger_than_the_machine_is_refused():
    with pytest.raises(UserError, match=f"needs 64 devices, this process sees {jax.device_count()}"):
        make_mesh(MeshConfig(data=64))


@pytest.mark.parametrize("axis", ["data", "fsdp", "tensor", "expert"])
def test_a_mesh_axis_has_at_least_one_device(axis):
    with pytest.raises(UserError, match=f"MeshConfig.{axis} = 0"):
        MeshConfig(**{axis: 0})


@pytest.mark.parametrize("scan_layers", [False, True])
def test_every_parameter_is_sharded_by_its_axes(scan_layers):
    config = DecoderConfig(vocab_size=8, activation="swiglu", qk_norm=True, scan_layers=scan_layers)
    specs = build_model(config).specs
    shardings = parameter_shardings(make_mesh(MeshConfig()), specs)
    assert jax.tree.structure(shardings) == jax.tree.structure(specs)
    for spec, sharding in zip(jax.tree.leaves(specs), jax.tree.leaves(shardings), strict=True):
        assert tuple(sharding.spec) == tuple(PARAMETER_RULES[axis] for axis in spec.axes)
    assert shardings["unembedding"].spec == PartitionSpec("fsdp", "tensor")


def test_no_rule_uses_a_mesh_axis_twice():
    """An array with two dimensions along one mesh axis cannot be laid out."""
    specs = build_model(DecoderConfig(vocab_size=8, activation="swiglu", scan_layers=True)).specs
    for spec in jax.tree.leaves(specs):
        used = [PARAMETER_RULES[axis] for axis in spec.axes if PARAMETER_RULES[axis]]
        assert len(used) == len(set(used)), spec


def test_an_axis_without_a_rule_is_an_error():
    """Never silently replicated."""
    mesh = make_mesh(MeshConfig())
    spec = ParamSpec(shape=(4,), axes=("planet",), role="hidden", group="mlp")
    with pytest.raises(KeyError, match="planet"):
        parameter_shardings(mesh, {"router": spec})
    with pytest.raises(KeyError, match="planet"):
        Constrainer(mesh)(np.zeros(4), ("planet",))
    assert set(ACTIVATION_RULES) - {"batch", "expert_batch", "length"} <= set(PARAMETER_RULES)


def test_one_device_takes_any_batch():
    check_batch(make_mesh(MeshConfig()), "batch", 7)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores of a process are not known here")
def test_a_cpu_by_itself_has_the_threads_of_its_process():
    """Asked while tracing: a worker pinned to one core compiles for one."""
    mesh, allowed = make_mesh(MeshConfig()), os.sched_getaffinity(0)
    assert Constrainer(mesh).threads == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert Constrainer(mesh).threads == 1
    finally:
        os.sched_setaffinity(0, allowed)
    tpu = SimpleNamespace(platform="tpu")
    for devices in ([tpu], [tpu, tpu], [SimpleNamespace(platform="cpu")] * 2):
        several = SimpleNamespace(size=len(devices), devices=np.array(devices))
        assert Constrainer(several).threads == 1
