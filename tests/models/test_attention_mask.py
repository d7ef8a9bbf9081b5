"""What a logit may depend on: earlier tokens of its own document, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np

ROWS = [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8, 9, 10, 11]]]  # no token twice
UNSEEN = slice(12, 20)  # logits whose unembedding row is no input's, tied or not


def test_logits_depend_on_exactly_the_earlier_tokens_of_their_document(tiny, packed_batch):
    """By gradient: d logits[t] / d embedding of input s is 0 unless s <= t in the same document."""
    batch = packed_batch(ROWS)
    mix = jnp.asarray(np.random.default_rng(0).normal(size=8), jnp.float32)

    @jax.jit
    @jax.jacrev
    def sensitivity(embedding):
        logits = tiny.apply(tiny.params | {"embedding": embedding}, batch)
        return logits.astype(jnp.float32)[..., UNSEEN] @ mix

    jacobian = sensitivity(tiny.params["embedding"])  # [row, t, vocab, embed]
    # Every input token is its own row of the table, so that row stands for row and position.
    size = np.abs(np.asarray(jacobian[:, :, :12])).max(-1).reshape(12, 12)
    position = np.arange(12)
    document = np.repeat([0, 1, 2], [3, 3, 6])
    allowed = (document[:, None] == document) & (position[None, :] <= position[:, None])
    assert (size[~allowed] == 0).all()
    assert (size[allowed] > 0).all()


def test_a_document_does_not_notice_its_neighbour(tiny, packed_batch):
    first = tiny.logits(tiny.params, packed_batch([[[1, 2, 3], [4, 5, 6]], ROWS[1]]))
    other = tiny.logits(tiny.params, packed_batch([[[9, 8, 19], [4, 5, 6]], ROWS[1]]))
    assert not np.array_equal(first[0, :3], other[0, :3])
    assert np.array_equal(first[0, 3:], other[0, 3:])  # to the bit
    assert np.array_equal(first[1], other[1])


def test_a_packed_document_is_as_it_would_be_alone(tiny, packed_batch):
    """What follows a document in its row changes nothing (tested above), so one row start is alone."""
    logits = tiny.logits(tiny.params, packed_batch([[[1, 2, 3], [4, 5, 6]], [[4, 5, 6], [7, 8, 9]]]))
    packed, alone = np.asarray(logits[0, 3:], "f4"), np.asarray(logits[1, :3], "f4")
    tolerance = 1e-5 if tiny.config.compute_dtype == "float32" else 0.06
    np.testing.assert_allclose(packed, alone, atol=tolerance)


def test_the_order_of_earlier_tokens_matters(tiny, packed_batch):
    """Attention alone would be blind to it; rotary positions are what sees it."""
    batch = packed_batch([[[1, 2, 3, 4, 5, 6]], [[2, 1, 3, 4, 5, 6]]])
    last = np.asarray(tiny.logits(tiny.params, batch), "f4")[:, -1]
    assert np.abs(last[0] - last[1]).max() > 1e-3


def test_only_distances_between_positions_matter(tiny, packed_batch):
    batch = packed_batch([[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]])
    moved = batch | {"decoder_positions": batch["decoder_positions"] + 3}
    tolerance = 3e-5 if tiny.config.compute_dtype == "float32" else 0.1
    np.testing.assert_allclose(
        np.asarray(tiny.logits(tiny.params, batch), "f4"),
        np.asarray(tiny.logits(tiny.params, moved), "f4"),
        atol=tolerance,
    )
