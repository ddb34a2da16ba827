"""Task attention: one network, whose features every task masks for itself."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.layers import TaskAttention
from zoo.builders.backbone import Backbone
from zoo.builders.draft import Draft, ModelOptions


def task_attention(
    tasks: Sequence[Task],
    inputs: Any,
    trunk: Sequence[int] | keras.layers.Layer = (128, 64),
    *,
    units: int | None = None,
    batch_normalization: bool = True,
    share: float = 0.0,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "task_attention",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model of one trunk, with soft masks a task over what each block gives.

    a_k = sigmoid(BN(W2_k relu(BN(W1_k [p; b_k])))) * p (MTAN: Liu, Johns, Davison 2019,
    "End-to-End Multi-Task Learning with Attention", equations 1 and 2), where p is what a block
    of the trunk gives and b_k what task k attended to before. A head reads its task's a_k of the
    last block. The trunk is one for all tasks, so that a task costs two 1 x 1 convolutions a
    block; `zoo.cross_stitch` and its like have a whole tower a task.

    From one block to the next, the paper takes a_k to b_k by a convolution and pooling that all
    tasks share. Here this is a copy of the trunk's next block ("link_<i>"), so that b_k has the
    positions of p whatever the block does. Two blocks thus have about twice the parameters of
    the trunk's upper one. The paper's first mask reads the first layer within a block, here it
    is the last one, p, too.

    Args:
        tasks: the tasks.
        inputs: as in `zoo.shared_trunk`.
        trunk: widths of dense layers, or any Keras layer or model. A `keras.Sequential` is
            attended to after each of its blocks (a layer with the pooling, normalisation and
            dropout that follow), anything else once, at its output, which must be one tensor.
            Where it keeps positions, heads may label them.
        units: width between W1 and W2; default the channels of p.
        batch_normalization: whether both maps are normalised, as in the paper; otherwise they
            have biases.
        share: how much of the trunk's depth, from the input on, has no attention: 0 attends to
            every block, 1 to none, which gives `zoo.shared_trunk`.
        activation: of the dense layers.
        dropout: rate after each of the dense layers.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: as `zoo.shared_trunk`; for bad `units`, and blocks that do not give one
            tensor.

    Example:

    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> model = task_attention(tasks, 4, trunk=[8, 8])
    >>> [layer.name for layer in model.layers][1:-2]
    ['trunk_0', 'attention_0', 'trunk_1', 'link_1', 'attention_1']
    """
    backbone = Backbone(trunk, activation, dropout)
    count = backbone.num_shared(share)
    draft = Draft(tasks, inputs, name, as_vector=backbone.reads_vectors, **options)
    first = backbone.first(count, "trunk")
    features = first(draft.encoded) if first else draft.encoded
    attended = None
    for i in range(count, backbone.depth):
        features = backbone.one_tensor(backbone.part(f"trunk_{i}", i, i + 1)(features))
        if attended is not None:
            link = backbone.copy(f"link_{i}", 0, i, i + 1)
            attended = tuple(link(a) for a in attended)
        attention = TaskAttention(
            len(draft.tasks), units, batch_normalization, name=f"attention_{i}"
        )
        attended = attention(features, attended)
    attended = (features,) * len(draft.tasks) if attended is None else attended
    return draft.model(dict(zip(draft.names, attended, strict=True)))
