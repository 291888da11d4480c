// How a pass is put in force.
#include "agent/plan/in_force.h"
#include "agent/run/agent.h"
#include "agent/run/log.h"
#include "agent/run/tell_failures.h"

#include <string>
#include <utility>

namespace grantd {

namespace {

constexpr BootNanoseconds kAttachFor = GRANTD_NS_PER_SECOND;

std::string milliseconds(BootNanoseconds nanoseconds) {
  const auto tenths = nanoseconds / 100'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " ms";
}

}  // namespace

// Guests that came with an edit, and wait for it, are open until their turn: that comes before anything that may wait
// for a disk.
ApplyReport Agent::carry_out(const CompiledPolicy& compiled, const TimeFacts& time, PassTimes times, Plan& plan) {
  const auto once = [&] {
    plan = grantd::plan(applier_->state(), compiled, plan_facts(time));
    times.planned = boot_now();
    return carry_out_once(plan, time, times);
  };
  ApplyReport report = once();
  if (!guests_waited_) return report;
  const std::size_t done = report.done;
  report = once();
  report.done += done;
  return report;
}

ApplyReport Agent::carry_out_once(const Plan& plan, const TimeFacts& time, const PassTimes& times) {
  // An edit is in force before guests that came with it are attached, and before the rest of those that came before it.
  // They wait for no more than one: edits may come without end.
  const bool wait = !std::exchange(guests_waited_, false) && changes_what_is_in_force(plan, applier_->state());
  BootNanoseconds first_at = 0;
  ApplyReport report = applier_->apply(plan, time.boot_now, [&] {
    metrics_.turn();  // of thousands of new guests each takes its time
    const BootNanoseconds now = boot_now();
    if (wait || std::exchange(first_at, first_at ? first_at : now) == 0) return wait;
    source_changed_ |= source_->drain();
    return source_changed_ || (!failed_before_ && now - first_at > kAttachFor);
  });
  failed_before_ = !report.failed.empty();  // then each guest is tried in one pass: none waits behind those that fail
  guests_waited_ = wait && !report.postponed.empty();
  tell_failures(report, applier_->state());
  if (!report.closed.empty() || !report.closed_guests.empty() || report.nobody_believed)
    retry_.forget();  // soon, however long something else has failed
  if (report.done > 0 && report.complete()) {
    grantd_node node = applier_->state().node;
    node.applied_at_ns = boot_now();
    Plan last;
    last.steps.push_back({operation::PutNode{node}, kNodeSubject});
    if (auto written = applier_->apply(last, time.boot_now); !written.complete())
      log_warning("cannot write down the time of the apply");
  }
  if (report.done > 0) {
    const BootNanoseconds end = boot_now();
    const auto in_force = times.planned - times.read + static_cast<BootNanoseconds>(report.in_force.count());
    status_.apply_durations.add(in_force);
    log_info("applied", {{"steps", std::to_string(report.done)},
                         {"guests_that_wait", std::to_string(report.postponed.size())},
                         {"in_force", milliseconds(in_force)},
                         {"took", milliseconds(end - times.read)},
                         {"compile", milliseconds(times.compiled - times.read)},
                         {"plan", milliseconds(times.planned - times.compiled)},
                         {"apply", milliseconds(end - times.planned)},
                         {"reading_before", milliseconds(times.read - times.begin)}});
  }
  return report;
}

}  // namespace grantd
