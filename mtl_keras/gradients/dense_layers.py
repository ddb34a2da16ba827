"""The Gramian's part of dense layers, without any task's gradient of their weights."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from keras import ops

from mtl_keras.gradients.autodiff import row_products
from mtl_keras.gradients.graph import CallContext, SharedGraph, is_functional

# Of a batch whose size is not known: a size that no other axis is likely to have.
SOME_ROWS = 8191


class DenseCall(NamedTuple):
    """One call of a dense layer: its input and output shapes, without the batch axis."""

    layer: keras.layers.Dense
    inputs: tuple
    outputs: tuple


class DenseLayers:
    """The dense layers of a trunk, with a probe of zeros added before each activation.

    With inputs A (rows, in) and task k's gradient D_k (rows, out) at the probe, the kernel's
    gradient is A'D_k and the bias's 1'D_k. Their part of the Gramian thus is
    G_kl = <A A' + 1 1', D_k D_l'>, at a cost that grows with rows^2 and not with in x out:
    cheaper than K gradients while the batch is small against the layers' width.

    Args:
        graph: the trunk; sequential and functional models in it are searched.
        inputs: the model's input tensors.

    Attributes:
        covered: ids of the variables whose part is found this way.
    """

    def __init__(self, graph: SharedGraph, inputs: list):
        found, others = {}, set()
        for operation in graph.trunk_operations:
            _search(operation, found, others)
        allowed = {id(v) for v in graph.shared} - others
        layers = [
            layer
            for layer in found.values()
            if layer.trainable_variables and {id(v) for v in layer.trainable_variables} <= allowed
        ]
        self.calls = _recorded(layers, graph.run_trunk, inputs) if layers else []
        self.covered = {id(v) for call in self.calls for v in call.layer.trainable_variables}

    def rows_limit(self, num_tasks: int, shared: list) -> int:
        """The largest batch at which this way is the cheaper one, by multiplications; 0 if never.

        It includes the pass for the weighted gradient, which K gradients would make needless.
        Where most of the shared weights are in other layers, little could be saved.
        """
        sizes = {id(v): math.prod(v.shape) for v in shared}
        covered = sum(size for key, size in sizes.items() if key in self.covered)
        if not covered or 2 * covered < sum(sizes.values()):
            return 0
        # quadratic * rows^2 + linear * rows + constant < 0
        quadratic = linear = constant = 0
        for call in self.calls:
            positions = math.prod(call.inputs[:-1])
            width, units = call.inputs[-1], call.outputs[-1]
            quadratic += positions**2 * (width + num_tasks * units)
            linear += positions * units * (num_tasks**2 + 2 * width - num_tasks * width)
            constant -= num_tasks**2 * width * units
        root = math.sqrt(linear**2 - 4 * quadratic * constant)
        return int((root - linear) / (2 * quadratic))

    def probes(self, rows: Any) -> list:
        """Zeros to add before the activations, one tensor a call."""
        return [ops.zeros((rows, *call.outputs), call.layer.compute_dtype) for call in self.calls]

    @contextlib.contextmanager
    def probed(self, probes: list) -> Iterator[list]:
        """Within it calls add the probes; the list that it gives fills with their inputs."""
        seen, remaining = [], iter(probes)

        def add(layer, call, features):
            seen.append(features)
            activation, probe = layer.activation, next(remaining)
            layer.activation = lambda outputs: activation(outputs + probe)
            try:
                return call(features)
            finally:
                layer.activation = activation

        with _calling([call.layer for call in self.calls], add):
            yield seen

    def gramian(self, inputs: list, gradients: list[list]) -> Any:
        """The covered weights' part of G, (K, K), in float32.

        Args:
            inputs: the input of each call.
            gradients: for each task the gradient at each probe, or None.
        """
        return sum(
            self._of_layer(layer, *self._rows_of(layer, inputs, gradients))
            for layer in {id(call.layer): call.layer for call in self.calls}.values()
        )

    def _rows_of(self, layer, inputs, gradients):
        # The rows of all calls of one layer: its gradient is the sum over them.
        own = [i for i, call in enumerate(self.calls) if call.layer is layer]
        features = ops.concatenate([_flat(inputs[i]) for i in own])
        tasks = [
            ops.concatenate(
                [
                    ops.zeros((ops.shape(_flat(inputs[i]))[0], layer.units), "float32")
                    if task[i] is None
                    else _flat(task[i])
                    for i in own
                ]
            )
            for task in gradients
        ]
        return ops.stop_gradient(features), ops.stack(tasks)

    def _of_layer(self, layer, features, gradients):
        # A layer may have been frozen since.
        trained = {id(v) for v in layer.trainable_variables} & self.covered
        products = ops.matmul(features, ops.transpose(features)) * (id(layer.kernel) in trained)
        if id(layer.bias) in trained:
            products = products + 1.0
        num_tasks = gradients.shape[0]
        spread = ops.reshape(ops.matmul(products, gradients), (num_tasks, -1))
        return row_products(spread, ops.reshape(gradients, (num_tasks, -1)))


def _recorded(layers, run, inputs):
    """The calls of layers whose batch axis is the inputs', in their order."""
    calls, rows = [], inputs[0].shape[0] or SOME_ROWS

    def record(layer, call, features):
        outputs = call(features)
        calls.append(DenseCall(layer, tuple(features.shape), tuple(outputs.shape)))
        return outputs

    with _calling(layers, record):
        symbols = [_with_rows(tensor, rows) for tensor in inputs]
        CallContext(run).compute_output_spec(symbols)
    # A batch axis of another length: probes could not be made for it.
    strange = {id(c.layer) for c in calls if {c.inputs[0], c.outputs[0]} != {rows}}
    return [
        DenseCall(c.layer, c.inputs[1:], c.outputs[1:]) for c in calls if id(c.layer) not in strange
    ]


def _search(operation, found, others):
    """Files the dense layers inside; every other variable is one of the `others`."""
    if _is_plain(operation):
        found[id(operation)] = operation
    elif isinstance(operation, keras.Sequential) or is_functional(operation):
        for layer in operation.layers:
            _search(layer, found, others)
    else:
        others |= {id(v) for v in getattr(operation, "trainable_variables", [])}


def _is_plain(operation):
    # Exactly Dense: a subclass may do anything with its weights.
    return (
        type(operation) is keras.layers.Dense
        and not isinstance(operation.activation, keras.layers.Layer)
        and not operation.lora_enabled
    )


@contextlib.contextmanager
def _calling(layers, function):
    """Within it, the layers' `call(features)` is `function(layer, call, features)`."""
    layers = list({id(layer): layer for layer in layers}.values())
    for layer in layers:
        layer.call = _bound(function, layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _bound(function, layer, call):
    return lambda features, *_, **__: function(layer, call, features)


def _with_rows(tensor, rows):
    shape = (rows, *tensor.shape[1:])
    return keras.KerasTensor(shape, tensor.dtype, sparse=tensor.sparse, name=tensor.name)


def _flat(tensor):
    return ops.cast(ops.reshape(tensor, (-1, tensor.shape[-1])), "float32")
