"""Builders: functions that assemble and compile a multi-task model, one architecture a file.

Beside them what all use: `inputs.py` (raw inputs), `backbone.py` (the layers between inputs and
heads), `draft.py` (from tasks and features to a compiled model).
"""

from zoo.builders.dense_prediction import dense_prediction
from zoo.builders.draft import ModelOptions
from zoo.builders.joint_text import joint_text
from zoo.builders.shared_trunk import shared_trunk
from zoo.builders.single_task import single_task

__all__ = ["ModelOptions", "dense_prediction", "joint_text", "shared_trunk", "single_task"]
