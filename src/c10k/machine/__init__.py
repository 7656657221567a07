"""What this machine is and what it allows.

read.py         asks the kernel; what it does not report is None (macOS reports little)
fit.py          how many clients fit
pinning.py      which cores are the server's, and which the clients'
doctor.py       what would distort or limit a session, and how to fix it
environment.py  what a session's figures depend on, published with them

Reading and judging are kept apart: read_*() ask the kernel, and the rest are pure functions over
what was read. Nothing here changes the machine. Each problem comes with the command that fixes
it, for a person to run.

The environment names hardware, kernel and interpreter, never the host, a user, a path or an
environment variable.
"""

from .doctor import Finding as Finding
from .doctor import Severity as Severity
from .doctor import doctor as doctor
from .doctor import findings as findings
from .environment import differences as differences
from .environment import environment as environment
from .environment import gil_enabled as gil_enabled
from .fit import RESERVE as RESERVE
from .fit import Bound as Bound
from .fit import Capacity as Capacity
from .fit import capacity as capacity
from .fit import worker_clients as worker_clients
from .pinning import Pinning as Pinning
from .pinning import cores as cores
from .pinning import handed_out as handed_out
from .pinning import named as named
from .pinning import number as number
from .pinning import pinning as pinning
from .pinning import real_cores as real_cores
from .pinning import too_few_cores as too_few_cores
from .read import Activity as Activity
from .read import Facts as Facts
from .read import Limits as Limits
from .read import cores_allowed as cores_allowed
from .read import read_activity as read_activity
from .read import read_facts as read_facts
from .read import read_limits as read_limits
from .read import sibling_groups as sibling_groups
