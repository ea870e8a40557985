"""One run of one agent: its environment, its process, its log, and what its end means."""
