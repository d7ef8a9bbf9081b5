import pytest

from scaling.accounting import exact_train_flops
from scaling.aot.collectives import Collective
from scaling.aot.cost import Cost
from scaling.aot.step import CompiledStep
from scaling.gin_config import load_experiment

GIB = 2**30


@pytest.fixture
def big():
    """A decoder of 1.1 billion parameters; nothing here holds one."""
    return load_experiment("models/decoder_1b.gin").config


@pytest.fixture
def compiler():
    """Stands in for XLA: activations are in proportion to rows a device and to what is kept.

    Its attribute `tried` lists what it was asked for.
    """

    def compile_step(experiment, target, mesh):
        compile_step.tried.append((experiment, mesh))
        kept = {"none": 8, "dots": 3, "full": 1}[experiment.model.remat]
        rows = experiment.batch_size / (mesh.data * mesh.fsdp * mesh.microbatches)
        needed = (0.5 * rows * kept + 100 / mesh.fsdp) * GIB
        same = {"experiment": experiment, "target": target, "mesh": mesh}
        if needed > target.accelerator.hbm_bytes:
            return CompiledStep(**same, needed_bytes=needed)
        memory = {"arguments": 2 * GIB, "outputs": GIB, "donated": GIB, "program": 0}
        flops = exact_train_flops(experiment.model, experiment.lengths) * experiment.batch_size
        gathered = Collective("all-gather", 4, False, 10, 4e9)
        return CompiledStep(
            **same, memory=memory | {"temporaries": int(needed) - 2 * GIB},
            cost=Cost(1.25 * flops / target.n_devices, 1e12, (gathered,), ()), compile_seconds=1.0,
        )

    compile_step.tried = []
    return compile_step
