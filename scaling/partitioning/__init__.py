"""One mesh, logical axis rules, named shardings."""

from scaling.partitioning.mesh import (
    MeshConfig,
    batch_sharding,
    check_batch,
    constrainer,
    make_mesh,
    parameter_shardings,
)

__all__ = [
    "MeshConfig",
    "batch_sharding",
    "check_batch",
    "constrainer",
    "make_mesh",
    "parameter_shardings",
]
