"""Guards the declared workloads: what they expand to, and errors with file and key."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c10k import paths
from c10k.declare import catalog, choosing, units, workload
from c10k.declare.workload import WorkloadError
from c10k.model import Request

GOOD = """
title = "t"
servers = ["@canonical"]
blocks = 3
[[load]]
kind = "closed"
clients = [1, 10]
message_bytes = [64, 1024]
[[load]]
kind = "idle"
clients = 7
"""


def test_lists_multiply_into_loads():
    """Each combination of a table's lists is a load of its own, in the file's order."""
    read = workload.parse(GOOD, "w.toml")
    found = [(load.kind, load.clients, load.message_bytes) for load in read.loads]
    assert found == [
        ("closed", 1, 64), ("closed", 1, 1024), ("closed", 10, 64), ("closed", 10, 1024),
        ("idle", 7, 64),
    ]  # fmt: skip
    assert (read.name, read.blocks) == ("w", 3)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (('title = "t"', ""), "title"),
        (('kind = "idle"', 'kind = "burst"'), "load[1].kind"),
        (("clients = 7", "clients = 1000000000000"), "load[1].clients"),
        (("clients = 7", "clients = 0"), "load[1].clients"),
        (("clients = 7", "clients = []"), "load[1].clients"),
        (("clients = 7", "clients = 7\nsmell = 1"), "load[1]"),
        (("clients = [1, 10]", 'clients = ["many"]'), "load[0].clients"),
        (("message_bytes = [64, 1024]", "message_bytes = 8"), "load[0].message_bytes"),
        (("blocks = 3", "blocks = 0"), "blocks"),
        (("blocks = 3", "blocks = 2.5"), "blocks"),
        (("clients = 7", "clients = 7\nduration_s = nan"), "load[1].duration_s"),
        (('servers = ["@canonical"]', "servers = []"), "servers"),
        (('kind = "idle"', 'kind = "idle'), "TOML"),
        (("clients = [1, 10]", "clients = [1, 1]"), "twice"),
    ],
)
def test_an_error_names_the_file_and_the_key(change, names):
    """A malformed workload is one line that says where."""
    with pytest.raises(WorkloadError) as error:
        workload.parse(GOOD.replace(*change), "folder/w.toml")
    assert str(error.value).startswith("folder/w.toml: ")
    assert names in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "t"\n', "", "title: missing"),
        ("clients = 7", "clients = 7\nsmell = 1", "load[1].smell: there is no such key"),
        ("clients = 7", "clients = [7, 0]", "load[1].clients[1]: must be 1 or more"),
        ("clients = 7", f"clients = {10**9}", "load[1].clients: must be 10,000,000 or less"),
        ("clients = 7", "clients = []", "load[1].clients: must not be empty"),
        ("blocks = 3", "blocks = 2.5", "blocks: must be a whole number"),
        ("blocks = 3", 'blocks = "3"', "blocks: must be a whole number, not text"),
        (
            '"idle"',
            '"burst"',
            "kind: 'burst' is not one of closed, open, storm, idle, churn, capacity",
        ),
    ],
)
def test_an_error_is_in_plain_english(old, new, says):
    """The key, then what the value must be; nothing of the library that checks it."""
    with pytest.raises(WorkloadError) as error:
        workload.parse(GOOD.replace(old, new), "w.toml")
    assert str(error.value).endswith(says)
    assert "`" not in str(error.value)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"clients": [5, 0]}, "--clients 0: must be 1 or more"),
        ({"blocks": 10_001}, "--blocks 10001: must be 10,000 or less"),
        ({"processes": 0}, "--processes 0: must be 1 or more"),
        ({"server_cores": 0}, "--server-cores 0: must be 1 or more"),
        ({"server_cores": 10**6}, "--server-cores 1000000: must be 100,000 or less"),
    ],
)
def test_an_option_beyond_the_models_bounds_is_named(option, says):
    """The command line's values have the bounds that files have."""
    with pytest.raises(WorkloadError) as error:
        workload.override(workload.parse(GOOD, "w.toml"), **option)
    assert str(error.value) == says


def test_a_workload_names_the_interpreters_that_it_runs_on():
    """Each once, in the order given; a word that names none is said with the key."""
    words = 'python = ["default", "3.13t", "default"]\n'
    found = workload.parse(words + GOOD, "w.toml")
    assert found.python == ("default", "3.13t")
    with pytest.raises(WorkloadError, match="python: 'newest' is not an interpreter; write a"):
        workload.parse('python = ["newest"]\n' + GOOD, "w.toml")


