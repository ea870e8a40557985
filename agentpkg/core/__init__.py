"""The pure core: no I/O, no clock, no randomness; everything it needs is an argument."""
