"""What lies between inputs and heads: whole, cut in two at a depth, or once a task."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from mtl_keras.checks import checked_between, checked_widths
from mtl_keras.layers import TaskGate
from mtl_keras.layers.copies import independent_layer

# What belongs to the layer before it, and begins no block.
_FOLLOWERS = (
    keras.layers.Activation,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.LayerNormalization,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
    keras.layers.Reshape,
)


class Backbone:
    """Blocks of layers, of which a builder shares the first ones and copies the rest.

    Args:
        layers: widths of dense layers, or any Keras layer or model. The layers of a
            `keras.Sequential` are blocks that can be cut apart; anything else is one block.
        activation: of the dense layers.
        dropout: rate after each of the dense layers.
        argument: what `layers` is called, for errors.
        optional: whether `layers` may be None, for none.

    Raises:
        ValueError: for bad widths.
    """

    def __init__(
        self,
        layers: Sequence[int] | keras.layers.Layer | None,
        activation: Any = "relu",
        dropout: float = 0.0,
        argument: str = "trunk",
        optional: bool = False,
    ):
        self.given = layers if isinstance(layers, keras.layers.Layer) else None
        self.widths = None
        if self.given is None:
            none = layers is None and optional
            self.widths = () if none else checked_widths(layers, argument)
        self.activation, self.dropout = activation, dropout
        self.argument = argument

    @property
    def reads_vectors(self) -> bool:
        """Whether it takes (batch, width) alone."""
        return self.given is None

    @property
    def depth(self) -> int:
        """How many blocks there are."""
        return len(self._given_blocks() if self.widths is None else self.widths)

    def num_shared(self, share: float) -> int:
        """How many blocks are shared at `share`, from 0, none, to 1, all of them.

        Raises:
            ValueError: for a share outside 0 to 1, or one between for a single block.
        """
        share = checked_between(share, "share", 0, 1)
        if share not in (0, 1) and self.depth == 1:
            raise ValueError(
                f"`share` must be 0 or 1 where `{self.argument}` has one block: give widths or a "
                f"keras.Sequential to cut it. Received: share={share}"
            )
        return int(share * self.depth + 0.5)

    def first(self, count: int, name: str) -> keras.layers.Layer | None:
        """The first `count` blocks as one layer; a backbone that was given is used itself."""
        return self.part(name, 0, count)

    def part(self, name: str, start: int = 0, stop: int | None = None) -> keras.layers.Layer | None:
        """The blocks from `start` to `stop` as one layer, the given ones themselves; None without.

        Args:
            name: of the layer; a backbone that is given and not cut keeps its own.
            start: the first block.
            stop: the block after the last one; default all.
        """
        stop = self.depth if stop is None else stop
        if start >= stop:
            return None
        if self.widths:
            return keras.Sequential(self._dense(range(start, stop), name), name=name)
        if (start, stop) == (0, self.depth):
            return self.given
        return keras.Sequential(self._given_layers(start, stop), name=name)

    def copy(
        self, name: str, index: int, start: int = 0, stop: int | None = None
    ) -> keras.layers.Layer | None:
        """A copy of the blocks from `start` to `stop`, with draws of its own; None without any.

        Weights of layers that are built, such as pretrained ones, are copied too.

        Args:
            name: of the copy.
            index: which copy it is; seeds in the arguments of layers are derived from it.
            start: the first block.
            stop: the block after the last one; default all.
        """
        stop = self.depth if stop is None else stop
        if start >= stop:
            return None
        if self.widths:
            return keras.Sequential(self._dense(range(start, stop), "tower"), name=name)
        if type(self.given) is not keras.Sequential:
            return copied(self.given, index, name)
        layers = self._given_layers(start, stop)
        return keras.Sequential([copied(layer, index, layer.name) for layer in layers], name=name)

    def towers(
        self, names: Sequence[str], features: Any, start: int = 0, stop: int | None = None
    ) -> dict[str, Any]:
        """By name, what a copy of the blocks from `start` to `stop` makes of `features`."""
        return self.towers_on(dict.fromkeys(names, features), start, stop)

    def towers_on(
        self, features: Mapping[str, Any], start: int = 0, stop: int | None = None
    ) -> dict[str, Any]:
        """By name, what a copy of the blocks makes of that name's own features."""
        copies = [self.copy(f"{name}_tower", i, start, stop) for i, name in enumerate(features)]
        return {
            name: copy(own) if copy else own
            for (name, own), copy in zip(features.items(), copies, strict=True)
        }

    def one_tensor(self, features: Any) -> Any:
        """`features`, what a block gave, when that is one tensor.

        Raises:
            ValueError: naming the argument otherwise.
        """
        if not isinstance(features, keras.KerasTensor):
            raise ValueError(f"`{self.argument}` must return one tensor. Received: {features}")
        return features

    def gate(self, name: str, count: int, start: int = 0) -> TaskGate | None:
        """`count` copies of the blocks from `start` on, of which ids choose one for each row."""
        copies = [self.copy(f"{name}_{i}_tower", i, start) for i in range(count)]
        return TaskGate(tuple(copies), name=f"{name}_towers") if all(copies) else None

    def new_dropout(self, name: str) -> keras.layers.Layer | None:
        """What follows a dense layer, where there is dropout."""
        return keras.layers.Dropout(self.dropout, name=name) if self.dropout else None

    def _dense(self, blocks, role):
        layers = []
        for i in blocks:
            layers.append(
                keras.layers.Dense(self.widths[i], activation=self.activation, name=f"{role}_{i}")
            )
            layers.append(self.new_dropout(f"{role}_dropout_{i}"))
        return [layer for layer in layers if layer is not None]

    def _given_layers(self, start, stop):
        return list(itertools.chain.from_iterable(self._given_blocks()[start:stop]))

    def _given_blocks(self):
        if type(self.given) is not keras.Sequential:
            return [[self.given]]
        blocks = []
        for layer in self.given.layers:
            if not blocks or not isinstance(layer, _FOLLOWERS):
                blocks.append([])
            blocks[-1].append(layer)
        return blocks


def copied(layer: keras.layers.Layer, index: int, name: str) -> keras.layers.Layer:
    """A copy of `layer` with draws of its own, or with its weights where it is built."""
    copy = independent_layer(layer, index, name=name)
    if layer.built and layer.weights:
        if not copy.built:
            copy.build_from_config(layer.get_build_config())
        copy.set_weights(layer.get_weights())
    return copy
