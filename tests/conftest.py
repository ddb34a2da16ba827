"""Before a backend starts: tests compile much and run little, so compilers take the short way."""

import os

# Half the time of a test on JAX is compilation of what runs once.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
