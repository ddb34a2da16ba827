"""What layers report in a fit of a multi-task model is what they report when called alone."""

import keras
import numpy as np

from conformance.good_layers import draw
from mtl_keras import BinaryTask, MultiTaskModel
from mtl_keras.layers import Experts, MultiGateMixtureOfExperts, TopKGate


def test_reports_of_a_fit_are_those_of_a_call():
    tasks = [BinaryTask("left"), BinaryTask("right")]
    inputs = keras.Input((5,))
    gate = TopKGate(k=2, noisy=False)
    layer = MultiGateMixtureOfExperts(2, Experts(4, 3), gate, track_health=True, name="mixture")
    outputs = {t.name: t.build_head()(h) for t, h in zip(tasks, layer(inputs), strict=True)}
    model = MultiTaskModel(inputs, outputs, tasks=tasks)
    model.compile(keras.optimizers.SGD(0.0))
    x, labels = draw(32, 5), np.arange(32) % 2
    logs = model.fit(x, {"left": labels, "right": labels}, epochs=2, verbose=0).history
    layer(x, training=True)
    gates = layer.gates
    expected = {k: float(v) for k, v in layer.health.result().items()}
    expected |= {m.name: float(m.result()) for g in gates for m in g.trackers.values()}
    assert len(expected) == 3 + 2 * 2
    for key, value in expected.items():
        np.testing.assert_allclose(logs[key], value, rtol=1e-5, err_msg=key)
    assert np.all(np.isfinite(list(expected.values())))
