"""Start-time fair queueing: who of several namespaces comes next. Pure functions.

A lane is the jobs of one namespace in one resource class. Its first job, the one of highest priority that waited
longest, has a start tag; the lane whose first job has the lowest rank comes next.

    start tag    where a lane goes on at once: the finish tag of its job before. Where it was empty in between: that, or
                 the class's time, whichever is later, so that nobody saves up shares by not using them
    finish tag   start + cost / weight of the namespace
    class's time the latest start tag of all jobs that were started
    rank         start - priority x PRIORITY_STEP: a head start of so many jobs over other lanes. It is no more than
                 that: the class's time passes every rank in the end, so that whoever waits comes first some day

Tags are given when a job comes to the front of its lane, not when it is created: so a lane's jobs may overtake each
other by priority without moving the lane as a whole.

Source: Goyal, Vin and Cheng, Start-time Fair Queueing, SIGCOMM 1996; its tags and its time are these.
"""

__all__ = ["COST", "PRIORITY_STEP", "finish_tag", "rank", "start_tag"]

# Of a job, in the unit of tags; how long one runs is not known beforehand.
COST = 1.0
PRIORITY_STEP = 5.0


def start_tag(virtual: float, finish: float) -> float:
    """Of a lane's first job, where the lane had none to start before. `virtual` is the class's time, `finish` the
    finish tag of the lane's last job."""
    return max(virtual, finish)


def finish_tag(start: float, weight: float, cost: float = COST) -> float:
    """Also the start tag of the job behind, if there is one."""
    return start + cost / weight


def rank(start: float, priority: int) -> float:
    """Lowest first."""
    return start - priority * PRIORITY_STEP
