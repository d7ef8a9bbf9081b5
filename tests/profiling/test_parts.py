"""Which part of the model an instruction serves: by hand, and for every product of compiled programs."""

import collections

import pytest

from scaling.accounting import forward_flops
from scaling.aot.hlo import parse
from scaling.aot.products import product_flops
from scaling.experiment import Experiment
from scaling.gin_config import load_experiment
from scaling.partitioning import MeshConfig, make_mesh
from scaling.profiling.parts import Place, places
from scaling.training.traced import TracedProgram

UPDATE = 'metadata={op_name="jit(_train_chunk)/while/body/%s"}'
BACK = "transpose(jvp())/while/body/closed_call/checkpoint"
MLP = UPDATE % f"{BACK}/mlp/dot_general"
AGAIN = f"{BACK}/rematted_computation/attention/attention_scores/div"
LAYER = "transpose(jvp())/while/body/jit(dynamic_index_in_dim)/dynamic_slice"
PROGRAM = f"""HloModule jit__train_chunk

%with_a_product (p0: f32[4,4]) -> f32[4,4] {{
  %p0 = f32[4,4]{{1,0}} parameter(0)
  %square = f32[4,4]{{1,0}} multiply(%p0, %p0), {UPDATE % "optimizer/mul"}
  %more = f32[4,4]{{1,0}} add(%square, %p0), {UPDATE % "optimizer/add"}
  ROOT %dot.1 = f32[4,4]{{1,0}} dot(%more, %p0), lhs_contracting_dims={{1}}, {MLP}
}}

%nameless (p1: f32[4,4]) -> f32[4,4] {{
  %p1 = f32[4,4]{{1,0}} parameter(0)
  ROOT %scaled = f32[4,4]{{1,0}} multiply(%p1, %p1), {UPDATE % "jvp(loss)/mul"}
}}

ENTRY %main (x: f32[4,4]) -> f32[4,4] {{
  %x = f32[4,4]{{1,0}} parameter(0)
  %f1 = f32[4,4]{{1,0}} fusion(%x), kind=kOutput, calls=%with_a_product, {UPDATE % "optimizer/add"}
  %f2 = f32[4,4]{{1,0}} fusion(%f1), kind=kLoop, calls=%nameless
  %head = f32[4,4]{{1,0}} tanh(%f2), {UPDATE % "transpose(jvp(unembedding))/mul"}
  %inner = f32[4,4]{{1,0}} tanh(%head), {UPDATE % "jvp()/while/body/closed_call/attention/norm/mul"}
  %again = f32[4,4]{{1,0}} tanh(%inner), {UPDATE % AGAIN}
  %layer = f32[4,4]{{1,0}} tanh(%again), {UPDATE % LAYER}
  %sum-start = f32[4,4]{{1,0}} all-reduce-start(%layer), {MLP}
  %sum-done = f32[4,4]{{1,0}} all-reduce-done(%sum-start)
  %mask = f32[4,4]{{1,0}} tanh(%sum-done), {UPDATE % "jvp()/eq"}
  ROOT %loop = f32[4,4]{{1,0}} while(%mask), condition=%c, body=%b, {UPDATE % "jvp(mlp)/while"}
}}
"""


def test_by_hand():
    found = places(PROGRAM)
    assert {name: found[name] for name in found if name.startswith("f")} == {
        "f1": Place("mlp", "backward"),  # two of three lines are the optimizer's, and so is its name
        "f2": Place("loss", "forward"),
    }
    assert found["head"] == Place("unembedding", "backward")
    assert found["inner"] == Place("norm", "forward")
    assert found["again"] == Place("attention_scores", "recomputed")
    assert found["layer"] == Place("slicing", "backward")
    assert found["sum-start"].part == found["sum-done"].part == "collectives"
    assert found["mask"] == Place("other", "forward")
    assert found["loop"] is None


def flops_by_place(experiment: Experiment) -> collections.Counter[Place]:
    """Of the products in the compiled text, where no loop but that over updates runs any."""
    program = TracedProgram(experiment, make_mesh(MeshConfig()), 1)
    text = program.lower_train(experiment).compile().as_text()
    found, flops = places(text), collections.Counter()
    for computation in parse(text).computations.values():
        for instruction in computation.instructions.values():
            if n := product_flops(computation, instruction):
                flops[found[instruction.name]] += n
    return flops


@pytest.mark.parametrize(("name", "bindings"), [
    ("decoder_tiny", ()),
    ("decoder_tiny", ("DecoderConfig.tie_embeddings=True", "DecoderConfig.qk_norm=True")),
    ("decoder_moe", ("DecoderConfig.capacity_factor=2.0", "DecoderConfig.shared_expert=True")),
    ("encoder_decoder_prefix_lm", ()),
    ("encoder_masked_lm", ()),
])
def test_products_of_each_part_are_those_of_the_accounting(name, bindings):
    """Scopes in the model's code and the formulas of `forward_flops` divide a program alike."""
    experiment = load_experiment(f"models/{name}.gin", bindings).config
    flops = collections.Counter()
    for place, n in flops_by_place(experiment).items():
        flops[place.part] += n
    formulas = forward_flops(experiment.model, experiment.lengths)
    assert flops == {part: 3 * n * experiment.batch_size for part, n in formulas.items() if n}


def test_passes():
    """What `full` recomputes is the forward pass of each block again; the head's is not."""
    bindings = ("DecoderConfig.remat='full'",)
    experiment = load_experiment("models/decoder_tiny.gin", bindings).config
    flops = flops_by_place(experiment)
    for part in ("attention", "mlp"):
        once = forward_flops(experiment.model, experiment.lengths)[part] * experiment.batch_size
        assert flops[Place(part, "backward")] == 2 * once
        # XLA runs a product once where it was to be recomputed at once, in the last block
        twice = flops[Place(part, "forward")] + flops[Place(part, "recomputed")]
        assert flops[Place(part, "recomputed")] > 0 and once < twice <= 2 * once
    assert flops[Place("unembedding", "recomputed")] == 0
