/* The maps, as maps/abi describes them. Configuration is never written here, state never by
 * user space (rule 14). max_entries are defaults: the loader sets them. Where there is twice the
 * limit, old and new entries stand side by side while a change is made. */
#ifndef GRANTD_BPF_MAPS_H
#define GRANTD_BPF_MAPS_H

#include "maps/abi/base.h"
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "maps/abi/about.h"
#include "maps/abi/bound.h"
#include "maps/abi/bucket.h"
#include "maps/abi/clock.h"
#include "maps/abi/counter.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/flow.h"
#include "maps/abi/identity.h"
#include "maps/abi/layout.h"
#include "maps/abi/limits.h"
#include "maps/abi/policy.h"
#include "maps/abi/queue.h"

/* ---- configuration: the agent writes ---- */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, GRANTD_SLOTS);
	__type(key, __u32);
	__type(value, struct grantd_grant);
} grantd_grant SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GRANTD_MAX_POLICIES);
	__type(key, __u64);
	__type(value, struct grantd_policy);
} grantd_policy SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GRANTD_MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, struct grantd_endpoint);
} grantd_endpoint SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GRANTD_MAX_ENDPOINTS);
	__type(key, __u64);
	__type(value, struct grantd_endpoint);
} grantd_hostguest SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * GRANTD_MAX_PREFIXES);
	__type(key, struct grantd_identity_key);
	__type(value, struct grantd_identity);
} grantd_identity SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * GRANTD_MAX_RULES);
	__type(key, struct grantd_rule_key);
	__type(value, struct grantd_ranges);
} grantd_rule SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * GRANTD_MAX_RULES);
	__type(key, struct grantd_idrule_key);
	__type(value, struct grantd_ranges);
} grantd_idrule SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GRANTD_MAX_UPLINKS);
	__type(key, __u32);
	__type(value, struct grantd_uplink);
} grantd_uplink SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct grantd_shaper);
} grantd_shaper SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * GRANTD_MAX_ENDPOINTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct grantd_queue);
} grantd_queue SEC(".maps");

/* The kernel takes BTF for none of this type. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 2 * GRANTD_MAX_ENDPOINTS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} grantd_device SEC(".maps");

/* No program reads it: the numbers that follow from it stand in each. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct grantd_seal);
} grantd_seal SEC(".maps");

/* ---- names for people: the agent writes, no program reads ---- */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, GRANTD_SLOTS);
	__type(key, __u32);
	__type(value, struct grantd_slotname);
} grantd_slotname SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, GRANTD_MAX_IDENTITIES);
	__type(key, __u32);
	__type(value, struct grantd_idname);
} grantd_idname SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * GRANTD_MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, struct grantd_guest);
} grantd_guest SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * GRANTD_MAX_RULES);
	__type(key, struct grantd_source_key);
	__type(value, struct grantd_source);
} grantd_source SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct grantd_node);
} grantd_node SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GRANTD_BOUNDS);
	__type(key, __u32);
	__type(value, struct grantd_bound);
} grantd_bound SEC(".maps");

/* ---- state: the programs write ---- */

struct grantd_flow_table {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, GRANTD_FLOWS_PER_GRANT);
	__type(key, struct grantd_flow_key);
	__type(value, struct grantd_flow);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GRANTD_SLOTS);
	__type(key, __u32);
	__array(values, struct grantd_flow_table);
} grantd_flow SEC(".maps");

struct grantd_frag_table {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, GRANTD_FRAGMENTS_PER_GRANT);
	__type(key, struct grantd_frag_key);
	__type(value, struct grantd_frag);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GRANTD_SLOTS);
	__type(key, __u32);
	__array(values, struct grantd_frag_table);
} grantd_frag SEC(".maps");

struct grantd_counter_table {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GRANTD_COUNTERS);
	__type(key, __u32);
	__type(value, struct grantd_counter);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GRANTD_SLOTS);
	__type(key, __u32);
	__array(values, struct grantd_counter_table);
} grantd_counter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GRANTD_SLOTS *GRANTD_DIRECTIONS);
	__type(key, __u32);
	__type(value, struct grantd_bucket);
} grantd_bucket SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GRANTD_SLOTS *GRANTD_DIRECTIONS);
	__type(key, __u32);
	__type(value, struct grantd_credit);
} grantd_credit SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4 * GRANTD_MAX_ENDPOINTS);
	__type(key, struct grantd_usage_key);
	__type(value, struct grantd_usage);
} grantd_usage SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GRANTD_SLOTS *GRANTD_DIRECTIONS);
	__type(key, __u32);
	__type(value, struct grantd_delay);
} grantd_delay SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct grantd_clock);
} grantd_clock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, GRANTD_EVENT_RING_BYTES);
} grantd_event SEC(".maps");

/* Never read. clang 14 describes a struct in BTF only where a variable has its type, and without
 * that the inner tables could be neither made nor dumped. */
const struct {
	struct grantd_flow_key flow_key;
	struct grantd_flow flow;
	struct grantd_frag_key frag_key;
	struct grantd_frag frag;
	struct grantd_counter counter;
} inner_types = {};

/* ---- settings of this instance, fixed when it is loaded ---- */

/* Judge as always, and leave nothing behind: no flow, counter, token or event. */
const volatile bool dry_run = false;
const volatile __u64 seal_numbers[GRANTD_SEAL_NUMBERS]; /* secret; odd */
const volatile __u32 stamp_mask = GRANTD_STAMP_MASK_DEFAULT;
const volatile __u32 stamp_identity_mask = (1U << GRANTD_STAMP_IDENTITY_BITS) - 1;
const volatile __u32 stamp_identity_shift = 0;
const volatile __u32 stamp_tag = GRANTD_STAMP_TAG & GRANTD_STAMP_MASK_DEFAULT;

/* Written by a dry_run instance only. */
struct grantd_explanation grantd_explanation = {};

#endif
