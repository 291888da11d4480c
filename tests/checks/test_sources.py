"""Rules of the layout that a compiler does not see. Each check is shown to fail on a bad sample."""

import pathlib
import re

from tree import ROOT, complaints, read, sources, tracked_files, without_code_comments

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)

# Folder -> what its quoted includes may begin with. The first folder that matches counts.
MAY_INCLUDE = {
    "bpf/": ("bpf/", "maps/abi/"),
    "maps/abi/": ("maps/abi/",),
    "maps/": ("maps/",),
    "crd-sync/": ("crd-sync/", "maps/"),
    "agent/compile/": ("agent/compile/", "crd-sync/", "maps/"),
    # Queues know what plan wants of them and netlink, and nobody else.
    "agent/shape/": ("agent/shape/", "agent/netlink/", "agent/plan/", "agent/compile/", "crd-sync/", "maps/"),
    "agent/plan/": ("agent/plan/", "agent/compile/", "crd-sync/", "maps/"),
}
KERNEL_WRAPPERS = "maps/kernel/"
NO_KERNEL = re.compile(r"^(bpf/|libbpf|netlink/|libnl|sys/(socket|mman|epoll)|net/if)")
# Each exception has its reason.
MAY_INCLUDE_ANGLED = {
    # libcurl's sockets and one timer behind one descriptor; changes nothing in the kernel.
    "crd-sync/api/http_client.cc": {"sys/epoll.h"},
}
# compile and plan are pure: what they know of the world is handed to them.
NO_WORLD = re.compile(r"^(bpf/|libbpf|netlink/|sys/|unistd\.h|fcntl\.h|fstream|filesystem|thread|mutex|cstdlib|ctime|"
                      r"random|spdlog/|net/)")
WORLD_CALLS = re.compile(r"\b(getenv|system_clock::now|steady_clock::now|clock_gettime|fopen|std::time\()")

# What decides in the model is independent of what it judges: of that it knows types and reasons, and no number.
OF_THE_MODEL = re.compile(r"^tests/model/(bucket\.h|(case|flows|frame|meaning|model|neighbours)\.(cc|h))$")
THE_MODEL_MAY_INCLUDE = ("tests/model/case.h", "tests/model/frame.h", "tests/model/meaning.h", "tests/model/model.h",
                         "agent/compile/compiled_policy.h", "agent/compile/node_facts.h", "crd-sync/desired_state.h",
                         "maps/abi/reasons.h", "maps/address.h")
NUMBER_OF_THE_DATAPATH = re.compile(r"\bGRANTD_(?!REASON_)\w+")

MAX_LINES = 500


def rule_for(path, table):
    return next((rule for folder, rule in table.items() if str(path).startswith(folder)), None)


def include_direction(path, text):
    allowed = rule_for(path, MAY_INCLUDE)
    if allowed is None:
        return
    name = str(path)
    vocabulary = name.startswith("maps/") and not name.startswith(KERNEL_WRAPPERS)
    no_kernel = vocabulary or name.startswith(("crd-sync/", "agent/compile/", "agent/plan/"))
    for quoted, angled in INCLUDE.findall(text):
        if quoted and not quoted.startswith(allowed):
            yield f'includes "{quoted}"; accepted: {", ".join(allowed)}'
        if quoted.startswith(KERNEL_WRAPPERS) and no_kernel:
            yield f'includes "{quoted}", which talks to the kernel'
        excepted = angled in MAY_INCLUDE_ANGLED.get(name, ())
        if angled and no_kernel and NO_KERNEL.match(angled) and not name.startswith("maps/abi/") and not excepted:
            yield f"includes <{angled}>: no libbpf, no netlink here"


def purity(path, text):
    if not str(path).startswith(("agent/compile/", "agent/plan/")):
        return
    for _, angled in INCLUDE.findall(text):
        if NO_WORLD.match(angled):
            yield f"includes <{angled}>: this step is pure"
    for call in WORLD_CALLS.findall(without_code_comments(text)):
        yield f"calls {call}: this step is pure"


