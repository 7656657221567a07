"""The data types that the modules exchange; all are frozen, and there is no other code.

Server, Workload → Trial → Measurement (failures are values, not exceptions)
→ Session (environment + measurements) → Judged (rows) → text or page.

Units are in the names. A figure that was not measured is None, never zero.

These types also bound what is read from files, so that no reader needs its own checks. No
measurement lies beyond the bounds, and calculating with such numbers would end in infinities.

declared.py, measured.py, checked.py, judged.py and claimed.py have the types of each phase.
explained.py has those of c10k explain, which is not part of a session.
kinds.py has the table of the kinds of load.
"""

from .checked import CaseResult as CaseResult
from .checked import Conformance as Conformance
from .checked import Grade as Grade
from .claimed import ClaimFigure as ClaimFigure
from .claimed import ClaimPart as ClaimPart
from .claimed import ClaimsHead as ClaimsHead
from .claimed import Decision as Decision
from .claimed import Outcome as Outcome
from .declared import Arrivals as Arrivals
from .declared import Blocks as Blocks
from .declared import BoundedFloat as BoundedFloat
from .declared import BoundedInt as BoundedInt
from .declared import Client as Client
from .declared import Clients as Clients
from .declared import Connecting as Connecting
from .declared import Depth as Depth
from .declared import Environment as Environment
from .declared import EnvironmentValue as EnvironmentValue
from .declared import Goal as Goal
from .declared import Load as Load
from .declared import LoadShare as LoadShare
from .declared import MessageBytes as MessageBytes
from .declared import Name as Name
from .declared import Needs as Needs
from .declared import Note as Note
from .declared import OneLine as OneLine
from .declared import Plan as Plan
from .declared import Processes as Processes
from .declared import Rate as Rate
from .declared import Repeats as Repeats
from .declared import Request as Request
from .declared import Runtime as Runtime
from .declared import Search as Search
from .declared import Server as Server
from .declared import ServerCores as ServerCores
from .declared import Sharing as Sharing
from .declared import SliceSeconds as SliceSeconds
from .declared import Specified as Specified
from .declared import Tier as Tier
from .declared import TimeoutSeconds as TimeoutSeconds
from .declared import Trial as Trial
from .declared import WaitSeconds as WaitSeconds
from .declared import Work as Work
from .declared import Workload as Workload
from .explained import Count as Count
from .explained import Counted as Counted
from .explained import Explained as Explained
from .judged import BreakingPoint as BreakingPoint
from .judged import Compared as Compared
from .judged import ComparedVerdict as ComparedVerdict
from .judged import Comparison as Comparison
from .judged import Judged as Judged
from .judged import Limiter as Limiter
from .judged import LimiterKind as LimiterKind
from .judged import LoadPoint as LoadPoint
from .judged import MemoryRow as MemoryRow
from .judged import NoiseFloor as NoiseFloor
from .judged import Ratio as Ratio
from .judged import RequestRow as RequestRow
from .judged import Row as Row
from .judged import Slope as Slope
from .judged import Spread as Spread
from .judged import Verdict as Verdict
from .kinds import KINDS as KINDS
from .kinds import Kind as Kind
from .kinds import KindFacts as KindFacts
from .measured import Cause as Cause
from .measured import Gate as Gate
from .measured import GateKind as GateKind
from .measured import Host as Host
from .measured import Latency as Latency
from .measured import Measurement as Measurement
from .measured import Memory as Memory
from .measured import Noise as Noise
from .measured import ServerUse as ServerUse
from .measured import Session as Session
from .measured import Status as Status
from .measured import Step as Step
from .measured import Worker as Worker