@pytest.mark.parametrize("cores", ["2", '"all"', "0"])
def test_a_workload_says_how_many_cores_its_servers_have(cores):
    """A number, or all; an option is stronger, and 0 is what holds without either."""
    read = workload.parse(f"server_cores = {cores}\n{GOOD}", "w.toml")
    assert read.server_cores == (cores.strip('"') if "a" in cores else int(cores))
    assert workload.parse(GOOD, "w.toml").server_cores == 0
    assert workload.override(read).server_cores == read.server_cores
    assert workload.override(read, server_cores=3).server_cores == 3
    assert workload.override(read, server_cores="all").server_cores == "all"


@pytest.mark.parametrize(
    ("cores", "says"),
    [
        ("-1", "must be 0 or more"),
        ('"some"', 'must be a whole number or "all"'),
        ("1.5", 'must be a whole number or "all"'),
    ],
)
def test_cores_that_are_no_number_are_named(cores, says):
    """The key, and what it takes."""
    with pytest.raises(WorkloadError) as error:
        workload.parse(f"server_cores = {cores}\n{GOOD}", "w.toml")
    assert str(error.value) == f"w.toml: server_cores: {says}"


def test_a_list_that_explodes_is_refused_at_once():
    """Sizes are bounded before anything is built from them."""
    many = f"clients = {list(range(1, 900))}\nmessage_bytes = {list(range(16, 900))}"
    with pytest.raises(WorkloadError, match="combinations"):
        workload.parse(GOOD.replace("clients = 7", many), "w.toml")


@pytest.mark.parametrize("name", ["-x", "x" * 201, "\x1b", "."])
def test_a_file_whose_name_names_no_session_is_refused(name):
    """The name becomes a part of folders' and files' names."""
    with pytest.raises(WorkloadError, match="cannot name a workload"):
        workload.parse(GOOD, f"{name}.toml")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("blocks = 3", "blocks = 10_000"), "blocks"),
        (("blocks = 3", f"blocks = {10**12}"), "blocks"),
        (("clients = 7", "clients = 7\nduration_s = 1e308"), "load[1].duration_s"),
        (("clients = 7", f"clients = 7\nmessage_bytes = {10**12}"), "load[1].message_bytes"),
        (("clients = 7", f"clients = 0x{'f' * 5000}"), "load[1].clients"),
        (("blocks = 3", f"blocks = {'[' * 5000}"), "nested"),
    ],
)
def test_what_no_machine_could_run_is_refused_at_once(change, names):
    """Sizes beyond all reason are told as such, with file and key, before anything is made."""
    text = GOOD.replace("clients = [1, 10]", "clients = [1, 10, 100]").replace(*change)
    with pytest.raises(WorkloadError) as error:
        workload.parse(text, "w.toml")
    assert str(error.value).startswith("w.toml: ")
    assert names in str(error.value)
    many = "clients = 7\n[[load]]\nkind = 'idle'\n" + f"clients = {list(range(1, 999))}"
    with pytest.raises(WorkloadError, match="more than 1000 loads"):
        workload.parse(GOOD.replace("clients = 7", many), "w.toml")


MIXED = """
title = "t"
servers = ["@working"]
[[load]]
kind = "open"
clients = [10, 20]
rate = 100
mix = [{ work = "wait", ms = 20, share = 9 }, { work = "keep", ms = 0.1, kib = 64 }]
"""


def test_a_load_declares_a_mix():
    """Each of its loads has it; a share that is not given is one."""
    read = workload.parse(MIXED, "w.toml")
    assert [load.clients for load in read.loads] == [10, 20]
    for load in read.loads:
        assert load.mix == (Request("wait", 20.0, 9), Request("keep", 0.1, 1, 64))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"wait"', '"sing"', "mix[0].work: 'sing' is not one of wait, block, call, offload, hold"),
        ("share = 9", "share = 0", "mix[0].share: must be 1 or more"),
        ("ms = 20", "ms = 0", "mix[0].ms: must be 0.1 or more"),
        ("ms = 20", "ms = 10_000", "mix[0].ms: must be 9,999 or less"),
        ("ms = 20", "ms = 0.15", "mix[0].ms: must be in tenths, not 0.15"),
        ("ms = 20", "ms = nan", "mix[0].ms"),
        ("ms = 20, ", "", "mix[0].ms: missing"),
        ("share = 9", "share = 9, kib = 8", "mix[0].kib: work keep needs it, in KiB, and no"),
        (", kib = 64", "", "mix[1].kib: work keep needs it, in KiB, and no other work has it"),
        ("share = 9", "shares = 9", "mix[0].shares: there is no such key"),
        ("mix = [", "mix = []\n# ", "mix: must not be empty"),
        ("mix = [", "message_bytes = 128\nmix = [", "message_bytes: does not apply to a mix"),
        ('"keep", ms = 0.1, kib = 64', '"wait", ms = 20', "mix: the same request is declared"),
        ('kind = "open"\nclients = [10, 20]\nrate = 100', 'kind = "idle"\nclients = 10',
         "mix: only a load of kind open or capacity can have a mix"),
        ('kind = "open"\nclients = [10, 20]\nrate = 100', 'kind = "closed"\nclients = 10',
         "mix: only a load of kind open or capacity can have a mix"),
    ],
)  # fmt: skip
def test_a_bad_mix_is_one_line(old, new, says):
    """The file, the key and what it must be."""
    assert MIXED.count(old) == 1
    with pytest.raises(WorkloadError) as error:
        workload.parse(MIXED.replace(old, new), "w.toml")
    assert str(error.value).startswith(f"w.toml: load[0].{says}")
    assert "\n" not in str(error.value)