def independence(path, text):
    if not OF_THE_MODEL.match(str(path)):
        return
    for quoted, _ in INCLUDE.findall(text):
        if quoted and quoted not in THE_MODEL_MAY_INCLUDE:
            yield f'includes "{quoted}"; accepted: {", ".join(THE_MODEL_MAY_INCLUDE)}'
    for number in NUMBER_OF_THE_DATAPATH.findall(without_code_comments(text)):
        yield f"takes {number} from the datapath: the design says it"


def quoted_includes_exist(_path, text):
    for quoted, _ in INCLUDE.findall(text):
        if quoted and not (ROOT / quoted).is_file():
            yield f'includes "{quoted}", which is no path from the root of the repository'


def length(_path, text):
    lines = text.count("\n")
    if lines > MAX_LINES:
        yield f"{lines} lines; accepted: at most {MAX_LINES}. Split it by subject"


# The numbers that leave a program. Each exception has its reason.
VERDICT_NAME = re.compile(r"\b(TC_ACT_\w+|TCX_\w+|VERDICT_\w+|CGROUP_ALLOW|CGROUP_REFUSE)\b")
VERDICT_MAY_STAND_IN = {
    "bpf/conclude.h": {"TC_ACT_*", "TCX_*", "VERDICT_*"},
    # from_uplink drops but one thing: it says who sends.
    "bpf/uplink.h": {"VERDICT_NEXT"},
    "bpf/bucket.h": {"VERDICT_DROP"},  # of what runs for no packet
    # cgroup hooks speak other numbers; their verdict is still conclude's.
    "bpf/cgroup.h": {"VERDICT_NEXT", "CGROUP_ALLOW", "CGROUP_REFUSE"},
}
PROGRAM = re.compile(r'^SEC\("(?P<section>[^"]+)"\)\s*\nint (?P<name>\w+)\([^)]*\)\n\{\n(?P<body>.*?)^\}', re.M | re.S)
LEAVES_BY = {
    # leave() puts what has to wait into its queue, and concludes everything else.
    "from_guest": ("return leave(",),
    "to_guest": ("return leave(",),
    "from_queue": ("return conclude(", "return bpf_redirect("),
    "from_uplink": ("return VERDICT_NEXT;", "return refuse_piece("),
    "guest_connect4": ("return connect_verdict(",),
    "guest_connect6": ("return connect_verdict(",),
    "read_tables": ("return 0;",),  # judges nothing
    "settle_buckets": ("return VERDICT_DROP;",),  # nor does this
    "guest_skb_egress": ("return socket_verdict(",),
    "guest_skb_ingress": ("return socket_verdict(",),
}


def verdict_names(path, text):
    allowed = VERDICT_MAY_STAND_IN.get(str(path), set())
    for name in VERDICT_NAME.findall(without_code_comments(text)):
        if not any(re.fullmatch(pattern.replace("*", r"\w+"), name) for pattern in allowed):
            yield f"{name} outside of conclude()"


def program_exits(_path, text):
    for program in PROGRAM.finditer(without_code_comments(text)):
        accepted = LEAVES_BY.get(program["name"], ("return conclude(",))
        exits = re.findall(r"return\b[^;]*;", program["body"])
        for leave in exits:
            if not leave.startswith(accepted):
                yield f"{program['name']} leaves by '{leave}'; accepted: {accepted[0]}"
        if not exits:
            yield f"{program['name']} has no return"


# A loop keeps alive what its range refers to only where that is the temporary itself (C++20): value() of one refers
# into what is gone after the first line.
DANGLING = re.compile(r"for \([^;()]*: [^;\s]*\)\.value\(\)\)(?!\))")


def dangling_ranges(_path, text):
    for found in DANGLING.findall(without_code_comments(text)):
        yield f"'{found}' walks over what is gone"


