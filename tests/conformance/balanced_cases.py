"""Architectures whose tasks share in every way, for tests of per-task gradients."""

import keras
import numpy as np
from keras import layers

import mtl_keras as mtl
from mtl_keras.balancing import GramianBalancer, JacobianBalancer

ROWS = 16


@keras.saving.register_keras_serializable(package="tests")
class Ones(GramianBalancer):
    """Weights of 1: the update is that of the sum."""

    def solve(self, gramian, present, losses):
        return keras.ops.ones_like(gramian[0])


@keras.saving.register_keras_serializable(package="tests")
class RowSum(JacobianBalancer):
    """The sum of the rows."""

    def aggregate(self, jacobian, present, losses):
        return keras.ops.sum(jacobian, axis=0)


def two_tasks():
    return [mtl.RegressionTask("a", 2, weight=0.5), mtl.BinaryTask("b")]


def multi_task(inputs, features, tasks=None):
    """A model with one head a task on features by task, or on one for all."""
    tasks = tasks or two_tasks()
    if not isinstance(features, dict):
        features = {task.name: features for task in tasks}
    outputs = {task.name: task.build_head()(features[task.name]) for task in tasks}
    return mtl.MultiTaskModel(inputs, outputs, tasks=tasks)


def dense():
    x = keras.Input((4,))
    return multi_task(x, layers.Dense(5, "tanh", name="trunk")(x))


def batch_normalised():
    x = keras.Input((4,))
    h = layers.BatchNormalization()(layers.Dense(5)(x))
    return multi_task(x, layers.Dense(3, "tanh")(h))


def embedding():
    x = keras.Input((3,), dtype="int32")
    h = layers.Embedding(7, 4, mask_zero=True)(x)
    return multi_task(x, layers.GlobalAveragePooling1D()(h))


def masked_heads():
    x = keras.Input((3,), dtype="int32")
    h = layers.Embedding(7, 4, mask_zero=True)(x)
    pooled = {task: layers.GlobalAveragePooling1D(name=f"pool_{task}")(h) for task in "ab"}
    return multi_task(x, pooled)


def recurrent():
    x = keras.Input((3, 4))
    return multi_task(x, layers.GRU(4)(x))


def convolutional():
    x = keras.Input((6, 6, 1))
    h = layers.Conv2D(3, 3, activation="relu")(x)
    return multi_task(x, layers.GlobalAveragePooling2D()(h))


def several_inputs():
    x = {"left": keras.Input((4,), name="left"), "right": keras.Input((2,), name="right")}
    h = layers.Dense(5, "tanh")(layers.Concatenate()([x["left"], x["right"]]))
    # The raw input feeds a head too.
    return multi_task(x, {"a": layers.Concatenate()([h, x["right"]]), "b": h})


def partly_shared():
    x = keras.Input((4,))
    h = layers.Dense(5, "tanh")(x)
    pair = layers.Dense(4, "tanh")(h)
    tasks = [*two_tasks(), mtl.CategoricalTask("c", 3)]
    return multi_task(x, {"a": pair, "b": pair, "c": h}, tasks)


def conditioned():
    # One layer, called for each task behind an adapter of the task's own.
    x = keras.Input((4,))
    layer = layers.Dense(5, "tanh")
    return multi_task(x, {task: layer(layers.Dense(4, name=f"to_{task}")(x)) for task in "ab"})


def experts():
    x = keras.Input((4,))
    bank = mtl.layers.Experts(3, (5,))
    towers = mtl.layers.ProgressiveLayeredExtraction(2, bank, bank, levels=1)(x)
    return multi_task(x, dict(zip("ab", towers, strict=True)))


def gated():
    # Gates of their own within one layer.
    x = keras.Input((4,))
    towers = mtl.layers.MultiGateMixtureOfExperts(2, mtl.layers.Experts(3, (5,)))(x)
    return multi_task(x, dict(zip("ab", towers, strict=True)))


def regularised():
    x = keras.Input((4,))
    h = layers.Dense(5, "tanh", kernel_regularizer="l2")(x)
    h = layers.ActivityRegularization(l2=0.1)(h)
    own = layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l2")(h)
    return multi_task(x, {"a": own, "b": h})


def nested_outputs():
    # ESMM: one output is part of another.
    x = keras.Input((4,))
    h = layers.Dense(5, "tanh")(x)
    a, b = mtl.BinaryTask("a"), mtl.BinaryTask("b")
    click = a.build_head()(h)
    both = layers.Multiply()([click, layers.Dense(1, "sigmoid")(h)])
    return mtl.MultiTaskModel(x, {"a": click, "b": both}, tasks=[a, b])


CASES = {
    function.__name__: function
    for function in (
        dense,
        batch_normalised,
        embedding,
        masked_heads,
        recurrent,
        convolutional,
        several_inputs,
        partly_shared,
        conditioned,
        experts,
        gated,
        regularised,
        nested_outputs,
    )
}


def data(model, rows=ROWS, missing=True):
    """A batch for a model, some labels of task "a" missing."""
    rng = np.random.default_rng(0)

    def draw(tensor):
        shape = (rows, *tensor.shape[1:])
        if "int" in tensor.dtype:
            ids = rng.integers(0, 7, shape)
            # The mean over no position at all is undefined.
            ids[:, 0] = 1
            return ids
        return rng.normal(size=shape).astype("float32")

    x = keras.tree.map_structure(draw, model.input)
    y = {}
    for task in model.tasks:
        y[task.name] = rng.integers(0, 2, (rows, task.units)).astype("float32")
        if task.labels.kind == "class":
            y[task.name] = rng.integers(0, task.units, rows)
    if missing:
        y["a"][::3] = np.nan
    return x, y


def fresh(case, **compile_options):
    """The compiled model of a case, with weights that NumPy draws."""
    keras.utils.set_random_seed(0)
    model = CASES[case]() if isinstance(case, str) else case()
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    options = {"optimizer": keras.optimizers.SGD(0.1)} | compile_options
    model.compile(**options)
    return model


def weights(model):
    """Values of the model's variables, without the balancer's."""
    return [keras.ops.convert_to_numpy(variable) for variable in model.weights]
