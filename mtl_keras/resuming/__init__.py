"""How a fit goes on under Keras's `BackupAndRestore`: `resumable.py` has what a model does for it.

Over `progress.py` (where a fit is), `backup.py` (Keras's files), `replay.py` (an epoch that has
been begun).
"""
