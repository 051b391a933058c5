"""What goes wrong in a lab: something is not installed, misnamed, or does not come up."""

from pingboard.model import PingboardError


class LabError(PingboardError):
    """The lab can't start or go on; the message names the part and ends with its last log lines."""
