#include "tests/model/campaign.h"

#include "agent/snapshot/snapshot.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <vector>

namespace grantd::model {
namespace {

std::uint64_t mixed(std::uint64_t seed, std::uint64_t number, std::uint64_t kind) {
  return Random(Random(seed * 2 + kind).next() + number).next();
}

void tell(Duel& duel, Trial trial, const Found& found, const Campaign& campaign, const char* kind,
          std::uint64_t number) {
  trial.steps.resize(std::min(trial.steps.size(), found.step + 1));
  const Trial small = shrink(duel, trial, found.disagreement);
  std::printf("seed %llu, %s %llu, step %zu: %s (model: %s, datapath: %s)\n%s\n",
              static_cast<unsigned long long>(campaign.seed), kind, static_cast<unsigned long long>(number), found.step,
              found.disagreement.what.c_str(), reason_label(found.disagreement.model),
              reason_label(found.disagreement.kernel),
              row(duel, small, "seed " + std::to_string(campaign.seed)).c_str());
  std::fflush(stdout);
}

void work(const Campaign& campaign, unsigned worker, Totals& totals) {
  Duel duel;
  const auto compare = [&](const Trial& trial, const char* kind, std::uint64_t number) {
    totals.steps += trial.steps.size();
    try {
      if (const auto found = play(duel, trial)) {
        totals.disagreements++;
        tell(duel, trial, *found, campaign, kind, number);
      }
    } catch (const std::exception& error) {
      // Neither a verdict nor none: whatever it is, it has to be repeated by somebody.
      std::printf("seed %llu, %s %llu: %s\n%s\n", static_cast<unsigned long long>(campaign.seed), kind,
                  static_cast<unsigned long long>(number), error.what(),
                  row(duel, trial, "seed " + std::to_string(campaign.seed)).c_str());
      std::fflush(stdout);
      throw;
    }
    totals.counts = duel.counts();
  };
  for (std::uint64_t at = worker; at < campaign.worlds; at += campaign.jobs, totals.worlds++)
    compare(packets_trial(mixed(campaign.seed, campaign.first_world + at, 0), kPacketsPerWorld), "world",
            campaign.first_world + at);
  for (std::uint64_t at = worker; at < campaign.sequences; at += campaign.jobs, totals.sequences++)
    compare(sequence_trial(mixed(campaign.seed, campaign.first_sequence + at, 1)), "sequence",
            campaign.first_sequence + at);
}

}  // namespace

Totals run_campaign(const Campaign& campaign) {
  std::fflush(stdout);
  const std::size_t bytes = campaign.jobs * sizeof(Totals);
  void* const shared = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw std::runtime_error("mmap");
  auto* const each = static_cast<Totals*>(shared);
  std::vector<pid_t> workers;
  for (unsigned worker = 0; worker < campaign.jobs; worker++) {
    const pid_t pid = fork();
    if (pid < 0) throw std::runtime_error("fork");
    if (pid == 0) {
      try {
        work(campaign, worker, each[worker]);
        _exit(0);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "worker %u, after %llu worlds and %llu sequences: %s\n", worker,
                     static_cast<unsigned long long>(each[worker].worlds),
                     static_cast<unsigned long long>(each[worker].sequences), error.what());
        _exit(1);
      }
    }
    workers.push_back(pid);
  }
  Totals all;
  for (const pid_t pid : workers) {
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || status != 0) all.crashed++;
  }
  for (unsigned worker = 0; worker < campaign.jobs; worker++) {
    all.worlds += each[worker].worlds;
    all.sequences += each[worker].sequences;
    all.steps += each[worker].steps;
    all.disagreements += each[worker].disagreements;
    all.counts.packets += each[worker].counts.packets;
    all.counts.passed += each[worker].counts.passed;
    for (std::size_t direction = 0; direction < GRANTD_DIRECTIONS; direction++)
      all.counts.refused_by_bucket[direction] += each[worker].counts.refused_by_bucket[direction];
    all.counts.ended += each[worker].counts.ended;
    all.counts.begun += each[worker].counts.begun;
    all.counts.undecided += each[worker].counts.undecided;
    all.counts.refused_by_test_run += each[worker].counts.refused_by_test_run;
    for (std::size_t reason = 0; reason < all.counts.by_reason.size(); reason++)
      all.counts.by_reason[reason] += each[worker].counts.by_reason[reason];
  }
  munmap(shared, bytes);
  return all;
}

}  // namespace grantd::model
