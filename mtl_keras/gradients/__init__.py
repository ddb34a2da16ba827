"""Per-task gradients: what tasks share, and how K gradients become one update."""
