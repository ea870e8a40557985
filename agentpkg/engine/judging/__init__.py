"""The review of a package: what it looks at, the verdict, and the proof that is made of it."""
