#include "agent/marks/collisions.h"

#include <bit>
#include <map>
#include <tuple>

namespace grantd {

namespace {

constexpr std::uint32_t kAllBits = ~0U;
// Tailscale, kube-proxy, kube-router, portmap.
constexpr std::uint32_t kWellKnown = 0x00ff0000U | 0x0000c000U | 0x00030000U | 0x00002000U;

StampHarm harm_of_set(const StampSettings& stamp, const MarkUse& use) {
  if ((use.value ^ stamp.tag) & use.mask & tag_bits(stamp)) return StampHarm::Loses;
  return use.mask & identity_bits(stamp) ? StampHarm::Alters : StampHarm::None;
}

// Whether there is a stamp whose bits within the mask are those of the value.
bool a_stamp_matches(const StampSettings& stamp, std::uint32_t mask, std::uint32_t value) {
  if ((value ^ stamp.tag) & mask & tag_bits(stamp)) return false;
  const std::uint32_t highest = ((value & mask) | ~mask) & identity_bits(stamp);
  return highest >> stamp.identity_shift >= GRANTD_IDENTITY_FIRST;
}

const char* sentence(StampHarm harm) {
  switch (harm) {
    case StampHarm::None:
      break;
    case StampHarm::Alters:
      return "changes the identity in a stamp: a packet to which it applies may pass for another party's";
    case StampHarm::Overwrites:
      return "writes over the stamp what it takes from elsewhere: the sender of a packet to which it applies is nobody "
             "and refused, or another party where a stamp was saved there";
    case StampHarm::Loses:
      return "overwrites the stamp: the sender of a packet to which it applies is nobody, and refused";
    case StampHarm::Mistakes:
      return "takes some stamps for its mark";
    case StampHarm::Hides:
      return "does not find its mark on a packet that has a stamp";
    case StampHarm::Expects:
      return "waits for a mark in the bits of the stamp: whatever sets it overwrites stamps";
    case StampHarm::Saves:
      return "copies stamps into the connection's mark, where others may take them for theirs";
  }
  return "";
}

const char* verb(MarkAction action) {
  switch (action) {
    case MarkAction::Set:
      return "sets ";
    case MarkAction::Overwrite:
      return "overwrites ";
    case MarkAction::Match:
      return "matches ";
    case MarkAction::Test:
      return "tests ";
    case MarkAction::Save:
      break;
  }
  return "saves ";
}

std::string mark_text(const MarkUse& use) {
  const bool valued = use.action == MarkAction::Set || use.action == MarkAction::Match;
  return verb(use.action) + (valued ? hexadecimal(use.value) + "/" : std::string("mask ")) + hexadecimal(use.mask);
}

std::string remedy(const StampSettings& stamp, const MarkUse& use, std::optional<std::uint32_t> free) {
  const std::string narrower = "a rule with a mask that is clear of " + hexadecimal(stamp.mask);
  if ((use.mask | stamp.mask) == use.mask) return narrower;  // it would take the bits of most other masks too
  return free ? "--stamp-mask " + hexadecimal(*free) + ", or " + narrower : narrower;
}

// Of the masks that can be made of these bits, the one with the longest tag.
std::optional<std::uint32_t> mask_in(std::uint32_t free) {
  std::optional<std::uint32_t> best;
  int best_tag = 0;
  for (std::uint32_t shift = 0; shift + GRANTD_STAMP_IDENTITY_BITS <= 32; shift++) {
    const std::uint32_t identity = ((1U << GRANTD_STAMP_IDENTITY_BITS) - 1) << shift;
    if ((free & identity) != identity) continue;
    const std::uint32_t mask = identity | (free & kStampTagBits);
    const auto settings = stamp_settings(mask);
    if (!settings) continue;
    const int tag = std::popcount(tag_bits(settings.value()));
    if (tag > best_tag) best = mask, best_tag = tag;
  }
  return best;
}

}  // namespace

StampHarm stamp_harm(const StampSettings& stamp, const MarkUse& use) {
  if ((use.mask & stamp.mask) == 0) return StampHarm::None;
  switch (use.action) {
    case MarkAction::Set:
      return harm_of_set(stamp, use);
    case MarkAction::Overwrite:
      return StampHarm::Overwrites;
    case MarkAction::Test:
      return StampHarm::Mistakes;
    case MarkAction::Save:
      return StampHarm::Saves;
    case MarkAction::Match:
      break;
  }
  if (a_stamp_matches(stamp, use.mask, use.value)) return StampHarm::Mistakes;
  return use.value & stamp.mask ? StampHarm::Expects : StampHarm::Hides;
}

std::vector<Problem> stamp_collisions(const StampSettings& stamp, const MarkFacts& facts) {
  // The first in their order speaks for all that do the same to the same bits, whatever the values: there may be
  // thousands of them, one for each pod.
  std::map<std::tuple<StampHarm, MarkAction, std::uint32_t>, std::pair<const MarkUse*, bool>> ways;
  for (const MarkUse& use : facts.uses) {
    const StampHarm harm = stamp_harm(stamp, use);
    if (harm == StampHarm::None) continue;
    const auto [way, is_new] = ways.insert({{harm, use.action, use.mask}, {&use, false}});
    way->second.second = !is_new;
  }
  const auto free = clear_stamp_mask(facts);
  std::vector<Problem> problems;
  for (const auto& [way, by] : ways) {
    const StampHarm harm = std::get<StampHarm>(way);
    const auto& [use, others] = by;
    Problem problem;
    problem.severity = harm == StampHarm::Alters ? Severity::Error : Severity::Warning;
    problem.object = "stamp mask " + hexadecimal(stamp.mask);
    problem.field = use->owner + (others ? " and others" : "");
    problem.value = mark_text(*use);
    problem.message = std::string(sentence(harm)) + "; bits in common: " + hexadecimal(use->mask & stamp.mask);
    problem.accepted = remedy(stamp, *use, free);
    problems.push_back(std::move(problem));
  }
  return problems;
}

std::vector<Problem> unread_marks(const MarkFacts& facts) {
  std::vector<Problem> problems;
  const auto add = [&](const std::string& message) {
    Problem problem;
    problem.severity = Severity::Warning;
    problem.object = "marks in use";
    problem.message = message;
    problems.push_back(std::move(problem));
  };
  for (const std::string& each : facts.unread) add(each + "; collisions with the stamp there are not known");
  if (facts.too_many)
    add("more than " + std::to_string(MarkFacts::kMostUses) +
        "; collisions of the others with the stamp are not known");
  return problems;
}

std::optional<std::uint32_t> clear_stamp_mask(const MarkFacts& facts) {
  std::uint32_t used = 0;
  for (const MarkUse& use : facts.uses)
    if (use.mask != kAllBits) used |= use.mask;
  if ((used & GRANTD_STAMP_MASK_DEFAULT) == 0) return GRANTD_STAMP_MASK_DEFAULT;
  const auto roomy = mask_in(~(used | kWellKnown));
  return roomy ? roomy : mask_in(~used);
}

}  // namespace grantd
