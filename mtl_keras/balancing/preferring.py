"""Rules that weigh the tasks by a preference."""

from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.checks import checked_length, checked_weights


class PreferringBalancer(GramianBalancer):
    """A rule whose last argument is `preference`, one number of at least 0 a task or None."""

    def __init__(self, preference: list[float] | None = None):
        super().__init__()
        self.preference = checked_weights(preference, "preference")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Checks the length of `preference`."""
        checked_length(self.preference, "preference", num_tasks)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {**super().get_config(), "preference": self.preference}
