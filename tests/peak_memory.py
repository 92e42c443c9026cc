"""Code for a new process that wants to know its peak memory.

The kernel's VmHWM begins anew with a program; ru_maxrss is inherited from whoever started it, so
that a large test process would hide everything.
"""

PEAK_MIB = (
    "peak = lambda: next(int(line.split()[1]) // 1024 for line in open('/proc/self/status') "
    "if line.startswith('VmHWM'))"
)
