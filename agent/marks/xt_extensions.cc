#include "agent/marks/xt_extensions.h"

#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>

#include <cstring>
#include <optional>

namespace grantd {

namespace {

template <typename Info>
std::optional<Info> info_of(Bytes bytes) {
  Info info{};
  if (bytes.size() < sizeof(info)) return std::nullopt;
  std::memcpy(&info, bytes.data(), sizeof(info));
  return info;
}

// Of TPROXY, all revisions; the rest of xt_TPROXY.h is of no use here.
struct TproxyMark {
  std::uint32_t mask, value;
};

// mark = (mark & ~mask) ^ value
void add_set(const std::string& owner, std::uint32_t mask, std::uint32_t value, MarkFacts& facts) {
  if ((value & ~mask) == 0)
    facts.add({owner, MarkAction::Set, mask, value});
  else  // bits outside of the mask are turned over
    facts.add({owner, MarkAction::Overwrite, mask | value, 0});
}

// Where it shifts, the bits that are meant are not those of the masks.
void add_connmark(const std::string& owner, const xt_connmark_tginfo1& target, bool shifts, MarkFacts& facts) {
  if (target.mode == XT_CONNMARK_SAVE)
    facts.add({owner, MarkAction::Save, target.nfmask, 0});
  else if (target.mode == XT_CONNMARK_RESTORE)
    facts.add({owner, MarkAction::Overwrite, shifts ? ~0U : target.nfmask | target.ctmask, 0});
}

}  // namespace

void xt_match_marks(const std::string& owner, std::string_view name, unsigned int revision, Bytes info,
                    MarkFacts& facts) {
  if (name != "mark" || revision != 1) return;
  if (const auto match = info_of<xt_mark_mtinfo1>(info))
    facts.add({owner, MarkAction::Match, match->mask, match->mark & match->mask});
}

void xt_target_marks(const std::string& owner, std::string_view name, unsigned int revision, Bytes info,
                     MarkFacts& facts) {
  if (name == "MARK" && revision == 2) {
    if (const auto target = info_of<xt_mark_tginfo2>(info)) add_set(owner, target->mask, target->mark, facts);
  } else if (name == "TPROXY") {
    if (const auto target = info_of<TproxyMark>(info)) add_set(owner, target->mask, target->value, facts);
  } else if (name == "CONNMARK" && revision == 1) {
    if (const auto target = info_of<xt_connmark_tginfo1>(info)) add_connmark(owner, *target, false, facts);
  } else if (name == "CONNMARK" && revision == 2) {
    if (const auto target = info_of<xt_connmark_tginfo2>(info))
      add_connmark(owner, {target->ctmark, target->ctmask, target->nfmask, target->mode}, target->shift_bits != 0,
                   facts);
  }
}

}  // namespace grantd
