#include "agent/plan/queue_classes.h"

#include <algorithm>
#include <cstdio>

namespace grantd {

namespace {

// The bucket rounds against the guest, at most a nanosecond a draw, and takes its time from another clock.
constexpr std::uint64_t kBelowLimit = 512;
// What a class sends before the next one has its turn, and at once after it was idle. At least two frames; a whole
// packet of segmentation offload where that does not keep others waiting for long.
constexpr std::uint64_t kLeastTurn = 3028, kLongestTurn = 70'000, kTurnsPerSecond = 500;
// What may wait of a guest. Towards it: a tenth of a second, and room for a few packets of segmentation offload at any
// rate; a sender elsewhere learns of the limit by a loss. From it: the kernel holds its sockets back (TCP small queues,
// the send buffer), so room for what many of them may have under way costs no delay and spares them a loss.
constexpr std::uint64_t kLeastQueue[] = {4 << 20, 256 << 10}, kQueuesPerSecond = 10, kLongestQueue = 60 << 20;

std::uint64_t rate_of(const grantd_limit& limit) {
  const std::uint64_t bytes = limit.rate_bps / 8;
  return std::max<std::uint64_t>(bytes - (bytes + kBelowLimit - 1) / kBelowLimit, 1);
}

// As the kernel gives it back.
std::uint64_t time_of(std::uint64_t bytes, std::uint64_t rate_bytes) {
  const auto nanoseconds = static_cast<unsigned __int128>(bytes) * GRANTD_NS_PER_SECOND / rate_bytes;
  const std::uint64_t ticks =
      static_cast<std::uint64_t>(std::min<unsigned __int128>(nanoseconds / kQueueTickNs, 0xffffffffU));
  return std::max<std::uint64_t>(ticks, 1) * kQueueTickNs;
}

std::uint32_t turn_of(std::uint64_t rate_bytes) {
  return static_cast<std::uint32_t>(std::clamp(rate_bytes / kTurnsPerSecond, kLeastTurn, kLongestTurn));
}

}  // namespace

std::string class_text(std::uint32_t minor) {
  char text[32];
  std::snprintf(text, sizeof(text), "queue class %x:%x", GRANTD_QUEUE_MAJOR, minor);
  return text;
}

QueueClass grant_class(const grantd_limit& limit) {
  QueueClass made;
  made.rate_bytes = made.ceil_bytes = rate_of(limit);
  made.quantum_bytes = turn_of(made.rate_bytes);
  // Far below the burst that the bucket grants: a sender that is let go at first fills the queue before it learns of
  // the rate, and it stays full (measured).
  made.burst_ns = made.ceil_burst_ns =
      time_of(std::min<std::uint64_t>(limit.burst_bytes / 2, made.quantum_bytes), made.rate_bytes);
  return made;
}

QueueClass guest_class(const grantd_limit& limit, std::uint32_t direction, std::uint32_t parent, std::size_t guests,
                       bool fair_queues) {
  QueueClass made = grant_class(limit);
  made.parent = parent;
  const auto bytes = std::clamp(made.rate_bytes / kQueuesPerSecond, kLeastQueue[direction], kLongestQueue);
  made.queue_bytes = static_cast<std::uint32_t>(bytes / kQueueStepBytes * kQueueStepBytes);
  // Towards a guest a flow may need more than the 127 packets that SFQ lets wait of it.
  made.fair = fair_queues && direction == GRANTD_EGRESS;
  made.rate_bytes = std::max<std::uint64_t>(made.rate_bytes / std::max<std::size_t>(guests, 1), 1);
  // A class that has this sends without asking the Grant's: all of them together have one turn of it.
  made.burst_ns = time_of(turn_of(made.rate_bytes), made.rate_bytes);
  return made;
}

}  // namespace grantd
