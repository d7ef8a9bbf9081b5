import pytest

from scaling.aot.step import check_divides
from scaling.aot.target import Target
from scaling.errors import UserError
from scaling.partitioning import MeshConfig


@pytest.mark.parametrize("text, slices, chips, devices", [
    ("v5p:4x4x8", 1, 128, 128), ("v5e:16x16", 2, 512, 512),
    ("tpu7x:2x2x4", 1, 16, 32), ("v4:2x2x4", 1, 16, 16), ("h200:8", 4, 32, 32),
])
def test_chips_and_devices(text, slices, chips, devices):
    target = Target.parse(text, slices)
    assert (target.n_chips, target.n_devices, target.topology_name) == (chips, devices, text)


@pytest.mark.parametrize("text, says", [
    ("v5q:4x4", "did you mean 'v5p'.*known: v4:"), ("v5p:4x4", "3 numbers of chips.*4x4x8"),
    ("v5e", "expected v5e: and 2 numbers"),
    ("h100:8x4", "expected h100: and 1 numbers of chips, as 1, 2"),
    ("h300:8", "no chip 'h300'; did you mean 'h[12]00'"),
    ("v5e:4xfour", "2 numbers"), ("v5e:0x4", "2 numbers"),
])
def test_unknown_targets(text, says):
    with pytest.raises(UserError, match=says):
        Target.parse(text)


def test_slices_are_counted_from_one():
    with pytest.raises(UserError, match="--slices 0"):
        Target.parse("v5p:4x4x8", 0)


@pytest.mark.parametrize("mesh, slices, says", [
    (dict(fsdp=8), 1, "8 devices, and v5e:4x4 .*16"),
    (dict(fsdp=32), 2, "data does not divide by the 2 slices"),
    (dict(tensor=16), 1, "'kv_heads' of size 4 does not divide"),
])
def test_meshes_that_do_not_suit(big, mesh, slices, says):
    with pytest.raises(UserError, match=says):
        check_divides(big, Target.parse("v5e:4x4", slices), MeshConfig(**mesh))


def test_a_batch_that_does_not_divide(big):
    with pytest.raises(UserError, match="batch_size = 24 does not divide by the 16 devices"):
        check_divides(big.replace(batch_size=24), Target.parse("v5e:4x4"), MeshConfig(fsdp=16))


@pytest.mark.parametrize("slices", [1, 2])
def test_the_default_mesh_suits(big, slices):
    target = Target.parse("v5p:4x4x8", slices)
    mesh = target.default_mesh(big)
    assert (mesh.data, mesh.fsdp) == (slices, 128)
    check_divides(big, target, mesh)
