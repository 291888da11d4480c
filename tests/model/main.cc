// Without options: the tests. With them: a long run, as scripts/prove wants it.
#include "tests/model/campaign.h"

#include "agent/snapshot/snapshot.h"

#include <gtest/gtest.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>
#include <optional>

namespace grantd::model {
namespace {

using nlohmann::json;

json counts_json(const Totals& totals) {
  json reasons = json::object();
  for (unsigned reason = 0; reason < GRANTD_REASON_LIMIT; reason++)
    if (totals.counts.by_reason[reason]) reasons[reason_label(reason)] = totals.counts.by_reason[reason];
  return {{"packets", totals.counts.packets},
          {"passed", totals.counts.passed},
          {"worlds", totals.worlds},
          {"sequences", totals.sequences},
          {"steps", totals.steps},
          {"disagreements", totals.disagreements},
          {"not_taken_by_test_run", totals.counts.refused_by_test_run},
          {"refused_by_bucket_egress", totals.counts.refused_by_bucket[GRANTD_EGRESS]},
          {"refused_by_bucket_ingress", totals.counts.refused_by_bucket[GRANTD_INGRESS]},
          {"ended", totals.counts.ended},
          {"begun", totals.counts.begun},
          {"undecided", totals.counts.undecided},
          {"by_reason", reasons}};
}

void add(json& all, const json& more) {
  if (all.is_null()) all = json::object();
  for (const auto& [key, value] : more.items()) {
    if (value.is_object())
      add(all[key], value);
    else
      all[key] = all.value(key, std::uint64_t{0}) + value.get<std::uint64_t>();
  }
}

struct Options {
  std::uint64_t seed = 1, packets = 0, sequences = 0;
  unsigned jobs = 4;
  std::string resume, datapath;
  std::optional<std::uint64_t> world, sequence;  // this one alone
};

// In pieces; after each the counts so far are written, from which a later run goes on.
int long_run(const Options& options) {
  json done = {{"seed", options.seed}, {"datapath", options.datapath}, {"counts", json::object()}};
  if (std::ifstream file(options.resume); !options.resume.empty() && file) done = json::parse(file);
  if (done["seed"] != options.seed) {
    std::fprintf(stderr, "%s is of seed %s; accepted: that seed, or another file\n", options.resume.c_str(),
                 done["seed"].dump().c_str());
    return 2;
  }
  if (done["datapath"] != options.datapath) {
    std::fprintf(stderr, "%s is of another datapath, %s; accepted: a new file\n", options.resume.c_str(),
                 done["datapath"].dump().c_str());
    return 2;
  }
  const std::uint64_t worlds = (options.packets + kPacketsPerWorld - 1) / kPacketsPerWorld;
  for (;;) {
    json& counts = done["counts"];
    Campaign campaign;
    campaign.seed = options.seed;
    campaign.jobs = options.jobs;
    campaign.first_world = counts.value("worlds", std::uint64_t{0});
    campaign.first_sequence = counts.value("sequences", std::uint64_t{0});
    campaign.worlds = std::min<std::uint64_t>(400, worlds - std::min(worlds, campaign.first_world));
    campaign.sequences =
        std::min<std::uint64_t>(4000, options.sequences - std::min(options.sequences, campaign.first_sequence));
    if (campaign.worlds == 0 && campaign.sequences == 0) break;
    const Totals totals = run_campaign(campaign);
    if (totals.crashed) return 1;
    add(counts, counts_json(totals));
    if (!options.resume.empty()) {
      std::ofstream(options.resume + ".new") << done.dump(1) << "\n";
      std::rename((options.resume + ".new").c_str(), options.resume.c_str());
    }
    std::fprintf(stderr, "%s packets, %s sequences, %s disagreements\n", counts["packets"].dump().c_str(),
                 counts["sequences"].dump().c_str(), counts["disagreements"].dump().c_str());
  }
  std::printf("%s\n", done.dump(1).c_str());
  return done["counts"].value("disagreements", std::uint64_t{0}) == 0 ? 0 : 1;
}

int replay(const Options& options) {
  Campaign campaign;
  campaign.seed = options.seed;
  campaign.jobs = 1;
  campaign.worlds = options.world.has_value();
  campaign.first_world = options.world.value_or(0);
  campaign.sequences = options.sequence.has_value();
  campaign.first_sequence = options.sequence.value_or(0);
  const Totals totals = run_campaign(campaign);
  std::printf("%s\n", counts_json(totals).dump(1).c_str());
  return totals.crashed || totals.disagreements ? 1 : 0;
}

}  // namespace
}  // namespace grantd::model

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  grantd::model::Options options;
  CLI::App app{"The datapath against the reference model. Without options: its tests."};
  app.add_option("--seed", options.seed, "of all that is made up; the same seed repeats a run");
  app.add_option("--packets", options.packets, "how many, in worlds of 2,000");
  app.add_option("--sequences", options.sequences, "how many, mostly of 10 to 50 steps");
  app.add_option("--world", options.world, "this world again, by the number that its disagreement was printed with");
  app.add_option("--sequence", options.sequence, "this sequence again");
  app.add_option("--jobs", options.jobs, "processes")->check(CLI::Range(1U, 64U));
  app.add_option("--resume", options.resume, "FILE that counts are kept in, and gone on from");
  app.add_option("--datapath", options.datapath, "what the counts are of; kept with them");
  CLI11_PARSE(app, argc, argv);
  if (options.world || options.sequence) return grantd::model::replay(options);
  if (options.packets == 0 && options.sequences == 0) return RUN_ALL_TESTS();
  return grantd::model::long_run(options);
}
