"""A convolutional and a transformer model that use every family of layers, and train."""

import keras
import numpy as np
import pytest

from mtl_keras import BinaryTask, MultiTaskModel, RegressionTask, layers

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
TASKS = (BinaryTask("bright"), RegressionTask("level"))
ROWS = 64


def heads(towers):
    return {t.name: t.build_head()(h) for t, h in zip(TASKS, towers, strict=True)}


def convolutional():
    """Tasks as outputs: images through conditioning, attention, experts and exchange."""
    images = keras.Input((6, 6, 1), name="images")
    domain = keras.Input((), dtype="int32", name="domain")
    h = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(images)
    z = layers.TaskEmbedding(4, num_tasks=2)(domain)
    h = layers.FiLM()(h, z)
    h = layers.ConditionalNormalization("group", groups=2)(h, z)
    h = layers.TaskRouting(2)(h, domain)
    h = layers.TaskGate(keras.layers.Conv2D(8, 1, activation="relu"), num_tasks=2)(h, domain)
    h = layers.TaskAdapter(2, 4)(h, domain)
    towers = layers.TaskAttention(2)(h)
    towers = layers.CrossStitch()(towers)
    towers = layers.NDDR()(towers)
    towers = layers.SluiceUnit()(towers)
    mixed = layers.MultiGateMixtureOfExperts(
        2, layers.Experts(2, expert=keras.layers.Conv2D(8, 3, padding="same", activation="relu"))
    )(keras.layers.Add()(towers))
    pooled = [keras.layers.GlobalAveragePooling2D()(h) for h in mixed]
    return MultiTaskModel(
        {"images": images, "domain": domain}, heads(pooled), tasks=TASKS, name="convolutional"
    )


def transformer():
    """Sequences through adapters, sparse experts and every stack of experts."""
    tokens = keras.Input((6, 8), name="images")
    domain = keras.Input((), dtype="int32", name="domain")
    z = layers.TaskEmbedding(4, num_tasks=2)(domain)
    h = keras.layers.Add()([tokens, keras.layers.MultiHeadAttention(2, 4)(tokens, tokens)])
    h = layers.HyperAdapter(4)(keras.layers.LayerNormalization()(h), z)
    h = layers.LowRankTaskAdapter(keras.layers.Dense(8), 2, rank=2)(h, domain)
    h = layers.ConcatConditioning(8, activation="relu")(h, z)
    h = layers.AdditiveConditioning(8)(h, z)
    h = layers.MultiplicativeConditioning()(h, z)
    experts = layers.Experts(8, (16, 8), normalization="layer")
    h = layers.MixtureOfExperts(experts, layers.TopKGate(k=1, capacity_factor=1.5))(h)
    h = layers.MixtureOfExperts(layers.Experts(3, 8), layers.DSelectKGate(k=2))(h)
    own, shared = layers.Experts(1, 8), layers.Experts(2, 8)
    towers = layers.CustomizedGateControl(2, own, shared)(h)
    towers = layers.AdaTT(2, layers.Experts(2, 8))(towers)
    towers = layers.SubNetworkRouting(2, units=8)(towers)
    h = keras.layers.Add()(towers)
    towers = layers.ProgressiveLayeredExtraction(2, own, shared)(h)
    towers = layers.HierarchicalMultiGate((0, 1), 2, 8)(keras.layers.Add()(towers))
    pooled = [keras.layers.GlobalAveragePooling1D()(h) for h in towers]
    return MultiTaskModel(
        {"images": tokens, "domain": domain}, heads(pooled), tasks=TASKS, name="transformer"
    )


def data(shape):
    rng = np.random.default_rng(0)
    level = rng.normal(size=(ROWS, 1)).astype("float32")
    images = rng.normal(size=(ROWS, *shape)).astype("float32") * 0.5
    images += level.reshape(-1, *[1] * len(shape))
    domain = np.arange(ROWS, dtype="int32") % 2
    labels = {"bright": (level > 0).astype("float32"), "level": level}
    return {"images": images, "domain": domain}, labels


# Half precision: minutes of compilation.
@pytest.mark.parametrize(
    "policy",
    [p if p == "float32" else pytest.param(p, marks=pytest.mark.slow) for p in POLICIES],
)
@pytest.mark.parametrize(
    "build", [convolutional, pytest.param(transformer, marks=pytest.mark.slow)]
)
def test_every_family_trains(build, policy):
    if policy != "float32" and keras.backend.backend() != "tensorflow":
        # Minutes of compilation; the suite of each layer runs in half precision everywhere.
        pytest.skip("whole models train in half precision on TensorFlow only")
    keras.utils.set_random_seed(0)
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy(previous)
    x, y = data(model.input["images"].shape[1:])
    model.compile(keras.optimizers.Adam(0.01))
    loss = model.fit(x, y, batch_size=32, epochs=12, verbose=0).history["loss"]
    assert np.isfinite(loss).all()
    assert loss[-1] < 0.7 * loss[0]
