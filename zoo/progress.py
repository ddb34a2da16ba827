"""A rich progress bar as a Keras callback."""

import keras
from rich.progress import Progress


class FitProgress(keras.callbacks.Callback):
    """Advances a bar of a `rich.progress.Progress` by one a batch; shows the epoch's score.

    Args:
        progress: the running progress display.
        title: what the bar is called.
        epochs: epochs at most; when the fit stops early, the bar is filled.
        steps: batches of an epoch.
    """

    async_safe = True

    def __init__(self, progress: Progress, title: str, epochs: int, steps: int):
        super().__init__()
        self.progress = progress
        self.title = title
        self.bar = progress.add_task(title, total=epochs * steps)

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar."""
        self.progress.advance(self.bar)

    def on_epoch_end(self, epoch, logs=None):
        """Shows the validation score."""
        score = (logs or {}).get("val_score")
        if score is not None:
            title = f"{self.title}, epoch {epoch + 1}: validation score {score:.4f}"
            self.progress.update(self.bar, description=title)

    def on_train_end(self, logs=None):
        """Fills the bar."""
        total = next(task.total for task in self.progress.tasks if task.id == self.bar)
        self.progress.update(self.bar, completed=total)
