"""Every builder passes the model suite, with 1, 2 and 5 tasks of mixed kinds.

What an architecture can fail most easily runs always, with two tasks: the SavedModel on TensorFlow,
going on after a load on JAX, and the rest on PyTorch, which compiles nothing.
`pytest -m slow tests/conformance/test_builders.py` runs all.
"""

import keras
import pytest

from conformance.builder_cases import BUILDER_CASES
from conformance.model_suite import MODEL_CHECKS

QUICK = {
    "tensorflow": ("saved_model_answers_the_same",),
    "jax": ("loaded_model_trains_on_identically",),
    "torch": (
        "every_log_key_has_its_task",
        "loaded_model_trains_on_identically",
        "loss_is_the_weighted_sum",
        "a_task_without_labels_is_left_out",
        "missing_labels_count_for_nothing",
        "mixed_precision_trains",
        "predict_names_the_tasks",
    ),
}[keras.backend.backend()]


def cells():
    for builder in BUILDER_CASES:
        for count in (1, 2, 5):
            for check in MODEL_CHECKS:
                slow = count != 2 or check not in QUICK
                marks = [pytest.mark.slow] if slow else []
                yield pytest.param(
                    builder, count, check, marks=marks, id=f"{builder}-{count}-{check}"
                )


@pytest.mark.parametrize("builder, count, check", list(cells()))
def test_builder(builder, count, check):
    MODEL_CHECKS[check](BUILDER_CASES[builder](count))


def test_no_builder_is_left_out():
    import zoo.builders

    named = set(zoo.builders.__all__) - {"ModelOptions"}
    assert named == set(BUILDER_CASES)
    assert named <= set(zoo.__all__)
