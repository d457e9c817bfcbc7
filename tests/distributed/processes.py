"""What a process that a test starts needs."""

import os
import socket
import sys

from tests.conftest import REPO


def environment(**variables):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), *sys.path]), **variables}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
