// The subcommands: read the maps, hand over to a view, print.
#pragma once

#include "agent/ctl/view/views.h"

#include <cstdint>
#include <string>

namespace grantd {

// Documented in --help.
enum Exit : int { kExitOk = 0, kExitNo = 1, kExitUsage = 2, kExitCannot = 3 };

struct CtlOptions {
  std::string pin_root, state_dir;
  Style style;
  Filter filter;
};

int run_status(const CtlOptions& options);
int run_grants(const CtlOptions& options);
int run_endpoints(const CtlOptions& options);
int run_drops(const CtlOptions& options);
int run_flows(const CtlOptions& options);

struct RepeatOptions {
  std::uint64_t interval_ms = 1000;  // of top
  std::uint64_t count = 0;           // tables of top, events of monitor; 0: until interrupted
  std::uint64_t seconds = 0;         // of monitor; 0: until interrupted
};
int run_top(const CtlOptions& options, const RepeatOptions& repeat);
int run_monitor(const CtlOptions& options, const RepeatOptions& repeat);
struct VerifyOptions {
  std::string manifests;  // a directory or a file; "": those that the agent follows, where they are a directory
  std::string pods;       // on a cluster, see pods_said.h; "": guests are not compared
};
// kExitNo: something is wrong, and is printed.
int run_verify(const CtlOptions& options, const VerifyOptions& asked);

struct ExplainOptions {
  std::string source, destination;
  std::string via;     // an uplink's class or interface
  bool local = false;  // from this node itself
};
// kExitOk: every packet asked for would pass, by one way at least. kExitNo: one would not.
int run_explain(const CtlOptions& options, const ExplainOptions& asked);

}  // namespace grantd
