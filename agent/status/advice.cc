#include "agent/status/advice.h"

namespace grantd {

// Without a default, so that the compiler names what was forgotten.
const char* advice(Cause cause) {
  switch (cause) {
    case Cause::None:
      return "";
    case Cause::RealmUnclear:
      return "Correct the label keystone.io/realm of the namespace, or use a namespace whose name says the same realm";
    case Cause::LabelsUnclear:
      return "Take labels off the pod: at most 256, and 16 KiB together";
    case Cause::NoGrant:
      return "Create a Grant in keystone-system whose spec.granteeRealm is the guest's realm";
    case Cause::GrantNotOfRealm:
      return "Correct the label keystone.io/grant: it names a Grant in keystone-system of the guest's own realm";
    case Cause::GrantLeavesItOut:
      return "Change spec.selector of the Grant or the labels of the pod, or create a Grant that chooses it";
    case Cause::GrantNotActive:
      return "Set spec.validity of the Grant so that it is active now, or name an active one by the label "
             "keystone.io/grant";
    case Cause::SeveralGrants:
      return "Set the label keystone.io/grant of the namespace or of the pod to the name of one of them";
    case Cause::GrantRefused:
      return "Correct the Grant; its Events and this node's GrantNodeStatus say how";
    case Cause::WorkloadRefused:
      return "Correct the Workload; the agent's log and `grantctl endpoints` say how";
    case Cause::NoRoom:
      return "Run fewer guests or Grants on this node, or raise the agent's limit that `grantctl status` shows as "
             "reached";
    case Cause::ClockNotTrusted:
      return "Set the clock of the node and let it be kept, as by chrony or systemd-timesyncd";
    case Cause::NotAsRecorded:
      return "Delete the pod: the one that takes its place gets an interface of its own again";
    case Cause::MacUnknown:
      return "Let the node's network plugin attach guests by veth or netkit, and delete the pod";
    case Cause::AddressOfNode:
      return "Take the address out of the range of the node's network plugin, and delete the pod";
    case Cause::AddressShared:
      return "Delete the pods that share it, and see why the node's network plugin gives an address twice";
    case Cause::NotInForce:
      return "The agent tries again; its log says why it fails (kubectl -n keystone-system logs --prefix -l "
             "app.kubernetes.io/name=grantd)";
    case Cause::InterfaceNotFound:
      return "See that grantd-cni is in the node's chain (00-grantd.conflist, and the agent's log), and delete the pod";
    case Cause::HostNetwork:
      return "Remove spec.hostNetwork and create the pod anew";
  }
  return "";
}

const char* advice(GapKind gap) {
  switch (gap) {
    case GapKind::ProgramMissing:
      return "The agent attaches it again at its next look; where this stays, something on the node takes it away, or "
             "the agent's log says why it fails";
    case GapKind::TableMissing:
      return "The agent makes them again; where this stays, its log says what is full: raise that limit, or the memory "
             "of the DaemonSet";
    case GapKind::PolicyDiffers:
    case GapKind::RecordDiffers:
    case GapKind::RealmsDiffer:
    case GapKind::UplinkDiffers:
      return "The agent writes it again at its next look; where this stays, its log says why it fails (kubectl -n "
             "keystone-system logs --prefix -l app.kubernetes.io/name=grantd)";
    case GapKind::StillInForce:
      return "The agent takes it back at its next look; where this stays, its log says why it fails; delete the pods "
             "to close them now";
    case GapKind::GuestsWait:
      return "Wait: the agent attaches one guest after the other, and its log says how many wait and how long it takes";
    case GapKind::GateMissing:
      return "Give the node a kernel with nf_tables for inet, bridge and arp, or no guest NET_ADMIN; where the kernel "
             "has them, see who else holds a table `grantd` of nftables";
  }
  return "";
}

}  // namespace grantd
