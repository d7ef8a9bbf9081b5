"""Costs read from a compiled program, against XLA's own count and against arithmetic."""

import jax
import jax.numpy as jnp
import pytest

from scaling.aot.collectives import by_kind
from scaling.aot.cost import count
from scaling.aot.hlo import parse


def layers(n, x, w):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w, length=n)[0].sum()


def test_scanned_products_count_as_often_as_they_run():
    n, rows, width = 7, 24, 16
    of = jax.ShapeDtypeStruct
    compiled = jax.jit(jax.grad(lambda x, w: layers(n, x, w), argnums=(0, 1))).lower(
        of((rows, width), jnp.float32), of((n, width, width), jnp.float32)
    ).compile()
    module = parse(compiled.as_text())
    cost = count(module, n_devices=1)
    assert cost.flops == 3 * n * 2 * rows * width * width  # forward, and two products backward
    assert not cost.unknown_loops and not cost.collectives
    once = count(module, n_devices=1, loops=False).flops
    assert once == cost.flops / n
    assert once == pytest.approx(compiled.cost_analysis()["flops"], rel=0.2)  # XLA adds elementwise
    # each layer's matrix is read twice and its gradient written, each layer's activations likewise
    least = 3 * 4 * n * width * width + 2 * 4 * n * rows * width
    assert least <= cost.nbytes <= 10 * least  # a CPU's program writes every intermediate value


def test_a_stack_of_layers_is_read_a_layer_at_a_time():
    """Ten times as many layers move ten times the bytes, not a hundred times."""
    def moved(n):
        of = jax.ShapeDtypeStruct
        shapes = of((8, 64), jnp.float32), of((n, 64, 64), jnp.float32)
        text = jax.jit(lambda x, w: layers(n, x, w)).lower(*shapes).compile().as_text()
        return count(parse(text), n_devices=1).nbytes

    assert moved(100) / moved(10) == pytest.approx(10, rel=0.15)


# What libtpu writes, shortened: a loop over 12 layers of an update loop; a collective that overlaps
# two products and so stands in two fusions; heads as a spatial dimension; VMEM as S(1).
PROGRAM = """HloModule jit__train_chunk, is_scheduled=true

%start (p0: bf16[192,64]) -> bf16[768,64] {
  %p0 = bf16[192,64]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.1 = bf16[768,64]{1,0:T(8,128)(2,1)} all-gather(%p0), channel_id=5, replica_groups=[4,4]<=[8,2]T(1,0), dimensions={0}, use_global_device_ids=true
}

%done (p1: bf16[192,64]) -> bf16[768,64] {
  %p1 = bf16[192,64]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.2 = bf16[768,64]{1,0:T(8,128)(2,1)} all-gather(%p1), channel_id=5, replica_groups=[4,4]<=[8,2]T(1,0), dimensions={0}, use_global_device_ids=true
}

%all-reduce-scatter.1 (p2: bf16[768,64]) -> bf16[192,64] {
  %p2 = bf16[768,64]{1,0:T(8,128)(2,1)} parameter(0)
  %all-reduce.3 = bf16[768,64]{1,0:T(8,128)(2,1)} all-reduce(%p2), channel_id=6, replica_groups={{0,2,4,6},{8,10,12,14},{1,3,5,7},{9,11,13,15}}, to_apply=%add
  %zero = u32[] constant(0)
  ROOT %dynamic-slice.1 = bf16[192,64]{1,0:T(8,128)(2,1)} dynamic-slice(%all-reduce.3, %zero, %zero), dynamic_slice_sizes={192,64}
}

%condition.1 (c: (s32[], bf16[192,64])) -> pred[] {
  %c = (s32[]{:T(128)}, bf16[192,64]{1,0:T(8,128)(2,1)}) parameter(0)
  %twelve = s32[]{:T(128)} constant(12)
  %i = s32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %twelve), direction=LT
}

%body.1 (b: (s32[], bf16[192,64])) -> (s32[], bf16[192,64]) {
  %b = (s32[]{:T(128)}, bf16[192,64]{1,0:T(8,128)(2,1)}) parameter(0)
  %j = s32[]{:T(128)} get-tuple-element(%b), index=0
  %w = bf16[192,64]{1,0:T(8,128)(2,1)} get-tuple-element(%b), index=1
  %f1 = bf16[768,64]{1,0:T(8,128)(2,1)S(1)} fusion(%w), kind=kCustom, calls=%start
  %f2 = bf16[768,64]{1,0:T(8,128)(2,1)S(1)} fusion(%w), kind=kCustom, calls=%done
  %q = f32[4,1024,6,1]{3,2,1,0:T(8,128)S(1)} constant({...})
  %k = f32[4,1024,6,64]{3,2,1,0:T(8,128)S(1)} constant({...})
  %conv = f32[4,6,1024,1024]{3,2,1,0:T(8,128)S(1)} convolution(%k, %k), window={size=4x6 stride=3x5 lhs_dilate=4x6}, dim_labels=0b1f_0o1i->01bf
  %f3 = bf16[192,64]{1,0:T(8,128)(2,1)} fusion(%f2), kind=kCustom, calls=%all-reduce-scatter.1
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%j, %one)
  ROOT %out = (s32[]{:T(128)}, bf16[192,64]{1,0:T(8,128)(2,1)}) tuple(%next, %f3)
}

%condition.0 (d: (s32[], bf16[192,64], s32[])) -> pred[] {
  %d = (s32[]{:T(128)}, bf16[192,64]{1,0:T(8,128)(2,1)}, s32[]) parameter(0)
  %n = s32[]{:T(128)} get-tuple-element(%d), index=0
  %m = s32[]{:T(128)} get-tuple-element(%d), index=2
  ROOT %lt.2 = pred[]{:T(512)} compare(%n, %m), direction=LT
}

%body.0 (e: (s32[], bf16[192,64], s32[])) -> (s32[], bf16[192,64], s32[]) {
  %e = (s32[]{:T(128)}, bf16[192,64]{1,0:T(8,128)(2,1)}, s32[]) parameter(0)
  %zero.1 = s32[]{:T(128)} constant(0)
  %x = (s32[]{:T(128)}, bf16[192,64]{1,0:T(8,128)(2,1)}) tuple(%zero.1, %e)
  %while.2 = (s32[]{:T(128)}, bf16[192,64]{1,0:T(8,128)(2,1)}) while(%x), condition=%condition.1, body=%body.1, metadata={op_name="jit(_train_chunk)/while/body/while"}
  %g = f32[100]{0:T(128)} constant({...})
  %all-reduce.9 = f32[100]{0:T(128)} all-reduce(%g), channel_id=9, replica_groups=mesh['axis_0'=4,'axis_1'=4], device_ids=([2,4,2]T(1,0,2)) {'axis_0'}, to_apply=%add
  %n.1 = s32[]{:T(128)} get-tuple-element(%e), index=0
  %m.1 = s32[]{:T(128)} get-tuple-element(%e), index=2
  %two = s32[]{:T(128)} constant(1)
  %n.2 = s32[]{:T(128)S(6)} add(%n.1, %two)
  ROOT %out.0 = (s32[]{:T(128)}, bf16[192,64]{1,0:T(8,128)(2,1)}, s32[]) tuple(%n.2, %while.2, %m.1)
}

ENTRY %main (a: s32[], aw: bf16[192,64], an: s32[]) -> (s32[], bf16[192,64], s32[]) {
  %a = s32[]{:T(128)} parameter(0)
  %aw = bf16[192,64]{1,0:T(8,128)(2,1)} parameter(1)
  %an = s32[] parameter(2)
  %t = (s32[]{:T(128)}, bf16[192,64]{1,0:T(8,128)(2,1)}, s32[]) tuple(%a, %aw, %an)
  ROOT %while.1 = (s32[]{:T(128)}, bf16[192,64]{1,0:T(8,128)(2,1)}, s32[]) while(%t), condition=%condition.0, body=%body.0, metadata={op_name="jit(_train_chunk)/while"}
}
"""  # noqa: E501


