"""The three identities of agentpkg's own server, as NKey pairs (Ed25519) in 0600 files.

With NKeys a program that took the server's port while it was down learns a public key and a one-time signature, where
it would have been handed a password. Format of seeds and keys: github.com/nats-io/nkeys.
"""

import os
from pathlib import Path

from agentpkg.files import read_bounded, write_atomic

#: the relay and commands: may do anything with events
COORDINATOR = "coordinator"
#: dashboards: may read events
VIEWER = "viewer"
#: the relay: may ask the server who is connected
SYSTEM = "system"


def seed_file(run: Path, name: str) -> Path:
    """The file that holds an identity's seed and nothing else."""
    return run / f"{name}.nk"


def public_key(run: Path, name: str) -> str:
    """The public key of an identity, which is made on first use.

    A file that holds no seed (a disk was full) is replaced.
    """
    import nkeys

    file = seed_file(run, name)
    try:
        return _public(read_bounded(file, 200))
    except (FileNotFoundError, ValueError, nkeys.NkeysError):
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
        write_atomic(file, bytes(seed), 0o600, sync=True)
        return _public(seed)


def _public(seed: bytes) -> str:
    import nkeys

    pair = nkeys.from_seed(bytearray(seed.strip()))
    public: str = pair.public_key.decode()
    pair.wipe()
    return public
