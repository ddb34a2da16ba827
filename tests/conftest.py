"""Before a backend starts: tests compile much and run little, so JAX compiles the short way."""

import os

if os.environ.get("KERAS_BACKEND") == "jax":
    # Half the time of a test there is compilation of what runs once.
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
