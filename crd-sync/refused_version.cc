#include "crd-sync/refused_version.h"

#include "crd-sync/canonical.h"
#include "crd-sync/names.h"
#include "crd-sync/time_text.h"
#include "crd-sync/whole_number.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <utility>

namespace grantd {
namespace {

constexpr std::string_view kLoopback = "lo";

// Each value of that key, duplicates too.
template <typename Callback>
void each(const YamlNode& map, std::string_view key, const Callback& callback) {
  for (std::size_t index = 0; index < map.keys.size(); ++index)
    if (map.keys[index].text == key) callback(map.items[index]);
}

// Also in quotes, and by the words of YAML 1.1: what is meant is plain.
bool says_true(const YamlNode& value) {
  static constexpr std::array<std::string_view, 9> kWords = {"true", "True", "TRUE", "yes", "Yes",
                                                             "YES",  "on",   "On",   "ON"};
  return value.type == YamlNode::Type::Scalar && std::find(kWords.begin(), kWords.end(), value.text) != kWords.end();
}

std::optional<std::chrono::seconds> legible_notice(const YamlNode& spec) {
  const YamlNode* revocation = spec.find("revocation");
  if (revocation == nullptr) return std::chrono::seconds{0};
  if (revocation->type != YamlNode::Type::Map) return std::nullopt;
  const YamlNode* period = revocation->find("noticePeriodSeconds");
  if (period == nullptr) return std::chrono::seconds{0};
  const auto whole = period->type == YamlNode::Type::Scalar ? whole_number(*period) : std::nullopt;
  if (!whole || *whole > INT32_MAX) return std::nullopt;
  return std::chrono::seconds{*whole};
}

template <typename Value>
std::optional<Value> least(const std::optional<Value>& one, const std::optional<Value>& other) {
  return one && other ? std::min(*one, *other) : one ? one : other;
}

// The value of that key, made where there is none.
YamlNode& value_of(YamlNode& map, std::string_view key) {
  map.type = YamlNode::Type::Map;
  const auto found =
      std::find_if(map.keys.begin(), map.keys.end(), [key](const YamlKey& each) { return each.text == key; });
  if (found != map.keys.end()) return map.items[static_cast<std::size_t>(found - map.keys.begin())];
  map.keys.push_back({std::string(key), 0});  // on the line where it comes to stand
  return map.items.emplace_back();
}

void read_address(const YamlNode& value, LegibleAddresses& all) {
  const std::string_view text = value.text;
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (value.type != YamlNode::Type::Scalar || !address) {
    all.unread.push_back(value.line);
    return;
  }
  const int bits = address.value().bits();
  int length = bits;
  if (slash != std::string_view::npos) {
    const char *begin = text.data() + slash + 1, *end = text.data() + text.size();
    const auto read = std::from_chars(begin, end, length);
    if (read.ec != std::errc() || read.ptr != end || length < 0 || length > bits) {
      all.unread.push_back(value.line);
      length = bits;  // this one at least is meant
    }
  }
  const IpPrefix prefix = IpPrefix::around(address.value(), length);
  all.prefixes.emplace_back(prefix, value.line);
  if (prefix.address != address.value()) all.prefixes.emplace_back(IpPrefix{address.value(), bits}, value.line);
}

void set_scalar(YamlNode& value, std::string text, bool quoted) {
  value = {YamlNode::Type::Scalar, quoted, value.line, std::move(text), {}, {}};
}

}  // namespace

LegibleEnd legible_end(const YamlNode& root) {
  LegibleEnd end;
  each(root, "spec", [&end](const YamlNode& spec) {
    bool revoked = false;
    each(spec, "revoked", [&revoked](const YamlNode& value) { revoked = revoked || says_true(value); });
    if (revoked) end = earliest(end, {true, legible_notice(spec), std::nullopt});
    each(spec, "validity", [&end](const YamlNode& validity) {
      each(validity, "validUntil", [&end](const YamlNode& value) {
        if (value.type != YamlNode::Type::Scalar) return;
        if (const auto time = parse_time(value.text)) end.until = least(end.until, std::optional(time.value()));
      });
    });
  });
  return end;
}

LegibleEnd end_of(const Grant& grant) {
  return {grant.revoked, grant.revoked ? std::optional(grant.notice_period) : std::nullopt, grant.valid_until};
}

LegibleEnd earliest(const LegibleEnd& one, const LegibleEnd& other) {
  return {one.revoked || other.revoked, least(one.notice, other.notice), least(one.until, other.until)};
}

std::optional<LegibleEnd> sooner_end(const LegibleEnd& said, const Grant& grant) {
  LegibleEnd end;
  const bool earlier = said.until && (!grant.valid_until || *said.until < *grant.valid_until);
  const bool never = earlier && grant.valid_from && *said.until <= *grant.valid_from;
  if (never || (said.revoked && !grant.revoked))
    end = {true, std::chrono::seconds{0}, std::nullopt};
  else if (said.revoked && said.notice && *said.notice < grant.notice_period)
    end = {true, said.notice, std::nullopt};
  if (earlier && !never) end.until = said.until;
  return end == LegibleEnd{} ? std::nullopt : std::optional(end);
}

std::string text_with_end(const std::string& text, const LegibleEnd& end) {
  YamlNode root;
  if (read_yaml(text, {}, [&root](int, YamlNode&& document) { root = std::move(document); })) return "";
  YamlNode& spec = value_of(root, "spec");
  if (end.revoked) set_scalar(value_of(spec, "revoked"), "true", false);
  if (end.notice)
    set_scalar(value_of(value_of(spec, "revocation"), "noticePeriodSeconds"), std::to_string(end.notice->count()),
               false);
  if (end.until) set_scalar(value_of(value_of(spec, "validity"), "validUntil"), time_text(*end.until), true);
  return tree_text(root);
}

Workload closed_guest(const std::string& name, const std::string& interface, int interface_line,
                      const SourcePosition& position, Problem why) {
  Workload guest;
  guest.name = name;
  guest.interface = interface;
  guest.interface_line = interface_line;
  guest.position = position;
  if (why.object == guest.text()) why.object.clear();
  why.position = {};
  why.accepted.clear();
  guest.quarantine = "its Workload is refused";
  if (const std::string text = why.text(); !text.empty()) guest.quarantine += ": " + text;
  guest.cause = Cause::WorkloadRefused;
  return guest;
}

void add_prefixes(const Realm& realm, const std::string& object, std::vector<RefusedPrefix>& all) {
  for (const RealmAddress& address : realm.addresses)
    all.push_back({address.prefix, realm.name, object, address.position});
}

LegibleAddresses legible_addresses(const YamlNode& root) {
  LegibleAddresses all;
  bool realm = false;
  each(root, "kind", [&realm](const YamlNode& kind) { realm = realm || kind.text == "Realm"; });
  if (!realm) return all;
  int specs = 0;
  each(root, "spec", [&all, &specs](const YamlNode& spec) {
    all.of_several = ++specs > 1;
    each(spec, "addresses", [&all](const YamlNode& value) {
      if (value.type == YamlNode::Type::Sequence)
        for (const YamlNode& address : value.items) read_address(address, all);
      else if (value.type != YamlNode::Type::Null)
        read_address(value, all);
    });
  });
  return all;
}

std::vector<LegibleInterface> legible_interfaces(const YamlNode& root) {
  std::vector<LegibleInterface> names;
  each(root, "spec", [&names](const YamlNode& spec) {
    each(spec, "interface", [&names](const YamlNode& value) {
      if (value.type == YamlNode::Type::Scalar && is_interface_name(value.text) && value.text != kLoopback)
        names.push_back({value.text, value.line});
    });
  });
  return names;
}

}  // namespace grantd
