"""Free ports of the loopback interface, kept for one homeserver each as long as the lab lives."""

import socket
import sys
from contextlib import AsyncExitStack

from pingboard.lab.proxy import LOOPBACK


def reserve_port(lab_lifetime: AsyncExitStack) -> int:
    """Choose a free port. A server name contains it, so no restart may find it taken.

    The kernel gives a bound port to nobody as a random one, but lets a second socket listen on it
    where both say SO_REUSEADDR (Synapse does). Only Linux works so; elsewhere the port is merely
    free now.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((LOOPBACK, 0))
    port = int(holder.getsockname()[1])
    if sys.platform == "linux":
        lab_lifetime.callback(holder.close)
    else:
        holder.close()
    return port
