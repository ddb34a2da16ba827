"""Experts and gates in plain NumPy, one expert and one product at a time."""

import numpy as np


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def below(weights, prefix):
    """The weights of a sublayer."""
    return {
        path.removeprefix(prefix + "/"): value
        for path, value in weights.items()
        if path.startswith(prefix + "/")
    }


def expert_outputs(weights, x, activation=relu):
    """A list with the output of each expert of an MLP bank without normalisation."""
    outputs = []
    for e in range(weights["kernel_0"].shape[1]):
        h = x
        for layer in range(sum(path.startswith("kernel_") for path in weights)):
            h = h @ weights[f"kernel_{layer}"][:, e] + weights[f"bias_{layer}"][e]
            h = activation(h)
        outputs.append(h)
    return outputs


def gated(gates, outputs):
    """sum_e g_e f_e."""
    return sum(gates[..., e, None] * output for e, output in enumerate(outputs))


def softmax_gated(gate_weights, seen, outputs):
    """The mixture of a `SoftmaxGate` on `seen`."""
    return gated(softmax(seen @ gate_weights["kernel"]), outputs)


def gate_control(weights, features):
    """A level of two tasks' gates and a shared gate, with tanh experts."""
    *tasks, shared = features if isinstance(features, tuple) else (features,) * 3
    common = expert_outputs(below(weights, "shared_experts"), shared, np.tanh)
    own = [expert_outputs(below(weights, f"experts_{k}"), x, np.tanh) for k, x in enumerate(tasks)]
    outputs = [
        softmax_gated(below(weights, f"gate_{k}"), x, own[k] + common) for k, x in enumerate(tasks)
    ]
    if "shared_gate/kernel" not in weights:
        return tuple(outputs)
    every = [output for bank in own for output in bank] + common
    outputs.append(softmax_gated(below(weights, "shared_gate"), shared, every))
    return tuple(outputs)
