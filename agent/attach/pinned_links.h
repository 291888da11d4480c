// The links that are pinned: a pin's name says where its link stands, and a link that stands keeps a pin.
#pragma once

#include "agent/attach/links.h"
#include "agent/plan/attachment.h"
#include "maps/descriptor.h"
#include "maps/result.h"

#include <optional>
#include <string>
#include <vector>

namespace grantd {

struct PinnedLink {
  std::string path;
  Attachment attachment;  // by the pin's name
  Descriptor link;
  LinkInfo info;
  // Where it stands, in this network namespace. An interface that was moved through another one may have another index
  // than the pin's name says, and is closed by its link as before. Nothing: it stands in another one now, under an
  // index that may be another interface's here, or it is no link of ours.
  std::optional<Attachment> place;

  // The interface or cgroup that it was made for is there no more.
  bool defunct() const { return info.ifindex == 0 && info.cgroup_id == 0; }
  // Elsewhere than the pin's name says. What live_links() gives is so only where its interface is in another network
  // namespace.
  bool away() const { return place != attachment; }
  // By the kernel's word; by the pin's name where that has several of our hooks, or is none of ours.
  Hook hook() const;
};

// All of a directory, defunct ones too.
Result<std::vector<PinnedLink>> pinned_links(const std::string& directory);
// Where a link stands that was made for this hook.
Result<std::optional<Attachment>> place_of(const LinkInfo& info, Hook hook);
// Those that stand somewhere. Removes the pins of the others, ends those that stand behind another of them on one hook,
// and gives each the name of where it stands now, or in another network namespace a name of its own. Needs the
// directory's lock.
Result<std::vector<PinnedLink>> live_links(const std::string& directory);
// The live link behind a pin; nothing where there is no pin, or where its link does not stand where the name says.
Result<std::optional<PinnedLink>> live_link(const std::string& path, const Attachment& attachment);

// Pins a link, in one step also where another is pinned by that name, which ends with its last descriptor.
Result<void> pin_over(const Descriptor& link, const std::string& directory, const std::string& name);
// Pins a link without a pin under a name of its own; live_links() gives it the one of where it stands.
Result<void> pin_aside(const Descriptor& link, const std::string& directory, Hook hook, const LinkInfo& info);
// What an agent that died had begun in pin_over. Gives each link the name of where it stands.
Result<void> finish_moves(const std::string& directory);
// What is not there is no error.
Result<void> remove_pin(const std::string& path);

}  // namespace grantd
