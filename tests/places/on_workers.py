"""What a cluster's workers are sent; they import this file, and no test with all that it needs."""

import os
import signal


def encoders_held():
    """How many encoders this worker holds."""
    from skgeo_embed.models import loaded

    return len(loaded._opened)


def die_once(part, marker):
    """Kill the worker that comes here first."""
    if part["lon"].iloc[0] < -170 and not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return part
