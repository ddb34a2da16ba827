"""Two replicas train and report as one device does."""

import json
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.distribute is TensorFlow's", allow_module_level=True)

# Logical devices must be set before TensorFlow starts: a process of its own.
SCRIPT = textwrap.dedent(
    """
    import json, sys
    import numpy as np, tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    import mtl_keras as mtl

    rng = np.random.default_rng(0)
    x = rng.normal(size=(72, 5)).astype("float32")
    y = {"clicked": (x[:, 0] > 0).astype("float32"), "price": x[:, 1].copy()}
    # Uneven: one replica has few labels of a task, or none.
    y["clicked"][:10] = np.nan
    y["price"][rng.uniform(size=72) < 0.7] = np.nan

    def run():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5,))
        h = keras.layers.Dense(8, "relu", kernel_regularizer="l2")(inputs)
        tasks = [mtl.BinaryTask("clicked"), mtl.RegressionTask("price")]
        own = {t.name: keras.layers.Dense(4, name=f"{t.name}_tower")(h) for t in tasks}
        outputs = {t.name: t.build_head()(own[t.name]) for t in tasks}
        model = mtl.MultiTaskModel(inputs, outputs, tasks=tasks)
        model.compile(keras.optimizers.SGD(0.1), loss_weights={"price": 0.5},
                      sharing=mtl.sharing.L2Sharing(0.1))
        history = model.fit(x, y, batch_size=int(sys.argv[1]), epochs=2, shuffle=False,
                            verbose=0, validation_data=(x, y)).history
        return {k: v[-1] for k, v in history.items()}, [w.tolist() for w in model.get_weights()]

    one = run() if len(sys.argv) == 2 else None
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        two = run()
    json.dump([one, two], sys.stdout)
    """
)


def run(batch_size):
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(batch_size)], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


# Not an odd size: Keras 3.15 itself cannot split one between two replicas.
@pytest.mark.parametrize("batch_size", [pytest.param(24, marks=pytest.mark.slow), 20])
def test_two_replicas_report_and_train_as_one_device(batch_size):
    (logs, weights), (mirrored_logs, mirrored_weights) = run(batch_size)
    # Sums in another order.
    # `score` is a small difference of two metrics.
    assert mirrored_logs == pytest.approx(logs, rel=1e-5, abs=1e-6)
    for one, two in zip(weights, mirrored_weights, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


def test_an_invalid_label_on_the_second_replica_stops_the_fit():
    bad = SCRIPT.replace('y["price"][rng', 'y["clicked"][20] = 7.0\ny["price"][rng')
    process = subprocess.run(
        [sys.executable, "-c", bad, "24", "two"], capture_output=True, text=True
    )
    assert process.returncode != 0
    message = process.stderr.splitlines()[-1]
    assert "Task 'clicked'" in message and "above the range" in message, message
