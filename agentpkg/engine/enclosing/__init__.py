"""The walls that a repository's processes run in, and the secrets that they get."""
