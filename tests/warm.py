"""Worker processes that begin at once, for tests that start many: `python -m tests.warm SOCKET`.

Importing torch takes seconds. This process does so once and forks a real core.jobs.worker for
everyone who asks. launcher() writes the program to start in the place of Python for one of them.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

LAUNCHER = """#!{python}
import socket
asking = socket.socket(socket.AF_UNIX)
asking.connect("{address}")
socket.send_fds(asking, [b"."], [0, 1, 2])
asking.recv(1)  # comes when the worker has ended
"""


def launcher(path: Path, address: Path) -> Path:
    path.write_text(LAUNCHER.format(python=sys.executable, address=address), encoding="utf-8")
    path.chmod(0o700)
    return path


def main(address: str) -> None:
    import core.inference.generation
    import core.inference.option_scoring
    import core.models.load  # noqa: F401  so that no worker need
    from core.jobs import worker

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        print("ready", flush=True)
        while True:
            caller, _ = door.accept()
            _, streams, _, _ = socket.recv_fds(caller, 1, 3)
            if os.fork() == 0:  # keeps `caller` open as long as it lives
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                    os.close(stream)
                worker.main()
            for stream in streams:
                os.close(stream)
            caller.close()


if __name__ == "__main__":
    main(sys.argv[1])
