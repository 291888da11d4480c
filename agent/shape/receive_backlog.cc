#include "agent/shape/receive_backlog.h"

#include <charconv>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace grantd {
namespace {

constexpr std::size_t kBacklogColumn = 11, kCpuColumn = 12;
constexpr std::chrono::milliseconds kPause{1};
// A packet is given to a CPU twice: behind the queue, and at the guest's interface; and once more it is no part of what
// is told while a CPU looks at it.
constexpr int kRounds = 3;

std::optional<std::vector<unsigned>> hexadecimal(const std::string& line) {
  std::vector<unsigned> numbers;
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    unsigned number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number, 16);
    if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
    numbers.push_back(number);
  }
  return numbers;
}

std::optional<std::map<unsigned, unsigned>> read_receive_backlogs() {
  std::ifstream file("/proc/net/softnet_stat");
  std::ostringstream text;
  text << file.rdbuf();
  return receive_backlogs(text.str());
}

}  // namespace

std::optional<std::map<unsigned, unsigned>> receive_backlogs(std::string_view softnet_stat) {
  std::map<unsigned, unsigned> backlogs;
  std::istringstream lines{std::string(softnet_stat)};
  for (std::string line; std::getline(lines, line);) {
    const auto numbers = hexadecimal(line);
    if (!numbers || numbers->size() <= kCpuColumn) return std::nullopt;
    backlogs[(*numbers)[kCpuColumn]] = (*numbers)[kBacklogColumn];
  }
  if (backlogs.empty()) return std::nullopt;
  return backlogs;
}

bool nothing_left_to_receive(std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  std::set<unsigned> seen_empty;
  for (int round = 0; round < kRounds;) {
    const auto backlogs = read_receive_backlogs();
    if (!backlogs) return false;
    for (const auto& [cpu, packets] : *backlogs)
      if (packets == 0) seen_empty.insert(cpu);
    if (seen_empty.size() >= backlogs->size()) {
      seen_empty.clear();
      round++;
      continue;
    }
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

}  // namespace grantd
