"""The configuration of agentpkg's own nats-server: loopback only, one account for events, one for the system.

What is set against its default: the address (all interfaces), the limits (three quarters of disk and memory), the
store (the temporary folder), and the time until a write is on the disk (two minutes). There is no monitoring port: it
knows no passwords.
"""

import json
from pathlib import Path

from agentpkg.bus.subjects import stream_name

#: the account that holds the events
ACCOUNT = "AGENTPKG"
#: reply subjects of the coordinator, which viewers cannot listen to
COORDINATOR_INBOX = "_INBOX_coordinator"


def render(state: Path, prefix: str, port: int, coordinator: str, viewer: str, system: str) -> str:
    """The text of ``nats.conf``.

    Args:
        state: the repository's state folder.
        prefix: of the events, which a viewer may read.
        port: -1: let the server choose.
        coordinator, viewer, system: public keys.
    """
    permissions = json.dumps(viewer_permissions(prefix))
    run = state / "run"
    return f"""\
server_name: "agentpkg-local"
listen: "127.0.0.1:{port}"
pid_file: {_text(run / "nats.pid")}
ports_file_dir: {_text(run)}
log_file: {_text(state / "nats.log")}
logfile_size_limit: 5MB
max_payload: 1MB
max_connections: 256
jetstream {{
  store_dir: {_text(state / "js")}
  max_memory_store: 64MB
  max_file_store: 2GB
  sync_interval: always
}}
accounts {{
  {ACCOUNT} {{
    jetstream: enabled
    users: [
      {{ nkey: {coordinator} }}
      {{ nkey: {viewer}, permissions: {permissions} }}
    ]
  }}
  SYSTEM {{ users: [ {{ nkey: {system} }} ] }}
}}
system_account: SYSTEM
"""


def viewer_permissions(prefix: str) -> dict[str, list[str]]:
    """What a viewer may do: hear events, and ask the stream for its history through consumers of its own."""
    stream = stream_name(prefix)
    api = [
        "INFO", "STREAM.NAMES", "STREAM.LIST", f"STREAM.INFO.{stream}", f"STREAM.MSG.GET.{stream}",
        f"DIRECT.GET.{stream}", f"DIRECT.GET.{stream}.>", f"CONSUMER.CREATE.{stream}", f"CONSUMER.CREATE.{stream}.>",
        f"CONSUMER.INFO.{stream}.>", f"CONSUMER.DELETE.{stream}.>", f"CONSUMER.MSG.NEXT.{stream}.>",
    ]  # fmt: skip
    publish = [*(f"$JS.API.{verb}" for verb in api), f"$JS.ACK.{stream}.>", "$JS.FC.>"]
    return {
        "publish": publish,
        "subscribe": [f"{prefix}.>", "_INBOX.>"],
    }


def _text(path: Path) -> str:
    return json.dumps(str(path))
