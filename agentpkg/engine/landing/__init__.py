"""A candidate's way onto the target, here and on a remote, and what is cleared away afterwards."""
