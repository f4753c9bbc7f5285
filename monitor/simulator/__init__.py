"""A faithful fake of the fine-tuning API: jobs live in simulated time, over real HTTP.

simulation = Simulation(organisations(3), clock=SimClock(speed=60), traffic=Traffic(history=40))
async with serve(simulation, "127.0.0.1", 8899) as base_url: ...
"""

from __future__ import annotations

from monitor.simulator.clock import SimClock
from monitor.simulator.job import Job, Truth
from monitor.simulator.orgs import Org, Project, organisations
from monitor.simulator.plan import Pace, Status
from monitor.simulator.server import application, serve
from monitor.simulator.simulation import Simulation
from monitor.simulator.spec import SWITCH, Ending
from monitor.simulator.traffic import Traffic
from monitor.simulator.training import training_file
from monitor.simulator.usage import Tokens, UsageKey

__all__ = [
    "SWITCH",
    "Ending",
    "Job",
    "Org",
    "Pace",
    "Project",
    "SimClock",
    "Simulation",
    "Status",
    "Tokens",
    "Traffic",
    "Truth",
    "UsageKey",
    "application",
    "organisations",
    "serve",
    "training_file",
]
