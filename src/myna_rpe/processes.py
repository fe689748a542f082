"""Which of several processes of one run this is, as the launcher's environment says."""

import os


def is_first_process() -> bool:
    """Tell whether this is the process that writes files and speaks; alone, it is."""
    for name in ("RANK", "SLURM_PROCID"):  # torchrun, srun: counted over all machines
        if name in os.environ:
            return os.environ[name] == "0"
    # Lightning Fabric's own launcher.
    return all(os.environ.get(name, "0") == "0" for name in ("NODE_RANK", "LOCAL_RANK"))
