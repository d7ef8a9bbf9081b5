"""One mesh, logical axis rules, named shardings; several processes over one mesh."""

from scaling.partitioning.mesh import (
    MESH_AXES,
    Constrainer,
    MeshConfig,
    batch_sharding,
    check_batch,
    make_mesh,
    parameter_shardings,
)
from scaling.partitioning.processes import (
    Agreement,
    everywhere,
    is_writer,
    join_processes,
    place,
    process_share,
)

__all__ = [
    "Agreement",
    "Constrainer",
    "MESH_AXES",
    "MeshConfig",
    "batch_sharding",
    "check_batch",
    "everywhere",
    "is_writer",
    "join_processes",
    "make_mesh",
    "parameter_shardings",
    "place",
    "process_share",
]
