// The resources of keystone.io/v1alpha1 as plain values, validated each by itself. What concerns
// several of them together is admission's business (crd-sync/admission.h), what concerns this node
// is compile's (agent/compile).
#pragma once

#include "crd-sync/cause.h"
#include "crd-sync/label_selector.h"
#include "crd-sync/shared_list.h"
#include "crd-sync/shared_text.h"
#include "maps/address.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;

// Where a value was written: for messages, and for `grantctl explain`.
struct SourcePosition {
  SharedText file;   // path as given, or "kubernetes"
  int document = 0;  // 1-based within the file
  int line = 0;      // 1-based; 0 where unknown
};

// Of a field of the object that stands at `object`; `line` is 0 where it is not known.
inline SourcePosition place_of_field(const SourcePosition& object, int line) {
  return {object.file, object.document, line > 0 ? line : object.line};
}

enum class Severity { Error, Warning };

// One thing wrong, or worth knowing, about one object. One line for a person:
//   FILE:LINE (document N): KIND NAME: FIELD: VALUE: what is wrong; accepted: what is.
struct Problem {
  Severity severity = Severity::Error;
  SourcePosition position;
  std::string object;        // "Grant keystone-system/alice-to-bob", "" where the document names none
  std::string field;         // "spec.networkPolicy.allowedDestinations[2]"
  std::string value;         // as written, escaped and cut to 120 bytes
  std::string message;       // what is wrong
  std::string accepted;      // what is accepted, "" for warnings where nothing is
  bool empty_value = false;  // `value` is empty because what was written is
  bool consequence = false;  // an error whose cause is told as another object's: shown as a warning
  std::string also = {};     // another object that it says something of: the Realm around a nested prefix

  Severity shown() const { return consequence ? Severity::Warning : severity; }
  std::string text() const;
};

// Of a file, a directory or a server as a whole.
inline Problem problem_at(Severity severity, SharedText place, std::string message, std::string accepted = "") {
  return {severity, {std::move(place), 0, 0}, "", "", "", std::move(message), std::move(accepted)};
}

// Untrusted: nobody is believed there; a node's setting only, never a Realm's.
enum class UplinkClass : std::uint8_t { Tailnet = 1, Lan = 2, Overlay = 3, Untrusted = 4 };

struct RealmAddress {
  IpPrefix prefix;
  SourcePosition position;
};

struct Realm {
  std::string name;
  std::string identity;
  int identity_line = 0;
  std::vector<RealmAddress> addresses;
  std::vector<UplinkClass> uplinks;  // empty: by address (tailnet for Tailscale's ranges, else lan)
  struct Tailnet {
    std::vector<std::string> dns_names, tags, node_ids;
    bool empty() const { return dns_names.empty() && tags.empty() && node_ids.empty(); }
  } tailnet;
  SourcePosition position;
};

// A prefix that a refused Realm names.
struct RefusedPrefix {
  IpPrefix prefix;
  std::string realm;   // its name; "" where it cannot be told
  std::string object;  // Problem::object
  SourcePosition position;
};

enum class Protocol : std::uint8_t { Any = 0, Icmp = 1, Tcp = 6, Udp = 17, Sctp = 132 };

// One protocol and its ports; ports are 0-65535 where none were named.
struct PortRange {
  Protocol protocol = Protocol::Any;
  std::uint16_t low = 0;
  std::uint16_t high = 65535;
  auto operator<=>(const PortRange&) const = default;
};

struct Destination {
  enum class Kind { Prefix, Realm, Internet, Service };
  Kind kind = Kind::Prefix;
  IpPrefix prefix;                // Kind::Prefix
  std::string name;               // Kind::Realm: its name; Kind::Service: NAMESPACE/NAME
  std::vector<PortRange> ranges;  // what is opened there; never empty
  std::string text;               // as written
  SourcePosition position;
};

// What tells versions of one name apart, as the API server counts them.
struct ObjectHead {
  std::string uid;              // "" in manifests
  std::int64_t generation = 0;  // grows with the spec; 0 where unknown
  bool operator==(const ObjectHead&) const = default;
};

enum class Party { Grantee, Grantor, LocalNode, SameGrant };
const char* party_name(Party party);  // "Grantee", as in a Grant

// A field of a manifest, for people.
struct WrittenField {
  std::string text;  // "spec.revoked: true"
  SourcePosition position;
};

struct Grant {
  std::string namespace_name, name;
  std::string grantor_realm, grantee_realm;
  int grantor_line = 0, grantee_line = 0;
  std::map<std::string, std::string> hard;                               // validated quantities, as written
  std::optional<std::uint64_t> egress_bps, ingress_bps;                  // bits per second
  std::optional<std::uint64_t> egress_burst_bytes, ingress_burst_bytes;  // bytes
  int egress_burst_line = 0, ingress_burst_line = 0;
  bool egress_allowed = false;
  SharedList<Destination> destinations;  // also kept when egress_allowed is false; then ignored
  std::vector<Party> ingress_from = {Party::Grantee, Party::Grantor, Party::LocalNode, Party::SameGrant};
  std::vector<SourcePosition> ingress_from_at;  // where each of them stands; empty where they are the default
  bool dns_cluster = false;
  int dns_line = 0;
  LabelSelector namespace_selector, pod_selector;  // the pods that it may govern; both must choose them
  std::optional<WallTime> valid_from, valid_until;
  bool revoked = false;
  std::chrono::seconds notice_period{0};
  std::vector<WrittenField> time_fields;  // what lets it begin and end
  std::string spec_hash;                  // of the spec as written, canonical: "until its spec changes"
  ObjectHead head;                        // of this version
  bool made_anew = false;                 // what was in force under its name was another Grant's, which was deleted
  SourcePosition position;

  std::string key() const { return namespace_name + "/" + name; }
};

// What the API server says of a guest that is a pod. Which Grant governs it is compile's to say, because that
// depends on the time; where it is attached is found on the node, by its uid.
struct GuestPod {
  std::string uid;
  std::string node_uid;  // by which the kubelet and the runtime know it; a static pod's is not that of its mirror
  std::string realm;     // "" where the guest is in quarantine
  std::string namespace_grant;      // name of a Grant, by the namespace's label: the grantor's choice; "" for none
  std::string own_grant;            // by the pod's own label, which the guest may write; "" for none
  Labels labels, namespace_labels;  // for Grants' selectors
  bool host_network = false;
  enum class Qos : std::uint8_t { Guaranteed, Burstable, BestEffort } qos = Qos::BestEffort;
};

// A guest. Standalone mode: ties a local interface, or a cgroup, to a Grant. Kubernetes: a pod.
struct Workload {
  std::string name;                  // NAMESPACE/NAME of a pod
  std::string grant;                 // NAMESPACE/NAME; a bare name means keystone-system/NAME
  std::string interface;             // "" for a guest on the host network
  std::vector<IpAddress> addresses;  // at most 4 of each family; at most one link-local
  std::optional<MacAddress> mac;     // where the kernel cannot tell (not a veth)
  std::string cgroup;                // path below the cgroup v2 root, "" for none
  std::string quarantine;            // why no Grant governs it, whatever there is; "" where one may
  Cause cause = Cause::None;         // of that
  std::optional<GuestPod> pod;       // of Kubernetes; then grant, interface, mac and cgroup are empty
  int grant_line = 0, interface_line = 0, mac_line = 0, cgroup_line = 0;
  std::vector<int> address_lines;  // as `addresses`; empty where they are not known
  SourcePosition position;

  std::string text() const { return (pod ? "Pod " : "Workload ") + name; }  // as Problem::object
};

}  // namespace grantd
