"""The event bus: names of subjects, agentpkg's own nats-server, and the only room that speaks NATS."""
