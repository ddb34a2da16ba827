"""The commands of `mtl-zoo`, one a file: `run(options)` does it, and may return an exit code.

Beside them what several use: `output.py` (what is printed, and where), `rows.py` (from what a
user types to a model's inputs), `answers.py` (from a model's outputs to words), `training.py`
(the recipe of an entry, its data, one training of it), `quiet_start.py` (TensorFlow without its
messages).
"""
