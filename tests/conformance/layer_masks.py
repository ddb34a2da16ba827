"""The masks point of the layer suite."""

import keras
import numpy as np
from keras import ops, tree

from conformance.layer_case import arrays, assert_same, is_float_array, randomise, symbolic_inputs


def check_masks(case):
    """A Keras mask is accepted, and what it hides stays hidden."""
    layer = case.called_layer()
    randomise(layer)
    assert layer.supports_masking, "supports_masking is False, so the layer destroys masks"
    masks = case.masks or (_usual_mask(case.inputs[0]), *[None] * (len(case.inputs) - 1))
    masks = tuple(map(_one_a_leaf, case.inputs, masks))
    everything = tree.map_structure(lambda m: m if m is None else np.ones_like(m), masks)
    plain = arrays(layer(*case.inputs))
    assert_same(_call_masked(layer, case.inputs, everything)[0], plain, "under an all-true mask")
    _call_masked(case.new_layer(), symbolic_inputs(case), _symbolic_masks(everything))
    if case.masks:
        _assert_masked_positions_are_ignored(layer, case.inputs, masks)


def _one_a_leaf(argument, mask):
    return tree.map_structure(lambda _: None, argument) if mask is None else mask


def _usual_mask(argument):
    """As `keras.layers.Masking` makes it: a feature vector is masked as one."""
    return tree.map_structure(
        lambda a: np.ones(a.shape[:-1] if is_float_array(a) and a.ndim > 1 else a.shape, bool),
        argument,
    )


def _symbolic_masks(masks):
    return tree.map_structure(
        lambda m: m if m is None else keras.KerasTensor((None, *m.shape[1:]), dtype="bool"), masks
    )


def _call_masked(layer, inputs, masks):
    """Returns the outputs, and a flat list with the mask of each."""
    masked = tree.map_structure(
        lambda tensor, mask: tensor if mask is None else AttachMask()((tensor, mask)), inputs, masks
    )
    outputs = layer(*masked)
    probes = [ReadMask() for _ in tree.flatten(outputs)]
    for probe, output in zip(probes, tree.flatten(outputs), strict=True):
        probe(output)
    return outputs, [probe.mask for probe in probes]


def _assert_masked_positions_are_ignored(layer, inputs, masks):
    garbage = tree.map_structure(_with_garbage, inputs, masks)
    clean, kept = _call_masked(layer, inputs, masks)
    dirty, _ = _call_masked(layer, garbage, masks)
    for a, b, mask in zip(tree.flatten(clean), tree.flatten(dirty), kept, strict=True):
        a, b = arrays(a), arrays(b)
        # An output without a mask claims that all of it is valid.
        where = ... if mask is None else arrays(mask).astype(bool)
        assert_same(b[where], a[where], "garbage at masked positions reaches the output")


def _with_garbage(array, mask):
    if mask is None or not is_float_array(array):
        return array
    # Large enough to show through any weight, small enough to stay finite when squared.
    garbage = np.random.default_rng(5).choice([-1e4, 1e4], array.shape).astype(array.dtype)
    return np.where(mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim)), array, garbage)


class AttachMask(keras.layers.Layer):
    """Takes (tensor, mask), gives the tensor that Keras mask; `Masking` would zero it."""

    def __init__(self):
        super().__init__(autocast=False)
        self.supports_masking = True

    def call(self, inputs):
        # A new tensor: the mask would outlive the check on the tensor itself.
        return ops.where(True, inputs[0], inputs[0])

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs[0].shape, dtype=inputs[0].dtype)

    def compute_mask(self, inputs, previous_mask):
        return inputs[1]


class ReadMask(keras.layers.Layer):
    """Keeps the Keras mask that its input carries."""

    def __init__(self):
        super().__init__(autocast=False)
        self.supports_masking = True
        self.mask = None

    def call(self, inputs, mask=None):
        self.mask = mask
        return inputs
