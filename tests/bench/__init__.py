"""How fast the monitor is beside the script that one would write instead: whole processes, on one machine, in turn.

`make bench` prints every figure beside its target. The product has one core and the load server the other, so that a
machine of two cores that does nothing else is what it takes. Ratios travel between machines; seconds do not.
"""