def test_a_program_of_a_tpu():
    cost = count(parse(PROGRAM), n_devices=16)
    gathered = 768 * 64 * 2
    assert by_kind(cost.collectives) == {
        "all-gather": (12, 12 * gathered),  # one a layer, though two fusions show it
        "reduce-scatter": (12, 12 * gathered),
        "all-reduce": (1, 400),
    }
    assert {c.group for c in cost.collectives} == {4}
    assert cost.flops == 12 * 2 * 4 * 6 * 1024 * 1024 * 64  # attention scores of 4 rows and 6 heads
    assert cost.unknown_loops == ()  # the loop over updates is what one update is counted in
    # a layer's shard into two fusions and out of one; the gathered matrix stays on the chip
    assert cost.nbytes == 12 * 3 * 192 * 64 * 2 + 2 * 400 + 13 * 2 * 4 + 12 * 4  # and counters


def test_sent_bytes_of_rings():
    sent = {c.kind: c.sent for c in count(parse(PROGRAM), n_devices=16).collectives}
    assert sent["all-gather"] == pytest.approx(12 * 768 * 64 * 2 * 3 / 4)
    assert sent["all-reduce"] == pytest.approx(2 * 400 * 3 / 4)


def test_what_goes_between_slices():
    """Each of 2 slices runs the program, whose groups are its own; the other is reached by a send."""
    line = "  %g = f32[100]{0:T(128)} constant({...})\n"
    sends = """  %token = token[] after-all()
  %send.1 = (f32[100]{0:T(128)}, u32[], token[]) send(%g, %token), channel_id=4, is_host_transfer=true, frontend_attributes={_xla_megascale_transfer_type="ALL_REDUCE"}
  %send.2 = (f32[100]{0:T(128)}, u32[], token[]) send(%g, %token), channel_id=5, is_host_transfer=true, frontend_attributes={_xla_megascale_transfer_type="ALL_GATHER"}
"""  # noqa: E501
    found = count(parse(PROGRAM.replace(line, line + sends)), n_devices=32, n_slices=2).collectives
    between = {c.kind: (c.group, c.nbytes, c.sent) for c in found if c.between_slices}
    assert between == {"all-reduce": (2, 400, 400), "all-gather": (2, 800, 400)}
    assert {c.group for c in found if not c.between_slices} == {4}


@pytest.mark.parametrize("change, trips", [
    (("%one = s32[]{:T(128)} constant(1)", "%one = s32[]{:T(128)} constant(2)"), 6),
    (("%zero.1 = s32[]{:T(128)} constant(0)", "%zero.1 = s32[]{:T(128)} constant(5)"), 7),
    (("constant(12)", "constant(0)"), 0),
])
def test_loops_count_from_their_start_by_their_step(change, trips):
    cost = count(parse(PROGRAM.replace(*change)), n_devices=16)
    assert by_kind(cost.collectives).get("all-gather", (0, 0))[0] == trips


def test_a_loop_of_unknown_length_is_named():
    cost = count(parse(PROGRAM.replace("constant(12)", "parameter(7)")), n_devices=16)
    assert cost.unknown_loops == ("while.2",)
