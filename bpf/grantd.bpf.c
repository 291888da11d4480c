/* The datapath: one object, one program a hook. Read bpf/guest.h first. */
#include "bpf/maps.h"

#include "bpf/cgroup.h"
#include "bpf/guest.h"
#include "bpf/tables.h"
#include "bpf/uplink.h"

char LICENSE[] SEC("license") = "GPL";
