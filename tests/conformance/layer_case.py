"""One layer under test: how it is made, called, named and compared."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

# The same float32 operations in another order: XLA fuses, a graph folds constants.
SAME_MATHS = {"rtol": 1e-5, "atol": 1e-6}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LayerCase:
    """A layer, its arguments, inputs to call it on, and what it promises.

    Args:
        layer_class: The class. Instances are made as `layer_class(**config)`.
        config: Constructor arguments. Layers among them are copied for each instance.
        inputs: One entry a positional call argument: an array, or a tuple or dict of
            arrays, all with the batch (at least 2 rows) as first axis.
        expected: `expected(weights, *inputs)`: the paper's equation in NumPy, in
            inference. `weights` maps the path below the layer ("kernel",
            "hidden/kernel") to an array; floats come as float64.
        masks: One boolean entry a call argument, `None` for an argument without a
            mask. Given, values at masked positions must not reach unmasked outputs.
        training_differs: Whether `training=True` changes the outputs.
        batch_invariant: Whether a row's output is independent of the other rows.
        dead_gradients: Weight paths and inputs ("float input 1", counted over the arrays)
            whose gradient may be zero.
        fixed_weights: Weights that look random and are the same in every instance.
        rtol, atol: Tolerances of the comparison with `expected`. The default is some
            ten rounding errors of float32, for sums of up to about a hundred terms.
        exempt: Points of the suite that cannot hold for this layer, each with a reason.
        name: What errors and test ids call the layer; the class name by default.
    """

    layer_class: type
    config: Mapping[str, Any]
    inputs: tuple
    expected: Callable
    masks: tuple | None = None
    training_differs: bool = False
    batch_invariant: bool = True
    dead_gradients: tuple = ()
    fixed_weights: tuple = ()
    rtol: float = 1e-5
    atol: float = 1e-5
    exempt: Mapping[str, str] = dataclasses.field(default_factory=dict)
    name: str = ""

    def __post_init__(self):
        object.__setattr__(self, "name", self.name or self.layer_class.__name__)

    def new_layer(self, **extra):
        # A layer object in the config would otherwise share its weights between instances.
        config = tree.map_structure(_copy_if_layer, dict(self.config))
        return self.layer_class(**config, **extra)

    def called_layer(self, **extra):
        layer = self.new_layer(**extra)
        layer(*self.inputs)
        return layer

    def rows(self, indices):
        return tree.map_structure(lambda array: array[np.asarray(indices)], self.inputs)

    @property
    def batch_size(self):
        return len(tree.flatten(self.inputs)[0])


def _copy_if_layer(value):
    if not isinstance(value, keras.layers.Layer):
        return value
    return value.__class__.from_config(value.get_config())


def symbolic_inputs(case):
    """The case's inputs as placeholders with a `None` batch."""
    return tree.map_structure(
        lambda array: keras.KerasTensor((None, *array.shape[1:]), dtype=str(array.dtype)),
        case.inputs,
    )


def call_with_shapes(layer, method, case):
    """Call `build` or `compute_output_shape` as Keras does: by name, or with the first shape."""
    shapes = tree.map_structure(lambda array: (None, *array.shape[1:]), case.inputs)
    wanted = inspect.signature(method).parameters
    if len(wanted) == 1:
        return method(shapes[0])
    arguments = list(inspect.signature(layer.call).parameters)[: len(shapes)]
    named = {f"{argument}_shape": shape for argument, shape in zip(arguments, shapes, strict=True)}
    return method(**{name: named[name] for name in wanted if name in named})


def functional_model(case, layer, float_outputs_only=False):
    """A model of this one layer; dicts, because lists break the fit step on TensorFlow."""
    names = iter(input_names(case))
    inputs = tree.map_structure(
        lambda array: keras.Input(array.shape[1:], dtype=str(array.dtype), name=next(names)),
        case.inputs,
    )
    outputs = tree.flatten(layer(*inputs))
    if float_outputs_only:
        outputs = [output for output in outputs if is_float(output)]
    return keras.Model(
        {tensor.name: tensor for tensor in tree.flatten(inputs)},
        {f"output_{index}": output for index, output in enumerate(outputs)},
    )


def input_names(case):
    return [f"input_{index}" for index in range(len(tree.flatten(case.inputs)))]


def model_inputs(case, inputs=None):
    flat = tree.flatten(case.inputs if inputs is None else inputs)
    return dict(zip(input_names(case), flat, strict=True))


def is_float(tensor):
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def is_float_array(array):
    return np.issubdtype(np.asarray(array).dtype, np.floating)


def arrays(outputs):
    return tree.map_structure(ops.convert_to_numpy, outputs)


def relative_path(layer, weight):
    return weight.path.removeprefix(f"{layer.name}/")


def named_weights(layer):
    """The layer's weights as arrays, by their path below the layer."""
    return {relative_path(layer, w): ops.convert_to_numpy(w) for w in layer.weights}


def randomise(layer):
    """Move every trainable weight off its initial value.

    A zero start would hide a weight that is not saved, and stop the gradient of the
    weights behind it.
    """
    rng = np.random.default_rng(7)
    for weight in layer.trainable_weights:
        weight.assign(ops.convert_to_numpy(weight) + rng.uniform(-0.1, 0.1, weight.shape))


def sublayers(layer):
    # Keras has no public way to walk the sublayers of a layer that is not a model.
    return list(layer._flatten_layers(include_self=False))


def assert_same(got, want, what, rtol=SAME_MATHS["rtol"], atol=SAME_MATHS["atol"]):
    """Equal structure, shapes and values; the message says where and by how much not."""
    got, want = arrays(got), tree.map_structure(np.asarray, want)
    got_structure, want_structure = (tree.map_structure(lambda _: 0, t) for t in (got, want))
    assert got_structure == want_structure, (
        f"{what}: structure {got_structure} is not {want_structure}"
    )
    for index, (a, b) in enumerate(zip(tree.flatten(got), tree.flatten(want), strict=True)):
        assert a.shape == b.shape, f"{what}: shape {a.shape} of output {index} is not {b.shape}"
        if not np.allclose(a, b, rtol=rtol, atol=atol):
            gap = np.max(np.abs(a.astype("float64") - b.astype("float64")))
            raise AssertionError(f"{what}: output {index} differs by up to {gap:.3g}")


def all_finite(tensors):
    # NumPy's isfinite does not know bfloat16.
    return all(
        np.isfinite(ops.convert_to_numpy(ops.cast(tensor, "float32"))).all()
        for tensor in tree.flatten(tensors)
        if is_float(tensor)
    )
