"""A real Matrix network on this machine: homeservers, echo bots, links that delay.

    lab.py          starts all of it in order, and ends it
      homeserver.py   a Synapse (config.py writes its configuration)
      echobot.py      `pingboard echo`, started as a user would
        process.py      a child process: start, ready, stop, kill, pause, resume, its log
        end_with_parent.py   runs in each child and ends it when this process ends
      network.py      the links of the homeservers: delay, hold
        proxy.py        a CONNECT proxy for each homeserver; all its federation goes through it
      synapse_api.py  the few calls that setting up takes: accounts, the ping room

In comes how many homeservers and how slow their links; out comes a ping room with an echo bot on
each. Nothing leaves the loopback interface, nothing needs root, and no process outlives this one.
"""

from pingboard.lab.echobot import EchoBotProcess
from pingboard.lab.homeserver import Homeserver
from pingboard.lab.lab import Lab
from pingboard.lab.network import Network
from pingboard.lab.synapse_api import LabAccount
from pingboard.model import LabError