def bpf_sources():
    return [path for path in sources() if path.parts[0] == "bpf"]


def long_lived_files():
    endings = (".cc", ".h", ".c", ".py", ".sh")
    return [path for path in tracked_files() if path.suffix in endings or path.parts[0] == "scripts"]


def test_includes_point_one_way():
    assert not complaints(include_direction, sources())


def test_compile_and_plan_are_pure():
    assert not complaints(purity, sources())


def test_the_model_is_independent():
    assert not complaints(independence, sources())
    assert sum(1 for path in sources() if OF_THE_MODEL.match(str(path))) == 10


def test_quoted_includes_are_paths_from_the_root():
    assert not complaints(quoted_includes_exist, sources())


def test_no_file_is_too_long():
    assert not complaints(length, long_lived_files())


def test_no_loop_walks_over_a_results_temporary():
    assert not complaints(dangling_ranges, [path for path in sources() if path.suffix in (".cc", ".h")])


def test_verdicts_stand_in_conclude_only():
    assert not complaints(verdict_names, bpf_sources())


def test_programs_leave_by_one_function():
    assert not complaints(program_exits, bpf_sources())
    found = {match["name"] for path in bpf_sources() for match in PROGRAM.finditer(read(path))}
    assert found == set(LEAVES_BY), "programs of the object and of this table"


def bad(check, path, text):
    return list(check(pathlib.PurePosixPath(path), text))


def test_these_checks_can_fail():
    assert bad(include_direction, "bpf/x.h", '#include "agent/plan/plan.h"\n')
    assert bad(include_direction, "maps/x.h", '#include "crd-sync/names.h"\n')
    assert bad(include_direction, "maps/x.h", "#include <bpf/libbpf.h>\n")
    assert bad(include_direction, "crd-sync/x.cc", "#include <netlink/route/link.h>\n")
    assert bad(include_direction, "crd-sync/api/x.cc", "#include <sys/epoll.h>\n")
    assert bad(include_direction, "agent/compile/x.cc", '#include "maps/kernel/maps.h"\n')
    assert not bad(include_direction, "bpf/x.h", '#include "maps/abi/base.h"\n#include <bpf/bpf_helpers.h>\n')
    assert bad(include_direction, "agent/shape/x.cc", '#include "agent/apply/datapath.h"\n')
    assert bad(purity, "agent/plan/x.cc", "#include <fstream>\n")
    assert bad(purity, "agent/compile/x.cc", "auto now = std::chrono::system_clock::now();\n")
    assert not bad(purity, "agent/compile/x.cc", "// system_clock::now is for others\n")
    assert bad(independence, "tests/model/flows.cc", '#include "agent/plan/encode.h"\n')
    assert bad(independence, "tests/model/flows.cc", "return bytes > GRANTD_ICMP_ERROR_MAX_BYTES;")
    assert not bad(independence, "tests/model/flows.cc", "return GRANTD_REASON_FRAGMENT;  // as GRANTD_SLOTS\n")
    assert bad(quoted_includes_exist, "maps/x.h", '#include "no_such.h"\n')
    assert bad(dangling_ranges, "x.cc", "for (const auto& [key, flow] : table.value()->entries().value()) {")
    assert not bad(dangling_ranges, "x.cc", "for (const auto& each : around(IpPrefix::parse(text).value())) {")
    assert not bad(dangling_ranges, "x.cc", "for (const auto& each : entries.value()) {")
    assert bad(length, "x.cc", "\n" * (MAX_LINES + 1))
    assert bad(verdict_names, "bpf/flow.h", "return TC_ACT_OK;")
    assert bad(verdict_names, "bpf/uplink.h", "return VERDICT_DROP;")
    assert bad(program_exits, "bpf/x.h", 'SEC("tc")\nint from_guest(struct __sk_buff *skb)\n{\n\treturn 0;\n}\n')
