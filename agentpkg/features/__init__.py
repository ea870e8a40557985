"""Features on disk: finding their folders, reading their files, reporting all that is wrong with them at once."""
