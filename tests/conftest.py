"""Which tests are slow on which backend: JAX compiles every operation that a test runs once."""

import gc
import os
import shutil
import tempfile

import pytest

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
ON_JAX = BACKEND == "jax"
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
# On TensorFlow: proofs that the suites find broken layers, which PyTorch runs, a fit in several
# processes, killed, or with half of its labels, and more of what another test says for one case.
# `KERAS_BACKEND=jax pytest -m slow` and `pytest -m slow` run them.
SLOW = {
    "tensorflow": (
        "test_layer_suite.py",
        "test_shared_trunk[two tasks-",
        "test_shared_trunk[sequence-",
        "test_hierarchical_multi_gate.py::test_conformance[fit_step_jit]",
        "test_hierarchical_multi_gate.py::test_conformance[saved_model]",
        "test_balanced_fit.py::test_a_killed_training",
        "test_half_of_the_labels_missing",
        "gradients/test_replicas.py",
        "test_a_stream_goes_on[unknown_length]",
        "test_a_stream_goes_on[one_epoch]",
        "test_a_stream_goes_on[two_epochs]",
        "test_an_interrupted_fit_ends_like_a_whole_one[epoch]",
        "test_an_interrupted_fit_ends_like_a_whole_one[last_batch]",
        "leaves_the_last_one[no_room",
        "leaves_the_last_one[read_only",
        "test_weights_say_where_they_are[empty]",
        "test_weights_say_where_they_are[stale]",
        "test_killed_three_times",
        "test_updates_of_auto_lambda_go_on[1]",
        "test_it_takes_the_bytes_it_should",
        "test_litert_gives_the_same_numbers[float16]",
    ),
    "jax": (
        "test_shared_trunk[two tasks-",
        "test_shared_trunk[sequence-",
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
    ),
}


def pytest_unconfigure():
    """Removes what was compiled in this run."""
    if OWNS_CACHE:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what is slow on this backend alone."""
    for item in items:
        beyond = ON_JAX and "/layers/" in item.nodeid and "test_conformance" not in item.nodeid
        if beyond or any(part in item.nodeid for part in SLOW.get(BACKEND, ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def short_garbage_collections():
    """What TensorFlow keeps of each model for good: late in a run, a look at all takes minutes."""
    yield
    gc.collect()
    gc.freeze()
