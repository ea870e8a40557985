"""The relay: the one process per repository that publishes the outbox, anchors the chains and owns the server."""
