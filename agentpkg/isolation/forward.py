"""The inner end of the way to the network: run inside the walls, before the agent, by its path alone.

``python -I -S forward.py 3128=/run/agentpkg/proxy.sock,5432=/run/agentpkg/5432.sock -- AGENT…`` listens on these ports
of the loopback, hands each connection on to the socket, and becomes the agent. It imports nothing of agentpkg, which
is not there.
"""

import os
import select
import socket
import sys
import threading


def _copy(source: socket.socket, to: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, to):
            one.close()


def _serve(connection: socket.socket, path: str) -> None:
    with connection, socket.socket(socket.AF_UNIX) as out:
        try:
            out.connect(path)
        except OSError:
            return
        back = threading.Thread(target=_copy, args=(out, connection), daemon=True)
        back.start()
        _copy(connection, out)
        back.join()


def _forward(listeners: "dict[socket.socket, str]") -> None:
    while True:
        for listener in select.select(list(listeners), [], [])[0]:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, listeners[listener]), daemon=True).start()


def main() -> None:
    """Starts the forwarder as a process that is nobody's child, and becomes the agent."""
    listeners = {}
    for pair in sys.argv[1].split(","):
        port, _, path = pair.partition("=")
        listeners[socket.create_server(("127.0.0.1", int(port)), backlog=64)] = path
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            os.closerange(3, min(one.fileno() for one in listeners))
            _forward(listeners)
        os._exit(0)
    os.wait()
    for listener in listeners:
        listener.close()
    argv = sys.argv[3:]
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
