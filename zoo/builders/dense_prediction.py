"""Dense prediction: an encoder-decoder of convolutions with a head at every pixel."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.checks import checked_between, checked_widths
from zoo.builders.backbone import copied
from zoo.builders.draft import Draft, ModelOptions


def dense_prediction(
    tasks: Sequence[Task],
    inputs: Any,
    encoder: Sequence[int] | keras.Model = (16, 32, 64),
    *,
    decoder: Sequence[int] | None = None,
    share: float = 1.0,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "dense_prediction",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model of pixel tasks, such as segmentation, depth and surface normals.

    A small U-Net (Ronneberger et al. 2015): an encoder of levels at full, half, quarter, ...
    resolution, a decoder back up that reads the encoder's maps again, two convolutions of 3 x 3 a
    level, and heads that are one matrix for all pixels. Which of it tasks share is the question
    of Misra et al. (2016) and Liu et al. (2019). Tasks with one label a row read the mean of the
    encoder's coarsest map.

    Args:
        tasks: the tasks; those that label pixels have `positions=2`:
            `CategoricalTask("segmentation", 13, positions=2)`, labels (batch, height, width), -1
            where missing; `RegressionTask("depth", positions=2)`, NaN where missing;
            `DirectionTask("normals", positions=2)`, (batch, height, width, 3).
        inputs: a shape (height, width, channels), a dict of one `zoo.features.Image`, or a Keras
            input. 2^(levels - 1) must divide height and width, which may be `None`.
        encoder: channels of the levels, from full resolution down; or a Keras model whose outputs
            are feature maps of fixed sizes, each coarser than the one before by a whole number.
        decoder: channels of its levels, one fewer than the encoder has, from coarse to fine;
            default those of the encoder. From the finest map up to the image, outputs are
            repeated.
        share: how much of the depth, encoder and decoder, is shared: 0 gives separate networks, 1
            all but the heads; between, levels from the input on. A model as encoder counts as one
            level. With widths (16, 32, 64), 0.6 is the encoder.
        activation: of the convolutions.
        dropout: rate after each level.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: for inputs that are not one image, or of a size that levels cannot halve, a
            decoder of another length, feature maps whose sizes do not fit, a task of sequences,
            and as `zoo.shared_trunk`.

    Example:

    >>> segmentation = CategoricalTask("segmentation", 4, positions=2)
    >>> tasks = [segmentation, DirectionTask("normals", positions=2)]
    >>> model = dense_prediction(tasks, (16, 16, 3), [4, 8])
    >>> outputs = model.predict(np.zeros((1, 16, 16, 3)), verbose=0)
    >>> {task: value.shape for task, value in outputs.items()}
    {'segmentation': (1, 16, 16, 4), 'normals': (1, 16, 16, 3)}
    """
    draft = Draft(tasks, inputs, name, as_vector=False, **options)
    image = draft.encoded
    if not isinstance(image, keras.KerasTensor) or len(image.shape) != 4:
        raise ValueError(
            f"`inputs` must be one image, (height, width, channels). Received: inputs={inputs!r}"
        )
    levels = _Levels(encoder, decoder, activation, dropout)
    count = int(checked_between(share, "share", 0, 1) * levels.depth + 0.5)
    shared = levels.run((image,), 0, count)
    features = {}
    for index, task in enumerate(draft.tasks):
        # A task with one label a row has no use for a decoder.
        stop = levels.depth if task.per_position else levels.encoder_depth
        maps = levels.run(shared, count, stop, f"{task.name}_", index)
        if task.per_position:
            features[task.name] = levels.at_full_size(maps[-1], image, f"{task.name}_up")
        else:
            features[task.name] = maps[levels.num_maps]
    return draft.model(features)


class _Levels:
    """The levels in order; a state is the image, then each map that a level has made."""

    def __init__(self, encoder, decoder, activation, dropout):
        self.activation, self.dropout = activation, dropout
        self.given = encoder if isinstance(encoder, keras.layers.Layer) else None
        if self.given is None:
            self.widths = checked_widths(encoder, "encoder")
        else:
            maps = self.given.outputs if isinstance(self.given, keras.Model) else ()
            if not maps or any(len(x.shape) != 4 for x in maps):
                raise ValueError(
                    "`encoder` must be widths, or a Keras model whose outputs are feature maps "
                    f"(batch, height, width, channels). Received: encoder={encoder!r}"
                )
            self.widths = [x.shape[-1] for x in maps]
        self.num_maps = len(self.widths)
        self.encoder_depth = 1 if self.given else self.num_maps
        self.decoder = self.widths[-2::-1]
        if decoder is not None:
            self.decoder = checked_widths(decoder, "decoder") if decoder else ()
        if len(self.decoder) != self.num_maps - 1:
            raise ValueError(
                f"`decoder` must have {self.num_maps - 1} widths, one fewer than the encoder. "
                f"Received: decoder={decoder}"
            )
        self.depth = self.encoder_depth + self.num_maps - 1

    def run(self, maps, start, stop, prefix="", index=None):
        """`maps` and those of the levels from `start` to `stop`."""
        for level in range(start, stop):
            if level >= self.encoder_depth:
                maps = (*maps, self._up(maps, level - self.encoder_depth, prefix))
            elif self.given is None:
                maps = (*maps, self._down(maps[-1], level, prefix))
            else:
                copy = index is not None
                encoder = copied(self.given, index, f"{prefix}encoder") if copy else self.given
                maps = (*maps, *keras.tree.flatten(encoder(maps[-1])))
        return maps

    def at_full_size(self, x, image, name):
        """`x` at the resolution of `image`, where the levels of widths end."""
        return x if self.given is None else _resized(x, image, name)

    def _down(self, x, level, prefix):
        if level:
            if any(size is not None and size % 2 for size in x.shape[1:3]):
                raise ValueError(
                    f"`inputs` must have a height and a width that {2 ** (self.num_maps - 1)} "
                    f"divides. Received: a map of shape {tuple(x.shape)} to halve"
                )
            x = keras.layers.MaxPooling2D(name=f"{prefix}encoder_{level}_pool")(x)
        return self._convolutions(self.widths[level], f"{prefix}encoder_{level}")(x)

    def _up(self, maps, level, prefix):
        name = f"{prefix}decoder_{level}"
        skip = maps[self.num_maps - 1 - level]
        if self.given is None:
            x = keras.layers.UpSampling2D(name=f"{name}_up")(maps[-1])
        else:
            x = _resized(maps[-1], skip, f"{name}_up")
        x = keras.layers.Concatenate(name=f"{name}_skip")([x, skip])
        return self._convolutions(self.decoder[level], name)(x)

    def _convolutions(self, width, name):
        layers = [
            keras.layers.Conv2D(
                width, 3, padding="same", activation=self.activation, name=f"convolution_{i}"
            )
            for i in range(2)
        ]
        if self.dropout:
            layers.append(keras.layers.Dropout(self.dropout, name="dropout"))
        return keras.Sequential(layers, name=name)


def _resized(x, like, name):
    """`x` with pixels repeated to the size of `like`."""
    pairs = list(zip(like.shape[1:3], x.shape[1:3], strict=True))
    if any(None in pair or pair[0] % pair[1] for pair in pairs):
        raise ValueError(
            "A model as `encoder` must give maps of fixed sizes, each a multiple of the next. "
            f"Received: shapes {tuple(like.shape)} and {tuple(x.shape)}"
        )
    ratios = tuple(wanted // size for wanted, size in pairs)
    return x if ratios == (1, 1) else keras.layers.UpSampling2D(ratios, name=name)(x)
