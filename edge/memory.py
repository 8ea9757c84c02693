"""Keeps what is in memory out of files: no core dump, and no other process of this user reads it.

Python cannot wipe a text. That freed memory is overwritten is done by the service files, through
glibc: PYTHONMALLOC=malloc, no cache of freed pieces, and a pattern over each one. A test holds that
nothing of a code is in the scanner's memory then, once it was sealed.
"""

import ctypes
import logging
import os
import resource

log = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4


def keep_to_ourselves() -> None:
    """From now on this process leaves no core dump. Where that cannot be had, the log says so."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("memory can be dumped: %s", os.strerror(ctypes.get_errno()))
