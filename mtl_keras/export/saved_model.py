"""SavedModel: a signature for all tasks, one a task, and one that takes `tf.Example`."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from mtl_keras.checks import checked_choice
from mtl_keras.export.part import Part

SIGNATURES = ("joint", "per_task", "both")
JOINT, EXAMPLES = "serve", "examples"

# Names that a SavedModel has uses for.
_TAKEN = {
    *(JOINT, EXAMPLES, "serving_default", "signatures"),
    *("variables", "trainable_variables", "non_trainable_variables"),
}


def tasks_by_signature(part: Part, signatures: str, joint: str = JOINT) -> dict[str, list[str]]:
    """The name of each signature, and the tasks that it gives.

    Args:
        part: what is exported.
        signatures: "joint", one of all tasks; "per_task", one a task; or "both".
        joint: name of the signature of all tasks.

    Raises:
        ValueError: for other signatures, or a task with a name that a SavedModel uses.
    """
    checked_choice(signatures, "signatures", SIGNATURES)
    named = {} if signatures == "per_task" else {joint: list(part.outputs)}
    if signatures == "joint":
        return named
    clash = sorted(_TAKEN & set(part.outputs))
    if clash:
        raise ValueError(
            "`signatures` are named after the tasks, of which none may be one of "
            f"{sorted(_TAKEN)}. Received: {clash}"
        )
    return named | {task: [task] for task in part.outputs}


def write_saved_model(
    part: Part,
    path: str | os.PathLike,
    signatures: Mapping[str, Sequence[str]],
    batch_size: int | None = None,
    verbose: bool = False,
) -> None:
    """Writes a SavedModel, the first of whose signatures is also `serving_default`.

    A signature runs no more than its tasks need; variables are stored once. Where there is one
    of all tasks, `serve`, `examples` gives the same from serialized `tf.Example`.

    Args:
        part: what is exported.
        path: new folder.
        signatures: the tasks of each, by its name, see `tasks_by_signature`.
        batch_size: rows a request; `None` for any number.
        verbose: whether to print the signatures.
    """
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    for resource in _resources(part.layers):
        archive.track(resource)
    endpoints = _Endpoints(part, batch_size, archive)
    for name, tasks in signatures.items():
        function = endpoints.add(name, tasks)
        if name == JOINT:
            endpoints.add_examples(function)
    # Gradients of its own that a layer has are no use in serving.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    archive.write_out(os.fspath(path), options, verbose=verbose)


def _resources(layers: Sequence[keras.layers.Layer]) -> Iterator[Any]:
    """What an archive must be told of to hold it."""
    if keras.backend.backend() != "tensorflow":
        yield from layers
        return
    from tensorflow.saved_model.experimental import TrackableResource

    # Not the layers: their variables, which the archive finds, would be stored a second time.
    for layer in layers:
        for inner in (layer, *layer._flatten_layers(include_self=False)):
            yield from (x for x in vars(inner).values() if isinstance(x, TrackableResource))


class _Endpoints:
    """The functions of an archive; traced once, then cut for each signature."""

    def __init__(self, part: Part, batch_size: int | None, archive: Any):
        self.part, self.archive = part, archive
        self.specs = part.specs(batch_size)
        self.batch_size = batch_size
        if keras.backend.backend() == "tensorflow":
            self._whole = _traced(part, self.specs)

    def add(self, name: str, tasks: Sequence[str]) -> Callable:
        """A function from the inputs by name to these tasks."""
        if keras.backend.backend() == "tensorflow":
            return self.archive.add_endpoint(name, _cut(self._whole, self.part, self.specs, tasks))
        own = self.part.only(tasks)

        def function(x):
            return own(own.flat(x))

        return self.archive.add_endpoint(name, function, [own.packed(self.specs)])

    def add_examples(self, serve: Callable) -> None:
        """As `serve`, from serialized `tf.Example`; not for inputs whose shape is not known."""
        import tensorflow as tf

        features = {name: _parsed(spec) for name, spec in self.specs.items()}
        if None in features.values():
            return

        @tf.function(autograph=False)
        def examples(examples):
            found = tf.io.parse_example(examples, features)
            x = {name: tf.cast(found[name], spec.dtype) for name, spec in self.specs.items()}
            return serve(self.part.packed(x))

        examples.get_concrete_function(tf.TensorSpec((self.batch_size,), "string", EXAMPLES))
        self.archive.add_endpoint(EXAMPLES, examples)


def _traced(part, specs):
    """All tasks as one graph of TensorFlow that can be cut."""
    import tensorflow as tf

    names = list(specs)
    return tf.compat.v1.wrap_function(
        lambda *values: part(dict(zip(names, values, strict=True))),
        [tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()],
    )


def _cut(whole, part, specs, tasks):
    """A tf.function of these tasks, with nothing in it that they do not need."""
    import tensorflow as tf

    feeds = whole.inputs[: len(specs)]
    cut = whole.prune(feeds, {task: whole.structured_outputs[task] for task in tasks})

    @tf.function(autograph=False)
    def signature(x):
        return cut(*part.flat(x).values())

    given = {name: tf.TensorSpec(own.shape, own.dtype, name) for name, own in specs.items()}
    signature.get_concrete_function(part.packed(given))
    return signature


def _parsed(spec):
    """How an input is read from a `tf.Example`; None where its shape is not known."""
    import tensorflow as tf

    shape, dtype = spec.shape[1:], tf.as_dtype(spec.dtype)
    kept = tf.string if dtype == tf.string else tf.float32 if dtype.is_floating else tf.int64
    if None not in shape:
        return tf.io.FixedLenFeature(shape, kept)
    if None in shape[1:]:
        return None
    return tf.io.FixedLenSequenceFeature(shape[1:], kept, allow_missing=True)
