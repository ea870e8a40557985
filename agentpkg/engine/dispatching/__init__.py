"""Starting a session: what may keep it from it, its room and its prompt, and who tries again when."""
