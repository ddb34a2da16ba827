"""Training runs of several builders that a test interrupts, each with state of its own kind."""

import keras
import numpy as np

import mtl_keras as mtl
import zoo

ROWS, BATCH, EPOCHS = 96, 8, 4
STEPS = ROWS // BATCH


def data():
    """Inputs (rows, 6) and the labels of three tasks, some of them missing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 6)).astype("float32")
    labels = {"a": (x[:, 0] > 0).astype("float32"), "b": x[:, 1] * 2, "c": np.abs(x[:, 2])}
    labels["b"][::7] = np.nan
    return x, labels


def tasks(*names):
    kinds = {"a": mtl.BinaryTask("a"), "b": mtl.RegressionTask("b"), "c": mtl.RegressionTask("c")}
    return [kinds[name] for name in names]


def shared_trunk():
    """Dropout, an optimizer for each part, gradients balanced on every second step."""
    model = zoo.shared_trunk(tasks("a", "b", "c"), 6, trunk=[8], dropout=0.2)
    slow = keras.optimizers.Adam(1e-3, gradient_accumulation_steps=2)
    parts = mtl.optimizers.per_part({"trunk": slow, "heads": keras.optimizers.RMSprop(1e-2)})
    model.compile(parts, balancer="gradnorm", balancer_every=2)
    return model, {"x": mtl.data.MixedBatches({"all": data()}, batch_size=BATCH, seed=3)}


def experts():
    """Raw strings meet gates that draw noise; a rule of losses with means of whole epochs."""
    x, y = data()
    words = np.array(["red", "green", "blue"])[(np.abs(x[:, 3]) * 2).astype(int) % 3]
    inputs = {"color": zoo.features.Categorical(vocabulary=("red", "green", "blue"))}
    inputs["numbers"] = zoo.features.Numeric((0.0,) * 6, (1.0,) * 6, shape=(6,))
    model = zoo.multi_gate_mixture_of_experts(
        tasks("a", "b"), inputs, experts=3, expert_units=[6], towers=[4], dropout=0.1
    )
    model.compile(keras.optimizers.Adam(1e-2), balancer="dwa")
    labels = {name: y[name] for name in ("a", "b")}
    fit = {"x": {"color": words, "numbers": x}, "y": labels, "shuffle": False}
    return model, fit | {"batch_size": BATCH, "validation_split": 0.25}


def soft_sharing():
    """Two towers under a penalty that decays, and one that takes steps of its own."""
    decaying = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.7)
    penalties = [
        mtl.sharing.L2Sharing(decaying),
        mtl.sharing.TraceNormSharing(0.01, every=4, proximal=True),
    ]
    model = zoo.soft_sharing(tasks("a", "b"), 6, [8], sharing=penalties)
    model.compile("adam", balancer="moco", sharing=penalties)
    if keras.backend.backend() != "tensorflow":
        return model, {"x": batches_of_two()}
    import tensorflow as tf

    x, y = data()
    sources = {
        name: tf.data.Dataset.from_tensor_slices((x, y[name])).shuffle(ROWS, seed=i)
        for i, name in enumerate(("a", "b"))
    }
    return model, {"x": mtl.data.mix(sources, batch_size=BATCH, seed=5), "steps_per_epoch": STEPS}


def batches_of_two(**options):
    x, y = data()
    arrays = {"a": (x, y["a"]), "b": (x[:40], y["b"][:40])}
    options |= {"batch_size": BATCH, "seed": 4, "batches_per_epoch": STEPS}
    return mtl.data.MixedBatches(arrays, **options)


def task_conditioned():
    """Tasks as rows, which a rule of losses weighs, drawn by chances that change."""
    model = zoo.task_conditioned(
        tasks("a", "b"),
        6,
        [8],
        row_input="task",
        num_row_tasks=2,
    )
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), balancer="famo", row_tasks={"task": 2})
    return model, {
        "x": batches_of_two(task_input="task", strategy=mtl.data.Annealed(EPOCHS, STEPS))
    }


def census():
    """Real rows, strings and numbers, to an entry of the zoo that has no weights yet."""
    data = zoo.datasets.load("census_income", variant="three_tasks", batch_size=1024, seed=1)
    model = zoo.load("mmoe_census", pretrained=False)
    model.compile("adam", balancer="uw")
    return model, {"x": data.train.repeat(), "steps_per_epoch": STEPS}


# Strings need TensorFlow.
FITS = [shared_trunk, experts, soft_sharing, task_conditioned]
if keras.backend.backend() != "tensorflow":
    FITS.remove(experts)


def state_of(model):
    """All variables of a model and of its optimizer, by place."""
    variables = [*model.variables, *model.optimizer.variables]
    return {
        f"{i:03} {variable.path}": keras.ops.convert_to_numpy(variable)
        for i, variable in enumerate(variables)
    }
