"""Everything that speaks git: hardened processes, worktrees, admission, candidates, landing."""
