"""Builders: functions that assemble and compile a multi-task model, one architecture a file.

Beside them what all use: `inputs.py` (raw inputs), `backbone.py` (the layers between inputs and
heads), `draft.py` (from tasks and features to a compiled model), `exchange.py` (towers that read
each other).
"""

from zoo.builders.cross_stitch import cross_stitch
from zoo.builders.draft import ModelOptions
from zoo.builders.nddr import nddr
from zoo.builders.shared_private import shared_private
from zoo.builders.shared_trunk import shared_trunk
from zoo.builders.single_task import single_task
from zoo.builders.sluice import sluice
from zoo.builders.task_attention import task_attention
from zoo.builders.task_conditioned import task_conditioned

__all__ = [
    "ModelOptions",
    "cross_stitch",
    "nddr",
    "shared_private",
    "shared_trunk",
    "single_task",
    "sluice",
    "task_attention",
    "task_conditioned",
]
