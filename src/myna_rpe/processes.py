"""Which of several processes of one run this is, as the launcher's environment says."""

import os

# torchrun, SLURM, Lightning Fabric's own launcher.
_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")


def is_first_process() -> bool:
    """Tell whether this is the process that writes files and speaks; alone, it is."""
    return int(next((os.environ[name] for name in _RANKS if name in os.environ), "0")) == 0
