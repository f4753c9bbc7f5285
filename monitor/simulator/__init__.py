"""A faithful simulation of fine-tuning APIs over real HTTP, whose jobs live in simulated time.

simulation = Simulation(organisations(3), clock=SimClock(speed=60), traffic=Traffic(history=40))
async with serve(simulation, "127.0.0.1", 8899) as base_url: ...
"""

from __future__ import annotations

from monitor.simulator.clock import SimClock
from monitor.simulator.dataset import training_file
from monitor.simulator.job import Job, JobSpec, Truth
from monitor.simulator.openai.jobs import SWITCH
from monitor.simulator.orgs import PROVIDERS, Org, Project, organisations
from monitor.simulator.plan import Ending, Pace, Status
from monitor.simulator.server import application, configuration, serve
from monitor.simulator.simulation import Simulation, Tokens, UsageKey
from monitor.simulator.traffic import Traffic
from monitor.simulator.webhooks import SENDERS, register

__all__ = [
    "PROVIDERS",
    "SENDERS",
    "SWITCH",
    "Ending",
    "Job",
    "JobSpec",
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
    "configuration",
    "organisations",
    "register",
    "serve",
    "training_file",
]
