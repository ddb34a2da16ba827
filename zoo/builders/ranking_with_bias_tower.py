"""Experts with a gate a task, beside a shallow tower for the bias in what was shown."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.checks import checked_rate
from mtl_keras.layers import Gate, MultiGateMixtureOfExperts
from zoo.builders.backbone import Backbone
from zoo.builders.draft import ModelOptions
from zoo.builders.inputs import encode_optional
from zoo.builders.mixture import MixtureDraft


def ranking_with_bias_tower(
    tasks: Sequence[Task],
    inputs: Mapping[str, Any],
    bias_inputs: Sequence[str],
    experts: int = 8,
    expert_units: Sequence[int] | keras.layers.Layer = (64,),
    *,
    bias_tasks: Sequence[str] | None = None,
    bias_tower: Sequence[int] | keras.layers.Layer | None = (16,),
    bias_dropout: float = 0.1,
    trunk: Sequence[int] | keras.layers.Layer | None = None,
    towers: Sequence[int] | keras.layers.Layer | None = (32,),
    gate: Gate | None = None,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "ranking_with_bias_tower",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model that tells what a user likes from what the page put before them.

    y_k = activation(z_k(x) + b_k(position, device, ...)): the logits z_k are those of
    `zoo.multi_gate_mixture_of_experts` and do not see the bias inputs, of which a shallow tower
    makes logits b_k (Zhao et al. 2019, "Recommending What Video to Watch Next", section 4.3).
    The items that users were shown first they clicked on more; what that explains, z_k need not.

    To rank, leave the bias inputs unknown: NaN for numbers, -1 for ids, "" for strings (any value
    that is not in the vocabulary is unknown). b_k is then one number for all rows, and the order
    that of z_k. A learned vector stands for an unknown input; as it is trained on the rows that
    `bias_dropout` hides, serving without position is no surprise to the model.

    Args:
        tasks: the tasks. Tasks that label positions need a trunk or experts that keep them.
        inputs: dict from name to kind or `zoo.features` object, with the bias inputs; the others
            may be Keras inputs, all of them.
        bias_inputs: names of the inputs that only the shallow tower reads, numeric or
            categorical.
        experts: number of experts, as in `zoo.multi_gate_mixture_of_experts`.
        expert_units: widths of an expert, or a layer to copy.
        bias_tasks: names of the tasks whose logits the tower adds to; default all. Tasks that
            users perform before they see the item, such as a click, are biased by its place;
            for others it may help less.
        bias_tower: widths of the shallow tower, or any Keras layer; None for logits that are
            linear in the bias inputs.
        bias_dropout: share of training rows in which a bias input is taken for unknown.
        trunk: what comes before experts and gates; default none.
        towers: widths of each task's layers after its mixture, or a layer to copy; or None.
        gate: pattern of the gates; default `SoftmaxGate()`. The paper has dropout there,
            `SoftmaxGate(dropout=0.1)`.
        activation: of all dense layers.
        dropout: rate after each of them.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`; heads of bias tasks must be widths, as their
            logits are added to.

    Raises:
        ValueError: as `zoo.multi_gate_mixture_of_experts`; for bias inputs that are not among the
            inputs, or all of them; unknown bias tasks, and such with a layer as head.

    Example:

    >>> inputs = {"age": Numeric(mean=40.0, variance=100.0)}
    >>> inputs["position"] = Categorical(num_categories=5)
    >>> model = ranking_with_bias_tower([BinaryTask("clicked")], inputs, ["position"])
    >>> rows = {"age": np.array([20.0, 60.0]), "position": np.array([-1, -1])}
    >>> model.predict(rows, verbose=0)["clicked"].shape
    (2, 1)
    """
    main, bias = _split(inputs, bias_inputs)
    bias_dropout = checked_rate(bias_dropout, "bias_dropout")
    shallow = Backbone(bias_tower, activation, dropout, "bias_tower", optional=True)
    draft = MixtureDraft(
        tasks, main, name, trunk, expert_units, towers, activation, dropout, **options
    )
    biased = _checked_names(bias_tasks, draft.names)
    mixture = MultiGateMixtureOfExperts(
        len(draft.names), draft.bank(experts), gate, task_names=draft.names, name="experts"
    )
    features = draft.towers_on(mixture(draft.features))
    raw, encoded = encode_optional(bias, options.get("adapt"), bias_dropout, "bias_preprocessing")
    draft.inputs |= raw
    tower = shallow.first(shallow.depth, "bias_tower")
    seen = tower(encoded) if tower else encoded
    logits = draft.heads({task: features.pop(task) for task in biased}, logits=True)
    outputs = draft.heads(features)
    dtype = keras.config.floatx()
    for task in draft.tasks:
        if task.name in logits:
            # Without an intercept, which the task's own logits have.
            own = keras.layers.Dense(
                task.units, use_bias=False, name=f"{task.name}_bias", dtype=dtype
            )
            both = keras.layers.Add(name=f"{task.name}_with_bias", dtype=dtype)
            outputs[task.name] = task.build_activation()(both((logits[task.name], own(seen))))
    return draft.compiled(outputs)


def _split(inputs, bias_inputs):
    names = [bias_inputs] if isinstance(bias_inputs, str) else list(bias_inputs)
    known = list(inputs) if isinstance(inputs, Mapping) else []
    if not names or not set(names) < set(known):
        raise ValueError(
            "`bias_inputs` must name some of `inputs`, a dict, and not all. "
            f"Received: bias_inputs={bias_inputs!r}, inputs={known or inputs!r}"
        )
    main = {name: feature for name, feature in inputs.items() if name not in names}
    return main, {name: inputs[name] for name in names}


def _checked_names(bias_tasks, names):
    if bias_tasks is None:
        return names
    chosen = [bias_tasks] if isinstance(bias_tasks, str) else list(bias_tasks)
    if not set(chosen) <= set(names):
        raise ValueError(
            f"`bias_tasks` must be names of tasks, {names}. Received: bias_tasks={bias_tasks!r}"
        )
    return chosen
