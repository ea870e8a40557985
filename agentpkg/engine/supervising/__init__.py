"""A session from its lease to its end: its plan, its supervisor, what bounds it, its conclusion."""
