"""JAX compiles every operation that a test runs once: there, tests take the short way."""

import gc
import os
import shutil
import tempfile

import pytest

ON_JAX = os.environ.get("KERAS_BACKEND") == "jax"
if ON_JAX:
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
# What one test has compiled, others of the same run find: the processes share a folder.
OWNS_CACHE = ON_JAX and "JAX_COMPILATION_CACHE_DIR" not in os.environ
if OWNS_CACHE:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled-by-jax-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# On JAX these are marked slow: eager training and export, which compile most, half precision and
# several steps an execution a second time, models of one task, long training runs, training of
# pretrained entries and of changed models, an optimizer a part, the proofs that the suites find
# broken layers, and what tests of layers say beyond their conformance suite.
# `KERAS_BACKEND=jax pytest -m slow` runs them.
SLOW_ON_JAX = (
    "test_layer_suite.py",
    "-fit_step]",
    "[fit_step]",
    "saved_model]",
    "mixed_bfloat16]",
    "jit_equals_eager]",
    "run_eagerly",
    "_are_the_sum[recurrent]",
    "_are_the_sum[convolutional]",
    "_are_the_sum[batch_normalised]",
    "_are_the_sum[masked_heads]",
    "_are_the_sum[several_inputs]",
    "_are_the_sum[nested_outputs]",
    "_of_training_steps[embedding]",
    "_of_training_steps[recurrent]",
    "_of_training_steps[partly_shared]",
    "_of_the_task_gradients[plain]",
    "_of_the_task_gradients[positions]",
    "_of_the_task_gradients[beside_others]",
    "_of_the_task_gradients[part_frozen]",
    "test_dense_layers.py::test_with_loss_scaling",
    "_applied_to_the_groups[upgrad]",
    "_applied_to_the_groups[trimmed_mean]",
    "_stay_near_the_exact_ones",
    "[all kinds, named features-a_task_without",
    "[all kinds, named features-mixed_precision_trains]",
    "[all kinds, named features-steps_per_execution",
    "[all kinds, named features-loaded_model_trains",
    "test_optimizers.py",
    "test_change.py::test_the_next_step",
    "test_change.py::test_what_is_frozen",
    "test_change.py::test_penalties",
    "test_change.py::test_freezing",
    "test_change.py::test_changed_models",
    "test_span_f1.py::test_a_task_is_scored_by_it[False]",
    "test_span_f1.py::test_counts_add_up",
    "test_presets.py::test_an_entry_is_ready_to_train_on",
    "test_presets.py::test_new_heads_take_the_place",
)


def pytest_unconfigure():
    """Removes what was compiled in this run."""
    if OWNS_CACHE:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what is slow on this backend alone."""
    for item in items if ON_JAX else ():
        beyond = "/layers/" in item.nodeid and "test_conformance" not in item.nodeid
        if beyond or any(part in item.nodeid for part in SLOW_ON_JAX):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def short_garbage_collections():
    """What TensorFlow keeps of each model for good: late in a run, a look at all takes minutes."""
    yield
    gc.collect()
    gc.freeze()
