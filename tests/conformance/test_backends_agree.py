"""The same model, data and initial weights give the same losses on every backend."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

MISSING = [name for name in ("jax", "torch") if importlib.util.find_spec(name) is None]

# Initial weights are drawn by NumPy: random numbers of one seed differ between backends.
SCRIPT = textwrap.dedent(
    """
    import json, sys
    import keras, numpy as np
    import mtl_keras as mtl, zoo

    keras.utils.set_random_seed(0)
    tasks = [
        mtl.BinaryTask("clicked", class_weight={1: 3.0}),
        mtl.CategoricalTask("shop", 4),
        mtl.MultiLabelTask("tags", 3),
        mtl.RegressionTask("price", 2, weight=0.5),
    ]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 10)).astype("float32")
    y = {
        "clicked": (x[:, 0] > 0).astype("float32"),
        "shop": rng.integers(-1, 4, 64),
        "tags": (x[:, 1:4] > 0).astype("float32"),
        "price": x[:, 4:6].copy(),
    }
    y["tags"][::3, 1] = np.nan
    y["price"][::2] = np.nan
    model = zoo.shared_trunk(tasks, 10, trunk=[32, 16], optimizer="sgd")
    model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    logs = [model.train_on_batch(x, y, return_dict=True) for _ in range(3)]
    logs = [{k: float(v) for k, v in step.items()} for step in logs]
    json.dump([logs, [w.tolist() for w in model.get_weights()]], sys.stdout)
    """
)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="runs all backends itself")
@pytest.mark.skipif(bool(MISSING), reason=f"needs every backend; not installed: {MISSING}")
def test_first_steps_agree_on_every_backend():
    reference = run("tensorflow")
    for backend in ("jax", "torch"):
        logs, weights = run(backend)
        # The first step within 1e-5; later ones carry its rounding along.
        for step, expected in zip(logs, reference[0], strict=True):
            assert step == pytest.approx(expected, rel=1e-5, abs=1e-6), backend
        for found, expected in zip(weights, reference[1], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def run(backend):
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": backend},
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])
