"""The ledger: the append-only, hash-chained record of every transition, its current rows, and the outbox."""
