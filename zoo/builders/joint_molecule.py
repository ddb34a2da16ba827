"""Joint molecule: properties of molecules from their atoms, one network of pairwise distances."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.checks import checked_between, checked_choice, checked_count
from mtl_keras.layers import ContinuousFilterConvolution, RadialBasis, SequencePooling
from zoo.builders.draft import Draft, ModelOptions


def joint_molecule(
    tasks: Sequence[Task],
    inputs: Any = None,
    *,
    numbers: str = "numbers",
    positions: str = "positions",
    max_number: int = 118,
    units: int = 64,
    num_layers: int = 3,
    num_basis: int = 20,
    cutoff: float = 8.0,
    activation: Any = "silu",
    pooling: str = "sum",
    share: float = 1.0,
    name: str = "joint_molecule",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model of tasks about molecules, or other sets of points of several kinds.

    A vector for each kind of atom is refined layer by layer by what the other atoms are and how
    far away (SchNet, Schuett et al. 2017), then summed over the atoms for the heads. Nothing
    but distances is read of the positions: outputs do not change when the molecule is turned,
    moved, mirrored or padded, or its atoms are named in another order.

    A layer is `h_i + W2 a(W1 conv(W0 h)_i + b1) + b2`, with `conv` as in
    `mtl_keras.layers.ContinuousFilterConvolution`; before the sum, each atom passes `a(W h_i + b)`.

    Args:
        tasks: the tasks, each with one label a molecule.
        inputs: how many atoms a molecule has at most, `None` for any number; or a dict of the
            two features, of which the shapes are used, or of two Keras inputs.
        numbers: name of the input of atomic numbers, (batch, atoms), 0 where there is no atom.
        positions: name of the input of positions, (batch, atoms, 3).
        max_number: the largest atomic number.
        units: width of an atom's vector.
        num_layers: how many times atoms read from each other.
        num_basis: radial functions, see `mtl_keras.layers.RadialBasis`.
        cutoff: how far an atom reads, in the unit of the positions.
        activation: a.
        pooling: "sum", for what grows with the molecule, such as energies, or "mean" or
            "attention", see `mtl_keras.layers.SequencePooling`.
        share: how much of the depth is shared, the vectors of the kinds being the first layer: 0
            gives separate networks, 1 all but the heads; between, each task has the upper layers
            for itself.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: for inputs of other names or shapes, tasks that label positions, an unknown
            pooling, counts below 1, and as `zoo.shared_trunk`.

    Example:

    >>> import mtl_keras as mtl
    >>> model = joint_molecule([mtl.RegressionTask("energy"), mtl.RegressionTask("gap")], units=8)
    >>> water = {"numbers": np.array([[8, 1, 1]]), "positions": np.ones((1, 3, 3))}
    >>> {task: value.shape for task, value in model.predict(water, verbose=0).items()}
    {'energy': (1, 1), 'gap': (1, 1)}
    """
    checked_choice(pooling, "pooling", ("sum", "mean", "attention"))
    inputs = _atoms(inputs, numbers, positions)
    draft = Draft(tasks, inputs, name, as_vector=False, **options)
    _check_tasks(draft.tasks)
    basis = RadialBasis(num_basis, cutoff, name="radial_basis")(inputs[positions])
    kinds = checked_count(max_number, "max_number") + 1
    steps = [partial(_vectors, kinds=kinds, units=checked_count(units, "units"))]
    for i in range(checked_count(num_layers, "num_layers")):
        steps.append(partial(_layer, basis=basis, activation=activation, name=f"layer_{i}"))
    steps.append(partial(_molecule, activation=activation, pooling=pooling))
    count = int(checked_between(share, "share", 0, 1) * len(steps) + 0.5)
    shared = _taken(steps[:count], inputs[numbers], "")
    return draft.model({own: _taken(steps[count:], shared, f"{own}_") for own in draft.names})


def _atoms(inputs, numbers, positions):
    """The two Keras inputs by name."""
    if inputs is None or isinstance(inputs, int):
        inputs = {numbers: (inputs,), positions: (inputs, 3)}
    if not isinstance(inputs, Mapping) or set(inputs) != {numbers, positions}:
        raise ValueError(
            f"`inputs` must be a number of atoms, or a dict of '{numbers}' and '{positions}'. "
            f"Received: inputs={inputs!r}"
        )
    shapes = {name: _shape(value) for name, value in inputs.items()}
    if len(shapes[numbers]) != 1 or shapes[positions] != (*shapes[numbers], 3):
        raise ValueError(
            f"`inputs` must have shapes (atoms,) for '{numbers}' and (atoms, 3) for "
            f"'{positions}'. Received: shapes {shapes}"
        )
    dtypes = {numbers: "int32", positions: "float32"}
    new = {name: keras.Input(shapes[name], dtype=dtypes[name], name=name) for name in inputs}
    given = {name: own for name, own in inputs.items() if isinstance(own, keras.KerasTensor)}
    return new | given


def _shape(value):
    if isinstance(value, keras.KerasTensor):
        return tuple(value.shape[1:])
    return tuple(getattr(value, "shape", value))


def _check_tasks(tasks):
    labelled = [task.name for task in tasks if task.per_position]
    if labelled:
        raise ValueError(
            f"`tasks` must have one label a molecule, not one a position. Received: {labelled}"
        )


def _taken(steps, features, prefix):
    for step in steps:
        features = step(features, prefix)
    return features


def _vectors(numbers, prefix, *, kinds, units):
    layer = keras.layers.Embedding(kinds, units, mask_zero=True, name=f"{prefix}vectors")
    return layer(numbers)


def _layer(atoms, prefix, *, basis, activation, name):
    """What the atoms are after they have read from each other."""
    units = atoms.shape[-1]
    own = f"{prefix}{name}"
    heard = keras.layers.Dense(units, use_bias=False, name=f"{own}_spoken")(atoms)
    heard = ContinuousFilterConvolution(name=f"{own}_convolution")(heard, basis)
    heard = keras.layers.Dense(units, activation=activation, name=f"{own}_hidden")(heard)
    heard = keras.layers.Dense(units, name=f"{own}_update")(heard)
    return keras.layers.Add(name=own)([atoms, heard])


def _molecule(atoms, prefix, *, activation, pooling):
    units = atoms.shape[-1]
    atoms = keras.layers.Dense(units, activation=activation, name=f"{prefix}atom")(atoms)
    return SequencePooling(pooling, name=f"{prefix}molecule")(atoms)
