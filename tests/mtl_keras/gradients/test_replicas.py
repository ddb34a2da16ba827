"""Balanced training on two replicas is that of one device: rows are added up before weights."""

import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()
if BACKEND == "torch":
    pytest.skip("Keras has no data parallelism on PyTorch", allow_module_level=True)

# Each family and each way to the update.
CASES = [
    {"balancer": "uw"},
    {"balancer": "upgrad"},
    {"balancer": "nash_mtl", "scope": "representation"},
    {"balancer": "mgda", "gramian": "matrix_free"},
    {"balancer": "db_mtl"},
]
# State, random draws, halves of the batch.
MORE_CASES = [{"balancer": rule} for rule in ("famo", "pcgrad", "modo", "graddrop")]

# Devices must be set before the backend starts: a process of its own.
SCRIPT = textwrap.dedent(
    """
    import json, sys
    import keras, numpy as np
    from mtl_keras import balancing
    from conformance import two_layer_network as network

    backend, cases = keras.backend.backend(), json.loads(sys.argv[1])
    x, y = network.data(48)

    def run(case):
        keras.utils.set_random_seed(0)
        balancer = balancing.get(case.pop("balancer"))
        model = network.keras_model(balancer, jit_compile=backend == "jax", **case)
        model.fit(x, y, batch_size=24, epochs=1, shuffle=False, verbose=0)
        return [np.asarray(w).tolist() for w in model.get_weights()]

    if backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        one = [run(dict(case)) for case in cases]
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            two = [run(dict(case)) for case in cases]
    else:
        one = [run(dict(case)) for case in cases]
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        two = [run(dict(case)) for case in cases]
    json.dump([one, two], sys.stdout)
    """
)


@pytest.mark.parametrize(
    "cases", [CASES, pytest.param(MORE_CASES, marks=pytest.mark.slow)], ids=["ways", "rules"]
)
def test_two_replicas_train_as_one_device(cases):
    if BACKEND == "jax":
        cases = [case for case in cases if case["balancer"] in ("upgrad", "mgda", "db_mtl", "modo")]
    tests = os.path.join(os.path.dirname(__file__), "..", "..")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2",
    }
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(cases)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    for case, one, two in zip(cases, *json.loads(process.stdout.splitlines()[-1]), strict=True):
        for a, b in zip(one, two, strict=True):
            # Sums in another order, two steps.
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5, err_msg=str(case))
