#include "agent/run/keep_chain.h"

#include "agent/run/log.h"

namespace grantd {

namespace {

const char* attach_name(AttachSetting setting) {
  switch (setting) {
    case AttachSetting::Tcx:
      return "tcx";
    case AttachSetting::Clsact:
      return "clsact";
    case AttachSetting::Auto:
      break;
  }
  return "auto";
}

}  // namespace

Result<std::optional<ChainKeeper>> open_chain(const Settings& settings) {
  if (settings.cni_conf_dir.empty()) return std::optional<ChainKeeper>();
  ChainPlace place{settings.cni_conf_dir, settings.cni_bin_dir, settings.cni_plugin, {}};
  place.settings.pin_root = settings.pin_root;
  place.settings.state_dir = settings.state_dir;
  place.settings.record_dir = settings.cni_records;
  place.settings.namespace_pattern = settings.guest_namespaces;
  place.settings.attach = attach_name(settings.attach);
  place.settings.refuse_unknown = settings.cni_refuse_unknown;
  auto chain = ChainKeeper::open(std::move(place));
  if (!chain) return chain.error();
  return std::optional(std::move(chain).value());
}

void keep_chain(ChainKeeper& chain, AgentStatus& status) {
  const ChainKeeper::Done done = chain.keep();
  for (const std::string& each : done.followed) log_info("grantd-cni is put into the chain", {{"what", each}});
  for (const std::string& each : done.restored)
    log_warning("somebody took grantd-cni out of the chain; it is put back", {{"what", each}});
  status.chain = {chain.in_place(), chain.restored()};
}

}  // namespace grantd
