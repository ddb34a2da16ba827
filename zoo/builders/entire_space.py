"""A funnel of stages, of which the later ones are trained on all rows (ESMM)."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.layers import ChainedProbability
from mtl_keras.tasks import checked_tasks
from zoo.builders.backbone import Backbone
from zoo.builders.draft import Draft, ModelOptions


def entire_space(
    tasks: Sequence[Task],
    inputs: Any,
    trunk: Sequence[int] | keras.layers.Layer | None = (64,),
    *,
    towers: Sequence[int] | keras.layers.Layer | None = (64, 32),
    funnel: Sequence[str] | None = None,
    products: str | Sequence[str] | None = None,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "entire_space",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model of stages that a row passes one after the other, such as click, conversion.

    P(click and conversion) = P(click) P(conversion | click) (ESMM; Ma et al. 2018, "Entire Space
    Multi-Task Model", equations 1 to 3). Conversions are known of clicked rows alone, which are
    not the rows that are scored later. So the conversion tower is not trained on them: it is
    trained on all rows, through the product, beside the clicks.

    The product is one more task of the model, the last one of the funnel's, and each stage after
    the first has one: the probability of having passed all stages up to it. It takes loss,
    metrics, and weight from the stage, and the stage's own loss weight becomes 0, unless
    `loss_weights` names it. Labels of a stage are missing (NaN) in rows that did not pass the one
    before it, where its output is reported and not trained; labels of products are known, and 0
    there.

    Args:
        tasks: the tasks, those of the funnel in order. One stage alone is a plain task.
        inputs: as in `zoo.shared_trunk`.
        trunk: what all towers read: widths, any Keras layer or model, or None. In the paper it
            is one embedding of the features, which a first dense layer on one-hot features is.
        towers: widths of each task's own layers, or a layer that is copied for each task; None
            for heads alone.
        funnel: names of the tasks that are stages, binary ones; default all tasks. The others
            have a tower and a head, and share the trunk.
        products: name of the product, or one name for each stage after the first; default the
            names of its stages: "click_and_conversion".
        activation: of all dense layers.
        dropout: rate after each of them.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`; heads of stages must be widths, as the product
            is made of their logits.

    Raises:
        ValueError: as `zoo.shared_trunk`; for stages that are unknown or not binary, that have a
            layer as head, and another number of products.

    Example:

    >>> model = entire_space([BinaryTask("click"), BinaryTask("conversion")], 4)
    >>> p = model.predict(np.ones((1, 4)), verbose=0)
    >>> bool(np.allclose(p["click_and_conversion"], p["click"] * p["conversion"]))
    True
    >>> model.loss_weights
    {'click': 1.0, 'conversion': 0.0, 'click_and_conversion': 1.0}
    """
    tasks = checked_tasks(tasks)
    stages = _stages(tasks, funnel)
    of_funnel = [stage.name for stage in stages]
    products = _product_tasks(stages, products)
    weights = dict.fromkeys(of_funnel[1:], 0.0) | dict(options.pop("loss_weights", None) or {})
    backbone = Backbone(trunk, activation, dropout, optional=True)
    own = Backbone(towers, activation, dropout, "towers", optional=True)
    as_vector = backbone.reads_vectors if backbone.depth else own.reads_vectors
    others = [task for task in tasks if task.name not in of_funnel]
    draft = Draft(
        [*stages, *products, *others], inputs, name, as_vector, loss_weights=weights, **options
    )
    first = backbone.first(backbone.depth, "trunk")
    features = own.towers(
        [task.name for task in tasks], first(draft.encoded) if first else draft.encoded
    )
    logits = draft.heads({stage: features.pop(stage) for stage in of_funnel}, logits=True)
    outputs = draft.heads(features)
    outputs |= {stage.name: stage.build_activation()(logits[stage.name]) for stage in stages}
    for passed, product in enumerate(products, 2):
        chain = ChainedProbability(name=product.name, dtype=keras.config.floatx())
        outputs[product.name] = chain(tuple(logits[stage] for stage in of_funnel[:passed]))
    return draft.compiled(outputs)


def _stages(tasks, funnel):
    by_name = {task.name: task for task in tasks}
    names = list(by_name) if funnel is None else list(funnel)
    if not names or len(set(names)) < len(names) or not set(names) <= set(by_name):
        raise ValueError(
            f"`funnel` must be one or more of the tasks {list(by_name)}, in order. "
            f"Received: funnel={funnel!r}"
        )
    stages = [by_name[name] for name in names]
    for stage in stages:
        if (stage.labels.kind, stage.units, stage.activation) != ("probability", 1, "sigmoid"):
            raise ValueError(
                "Stages must be binary tasks; name those that are with `funnel`. "
                f"Received: {stage} among funnel={funnel!r}"
            )
    return stages


def _product_tasks(stages, names):
    """For each stage after the first, the task of having passed all up to it."""
    if names is None:
        ordered = [stage.name for stage in stages]
        names = ["_and_".join(ordered[:passed]) for passed in range(2, len(stages) + 1)]
    names = [names] if isinstance(names, str) else list(names)
    if len(names) != len(stages) - 1:
        raise ValueError(
            f"`products` must be one name for each stage after the first, {len(stages) - 1}. "
            f"Received: products={names}"
        )
    return [
        type(stage).from_config(stage.get_config() | {"name": name})
        for stage, name in zip(stages[1:], names, strict=True)
    ]
