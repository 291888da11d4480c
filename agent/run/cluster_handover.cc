#include "agent/run/cluster_handover.h"

#include "agent/handover/guest_namespaces.h"
#include "agent/node/clock.h"
#include "agent/plan/close_ended.h"
#include "agent/run/log.h"
#include "agent/run/tell_failures.h"

#include <utility>

namespace grantd {

std::optional<Problem> hand_over_namespaces(const Settings& settings, const KubernetesSource& api,
                                            const DesiredState* desired, bool vouches) {
  GuestNamespaces wanted{settings.guest_namespaces, {}, {}};
  if (desired) {
    wanted.guests = desired->labelled_namespaces;
    wanted.former_guests = desired->former_guests;
    if (vouches) wanted.ordinary = desired->ordinary_namespaces;
  } else if (auto labelled = api.labelled()) {
    wanted.guests = std::move(*labelled);
    wanted.former_guests = api.before().pods;
  } else {
    return std::nullopt;
  }
  const auto kept = keep_guest_namespaces(settings.state_dir, wanted);
  if (kept) return std::nullopt;
  return problem_at(Severity::Error, settings.state_dir,
                    "grantd-cni cannot be told which namespaces are guests': " + kept.error().message);
}

void close_ended_grants(KubernetesSource& api, Applier& applier) {
  const std::vector<Grant>* grants = api.grants();
  if (!grants) return;
  const ApplyReport report = applier.apply(close_ended(applier.state(), *grants), boot_now());
  tell_failures(report, applier.state());
  if (report.done > 0)
    log_warning("Grants that have ended are closed; more is not known yet", {{"count", std::to_string(report.done)}});
}

}  // namespace grantd
