"""TransformerBlock: the paper's two steps, blind for padding and, if causal, for the future."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_masks import ReadMask
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.transformer_block import TransformerBlock


def draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


def norm(weights, name, x):
    gamma, beta = weights[f"{name}/gamma"], weights[f"{name}/beta"]
    spread = np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    return gamma * (x - x.mean(-1, keepdims=True)) / spread + beta


def attention(weights, x, causal):
    query, key, value = (
        np.einsum("btc,chk->bhtk", x, weights[f"attention/{name}/kernel"])
        + weights[f"attention/{name}/bias"][None, :, None]
        for name in ("query", "key", "value")
    )
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    if causal:
        future = np.triu(np.ones(scores.shape[-2:], bool), 1)
        scores = np.where(future, -np.inf, scores)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    kernel, bias = (weights[f"attention/attention_output/{name}"] for name in ("kernel", "bias"))
    return np.einsum("bhtk,hkc->btc", shares @ value, kernel) + bias


def statement(weights, x, causal=False):
    middle = norm(weights, "attention_norm", x + attention(weights, x, causal))
    hidden = np.maximum(middle @ weights["hidden/kernel"] + weights["hidden/bias"], 0)
    return norm(weights, "out_norm", middle + hidden @ weights["out/kernel"] + weights["out/bias"])


MASKS = (np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]], bool),)
CASES = [
    LayerCase(
        layer_class=TransformerBlock,
        config={"num_heads": 2, "units": 6, "causal": causal},
        inputs=(draw(4, 3, 4),),
        masks=MASKS,
        expected=lambda weights, x, causal=causal: statement(weights, x, causal),
        name="causal" if causal else "both ways",
        # The softmax does not see what is added to all scores of a position.
        dead_gradients=("attention/key/bias",),
    )
    for causal in (False, True)
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def test_padding_is_as_good_as_absent():
    layer, x = TransformerBlock(2, 6), draw(2, 3, 4)
    short = arrays(layer(x))
    longer = np.concatenate([x, 100 * draw(2, 2, 4)], axis=1)
    mask = keras.ops.convert_to_tensor([[True] * 3 + [False] * 2] * 2)
    received = arrays(layer(longer, mask=mask))
    np.testing.assert_allclose(received[:, :3], short, rtol=1e-5, atol=1e-6)
    assert np.isfinite(received).all()


def test_two_blocks_read_the_mask_of_one_sequence():
    blocks = TransformerBlock(2, 6), TransformerBlock(2, 6)
    sequence = keras.layers.Masking()(np.concatenate([draw(2, 3, 4), np.zeros((2, 1, 4))], axis=1))
    probes = ReadMask(), ReadMask()
    for block, probe in zip(blocks, probes, strict=True):
        probe(block(sequence))
        np.testing.assert_array_equal(arrays(probe.mask), [[True] * 3 + [False]] * 2)


@pytest.mark.parametrize("argument", ["num_heads", "units"])
def test_bad_counts_are_refused(argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be .*Received: {argument}=0"):
        TransformerBlock(**{"num_heads": 2, "units": 6, argument: 0})


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"`num_heads` must divide .* 4.*Received: num_heads=3"):
        TransformerBlock(3, 6)(draw(2, 3, 4))
