// The grammars of single values. What one accepts, it accepts again in its own words, with the same meaning.
#include "crd-sync/destination.h"
#include "crd-sync/quantity.h"
#include "crd-sync/time_text.h"
#include "maps/address.h"
#include "tests/fuzz/must.h"

#include <string>
#include <string_view>

using namespace grantd;

namespace {

void try_quantity(std::string_view text) {
  const auto quantity = parse_quantity(text);
  if (quantity) {
    std::string nano = std::to_string(quantity.value().nano);
    nano.insert(0, 9 - nano.size(), '0');
    const auto again = parse_quantity(std::to_string(quantity.value().whole) + "." + nano);
    must(again && again.value() == quantity.value(), "a quantity in full is the same quantity");
  }
  if (const auto rate = parse_bandwidth(text)) {
    must(quantity && quantity.value().whole == rate.value() && quantity.value().nano == 0,
         "a rate is a whole quantity");
    must(rate.value() >= 8'000 && rate.value() <= 400'000'000'000, "a rate is within its bounds");
  }
  if (const auto burst = parse_burst(text)) {
    must(quantity && quantity.value().whole == burst.value() && quantity.value().nano == 0,
         "a burst is a whole quantity");
    must(burst.value() >= 128 * 1024 && burst.value() <= kMaxBurstBytes, "a burst is within its bounds");
  }
}

void try_destination(std::string_view text) {
  const auto destination = parse_destination(text);
  if (!destination) {
    must(!destination.error().message.empty(), "a refusal says why");
    return;
  }
  const Destination& read = destination.value();
  must(!read.ranges.empty(), "a destination opens something");
  for (const PortRange& range : read.ranges) must(range.low <= range.high, "ports in order");
  (void)never_granted(read);
  const auto again = parse_destination(read.text);
  must(again && again.value().kind == read.kind && again.value().prefix == read.prefix &&
           again.value().name == read.name && again.value().ranges == read.ranges,
       "its text means the same");
}

void try_prefix(std::string_view text) {
  const auto prefix = IpPrefix::parse(text);
  if (!prefix) return;
  const auto again = IpPrefix::parse(prefix.value().text());
  must(again && again.value() == prefix.value(), "a prefix's text is that prefix");
}

void try_time(std::string_view text) {
  const auto time = parse_time(text);
  if (!time) return;
  const auto again = parse_time(time_text(time.value()));
  must(again && again.value() == time.value(), "a time's text is that time");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try_quantity(text);
  try_destination(text);
  try_prefix(text);
  try_time(text);
  return 0;
}