def test_a_mix_has_at_most_ten_requests():
    """As many as the client takes."""
    many = ", ".join(f'{{ work = "wait", ms = {n} }}' for n in range(1, 12))
    text = MIXED[: MIXED.index("mix =")] + f"mix = [{many}]"
    with pytest.raises(WorkloadError, match=r"load\[0\].mix: at most 10 requests"):
        workload.parse(text, "w.toml")


def test_handlers_at_work_leave_enough_for_a_p99():
    """10,000 waits under each load, and at two blocks of all its servers less than 25 minutes."""
    read = workload.choose("work", paths.WORKLOADS)
    servers = choosing.choose(read.servers, catalog.find(paths.SERVERS))
    for load in read.loads:
        waits, *_ = load.mix
        share = waits.share / sum(request.share for request in load.mix)
        assert waits.work == "wait"
        assert load.rate * load.duration_s * share > workload.P99_MESSAGES
    trial_s = [load.warmup_s + load.duration_s + 2 for load in read.loads]
    assert read.blocks * len(servers) * sum(trial_s) < 25 * 60


@given(st.text())
def test_no_text_crashes_the_parser(text):
    """Whatever a file holds, it is read or refused with its name."""
    try:
        workload.parse(text, "w.toml")
    except WorkloadError as error:
        assert str(error).startswith("w.toml: ")


@given(
    st.sampled_from(["clients", "message_bytes", "depth", "warmup_s", "duration_s", "kind", "x"]),
    st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.lists(st.integers())),
)
def test_no_value_crashes_the_parser(key, value):
    """A well-formed file with an absurd value is read or refused."""
    rendered = str(value).lower() if isinstance(value, bool | float) else repr(value)
    with contextlib.suppress(WorkloadError):
        workload.parse(GOOD.replace("clients = 7", f"{key} = {rendered}"), "w.toml")


def test_the_command_line_cuts_it_down():
    """--servers, --clients and --blocks replace what the file says, and nothing else."""
    read = workload.parse(GOOD, "w.toml")
    cut = workload.override(read, servers=["a"], clients=[5], blocks=1)
    assert (cut.servers, cut.blocks) == (("a",), 1)
    assert {load.clients for load in cut.loads} == {5}
    assert [load.message_bytes for load in cut.loads if load.kind == "closed"] == [64, 1024]
    assert workload.override(read) == read
    for wrong in ({"clients": [0]}, {"clients": [10**12]}, {"blocks": 0}):
        with pytest.raises(WorkloadError):
            workload.override(read, **wrong)


@pytest.mark.parametrize(
    ("text", "value"), [("100", 100), ("10k", 10_000), ("1.5k", 1500), ("2M", 2_000_000),
                        ("10_000", 10_000)]
)  # fmt: skip
def test_counts_take_k(text, value):
    """Counts as people write them."""
    assert units.number(text) == value


@given(st.text())
def test_no_count_crashes(text):
    """Any other text is refused in words."""
    try:
        assert units.number(text) >= 0
    except ValueError as error:
        assert str(error)


def test_the_declared_workloads_are_well_formed():
    """Every file in benchmarks/workloads reads, and has a title."""
    found = workload.find(paths.WORKLOADS)
    assert "quick" in found
    for path in found.values():
        assert workload.read(path).title


def test_the_declared_open_loops_send_enough_for_a_p99():
    """At random arrivals some trials send fewer than planned: 5 % is five standard deviations."""
    for path in workload.find(paths.WORKLOADS).values():
        for load in workload.read(path).loads:
            if load.kind == "open":
                longest_s = max(load.duration_s, load.ceiling_s)
                assert load.rate * longest_s > 1.05 * workload.P99_MESSAGES, path


def test_an_unknown_name_lists_the_known(tmp_path):
    """A typing error is answered with what there is."""
    with pytest.raises(WorkloadError, match="quick"):
        workload.choose("quikc", paths.WORKLOADS)
    with pytest.raises(WorkloadError, match="no such file"):
        workload.choose(str(tmp_path / "none.toml"), paths.WORKLOADS)


LADDER = """
title = "t"
servers = ["a"]
[[load]]
kind = "closed"
clients = [1, 10, 100]
[[load]]
kind = "storm"
clients = 100
"""


