"""Builders: functions that assemble and compile a multi-task model, one architecture a file."""

from zoo.builders.shared_trunk import shared_trunk

__all__ = ["shared_trunk"]
