"""Shared and private encoders: what tasks have in common, apart from what is their own."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.checks import checked_nonnegative
from mtl_keras.layers import OrthogonalityPenalty, TaskDiscriminator
from zoo.builders.backbone import Backbone
from zoo.builders.draft import Draft, ModelOptions


def shared_private(
    tasks: Sequence[Task],
    inputs: Any,
    trunk: Sequence[int] | keras.layers.Layer = (128, 64),
    *,
    orthogonality: float = 0.1,
    adversarial: float = 0.0,
    row_input: str | None = None,
    num_row_tasks: int | None = None,
    share: float = 0.0,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "shared_private",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model of one shared encoder, S, and a private one a task, H_k.

    Heads read [S; H_k] (Liu, Qiu, Huang 2017, "Adversarial Multi-task Learning for Text
    Classification"). Two losses keep the encoders to their roles while training:

    - orthogonality * sum_k ||S'H_k / n||_F^2: the private features are not to repeat the
      shared ones. n is the number of rows (of positions, for sequences and maps), by which
      the paper does not divide: its strengths are for another scale.
    - adversarial * cross-entropy of a classifier that tells from S whose a row is, and whose
      gradient reaches S reversed: the shared features are not to show the task. It needs tasks
      as rows. Outputs of the same rows have nothing to tell apart.

    The tasks are told apart in one of two ways:

    - Tasks as outputs: each has a private encoder, and all are predicted for each row.
    - Tasks as rows, with `row_input`, as in the paper: each row belongs to one of
      `num_row_tasks` (a domain, a language, a shop), which a further input of ids, (batch,),
      says. There is a private encoder for each, that is trained by its own rows; `tasks` are
      what is predicted for every row, often one, and their heads are the same for all rows. All
      encoders run on the whole batch, so a step costs num_row_tasks + 1 of them. A balancer
      weighs the losses of the rows' tasks: see `row_tasks` in `MultiTaskModel.compile`.

    The losses are no tasks: no balancer weighs them. They are part of `loss`, and appear without
    their strengths under log keys of their own: "<task>_orthogonality_loss", or with rows
    "orthogonality_loss", "discriminator_loss" and "discriminator_accuracy".

    Args:
        tasks: the tasks.
        inputs: as in `zoo.shared_trunk`.
        trunk: widths of the dense layers of each encoder; or any Keras layer or model that
            gives one tensor. It is the shared encoder; the private ones are copies, which start
            with the weights of a pretrained one, and where it keeps positions, heads may
            label them.
        orthogonality: strength of the first loss; 0 for none.
        adversarial: strength of the second loss; 0, the default, for none.
        row_input: name of the input of ids, where tasks are rows.
        num_row_tasks: how many tasks it tells apart; ids are 0 ... num_row_tasks - 1.
        share: how much of the depth, from the input on, all encoders have in common, such as
            the embedding of words in a `keras.Sequential`: 0 nothing, 1 all, which gives
            `zoo.shared_trunk`.
        activation: of the dense layers.
        dropout: rate after each of the dense layers.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: as `zoo.shared_trunk`; for negative strengths, `adversarial` without
            `row_input`, and `row_input` without `num_row_tasks`.

    Example:

    >>> model = shared_private(
    ...     [BinaryTask("positive")], 4, [8], adversarial=0.05, row_input="domain", num_row_tasks=3
    ... )
    >>> rows = {"features": np.ones((6, 4)), "domain": np.array([0, 1, 2, 0, 1, 2])}
    >>> history = model.fit(rows, {"positive": np.ones(6)}, verbose=0).history
    >>> [key for key in sorted(history) if not key.startswith("positive")]
    ['discriminator_accuracy', 'discriminator_loss', 'loss', 'orthogonality_loss', 'score']
    """
    orthogonality = checked_nonnegative(orthogonality, "orthogonality")
    adversarial = checked_nonnegative(adversarial, "adversarial")
    if adversarial and row_input is None:
        raise ValueError(
            "`adversarial` needs `row_input`, an input that says whose a row is: outputs for the "
            f"same rows have nothing to tell apart. Received: adversarial={adversarial}"
        )
    backbone = Backbone(trunk, activation, dropout)
    count = backbone.num_shared(share)
    draft = Draft(tasks, inputs, name, as_vector=backbone.reads_vectors, **options)
    ids = draft.row_ids(row_input, num_row_tasks)
    first = backbone.first(count, "trunk")
    common = first(draft.encoded) if first else draft.encoded
    encoder = backbone.part("shared_encoder", count)
    shared = encoder(common) if encoder else common
    if adversarial:
        discriminator = TaskDiscriminator(num_row_tasks, adversarial, name="discriminator")
        shared = discriminator(backbone.one_tensor(shared), ids)
    if encoder is None:
        return draft.model(dict.fromkeys(draft.names, shared))
    shared = backbone.one_tensor(shared)
    if ids is not None:
        private = backbone.gate(row_input, num_row_tasks, count)(common, ids)
        if orthogonality:
            penalty = OrthogonalityPenalty(orthogonality, num_row_tasks, name="orthogonality")
            private = penalty(private, shared, ids)
        features = keras.layers.Concatenate(name="shared_and_private")([shared, private])
        return draft.model(dict.fromkeys(draft.names, features))
    found = {}
    for task, private in backbone.towers(draft.names, common, count).items():
        if orthogonality:
            penalty = OrthogonalityPenalty(orthogonality, name=f"{task}_orthogonality")
            private = penalty(private, shared)
        concatenate = keras.layers.Concatenate(name=f"{task}_features")
        found[task] = concatenate([shared, private])
    return draft.model(found)