@pytest.mark.parametrize(
    ("counts", "loads"),
    [
        ([100], [("closed", 100), ("storm", 100)]),
        ([10, 1], [("closed", 10), ("closed", 1)]),
        ([7], [("closed", 7)]),
        ([], [("closed", 1), ("closed", 10), ("closed", 100), ("storm", 100)]),
    ],
)
def test_client_counts_cut_a_workload_down(counts, loads):
    """A count that is declared keeps all its loads; another one gets the first count's."""
    cut = workload.override(workload.parse(LADDER, "w.toml"), clients=counts)
    assert [(load.kind, load.clients) for load in cut.loads] == loads


SEARCH = """
title = "t"
servers = ["a"]
processes = 4
sharing = ["one-socket", "reuseport"]
[search]
least = 10
most = 1000
[[load]]
kind = "open"
rate = 5000
clients = 1
"""


def test_a_search_starts_at_its_least_count_in_one_block():
    """Counts are tried until they are decided, so blocks and control have no meaning."""
    read = workload.parse(SEARCH, "w.toml")
    assert (read.loads[0].clients, read.blocks, read.control) == (10, 1, False)
    assert (read.search.p99_ms, read.search.within) == (100.0, 0.01)
    assert (read.processes, read.sharing) == (4, ("one-socket", "reuseport"))
    assert workload.override(read, clients=[500]).search.most == 500
    both = workload.override(read, clients=[20, 500], processes=2, sharing=["reuseport"])
    assert (both.search.least, both.loads[0].clients, both.processes) == (20, 20, 2)
    assert both.sharing == ("reuseport",)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("least = 10", "least = 0"), "search.least"),
        (("least = 10", "least = 2000"), "search.least"),
        (("most = 1000", "most = 1000000000000"), "search.most"),
        (("most = 1000", "most = 1000\np99_ms = nan"), "search.p99_ms"),
        (("most = 1000", "most = 1000\nbest = 1"), "search"),
        # 2 s of 4,999 messages: no p99 could be told, so no count would ever hold
        (("rate = 5000", "rate = 4999"), "search: its p99 needs 10,000 messages"),
        (("processes = 4", "processes = 0"), "processes"),
        (("processes = 4", "processes = 1000000"), "processes"),
        (('"one-socket", ', '"two", '), "sharing"),
        (('["one-socket", "reuseport"]', "[]"), "sharing"),
    ],
)
def test_an_error_in_a_search_names_the_file_and_the_key(change, names):
    """One line that says where."""
    with pytest.raises(WorkloadError) as error:
        workload.parse(SEARCH.replace(*change), "folder/w.toml")
    assert str(error.value).startswith("folder/w.toml: ")
    assert names in str(error.value)


CAPACITY = """
title = "t"
servers = ["a"]
[[load]]
kind = "capacity"
clients = [10, 100]
p99_ms = 5
within = 0.1
shares = [0.5, 0.9]
"""


def test_a_capacity_has_its_level_and_a_first_rate():
    """What is not given is the method's."""
    read = workload.parse(CAPACITY, "w.toml")
    ten, hundred = read.loads
    assert (ten.clients, hundred.clients) == (10, 100)
    assert (ten.p99_ms, ten.within, ten.shares) == (5.0, 0.1, (0.5, 0.9))
    assert (ten.rate, ten.arrivals) == (workload.FIRST_PER_S, "poisson")
    assert ten.label == "capacity 64 B p99 5 ms poisson"
    bare = workload.parse(CAPACITY.partition("p99_ms")[0], "w.toml").loads[0]
    assert (bare.p99_ms, bare.within, bare.shares) == (10.0, 0.03, ())


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("p99_ms = 5", "p99_ms = 0"), "load[0].p99_ms"),
        (("p99_ms = 5", "p99_ms = nan"), "load[0].p99_ms"),
        (("within = 0.1", "within = 0"), "load[0].within"),
        (("within = 0.1", "within = 2"), "load[0].within"),
        (("[0.5, 0.9]", "[0.5, 1.0]"), "load[0].shares[1]: must be less than 1"),
        (("[0.5, 0.9]", "[0]"), "load[0].shares[0]: must be more than 0"),
        (('"capacity"', '"open"'), "load[0].p99_ms: only a load of kind capacity can have it"),
        (('"capacity"', '"closed"'), "load[0].p99_ms: only a load of kind capacity can have it"),
    ],
)
def test_an_error_in_a_capacity_names_the_file_and_the_key(change, names):
    """One line that says where."""
    with pytest.raises(WorkloadError) as error:
        workload.parse(CAPACITY.replace(*change), "folder/w.toml")
    assert str(error.value).startswith("folder/w.toml: ")
    assert names in str(error.value)
