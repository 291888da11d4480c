#include "agent/shape/backlog.h"

#include "agent/netlink/netlink.h"
#include "agent/shape/traffic_request.h"

#include <linux/gen_stats.h>
#include <netlink/attr.h>

#include <cerrno>

namespace grantd {

Result<Backlogs> read_backlogs(std::uint32_t queue_ifindex) {
  Backlogs backlogs;
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  const NetlinkMessage message = traffic_request(RTM_GETTCLASS, NLM_F_DUMP, queue_ifindex, 0, 0);
  if (!message) return no_netlink_memory();
  auto asked = ask_netlink(socket.value().get(), message.get(), [&](nlmsghdr* answer) {
    nlattr *attributes[TCA_MAX + 1], *stats[TCA_STATS_MAX + 1];
    if (nlmsg_parse(answer, sizeof(tcmsg), attributes, TCA_MAX, nullptr) < 0 || !attributes[TCA_STATS2] ||
        nla_parse_nested(stats, TCA_STATS_MAX, attributes[TCA_STATS2], nullptr) < 0 || !stats[TCA_STATS_QUEUE] ||
        nla_len(stats[TCA_STATS_QUEUE]) < static_cast<int>(sizeof(gnet_stats_queue)))
      return;
    const auto* header = static_cast<tcmsg*>(nlmsg_data(answer));
    backlogs.bytes[TC_H_MIN(header->tcm_handle)] =
        static_cast<const gnet_stats_queue*>(nla_data(stats[TCA_STATS_QUEUE]))->backlog;
  });
  backlogs.whole = asked || asked.error().error_number != EINTR;
  if (!asked && backlogs.whole && asked.error().error_number != ENODEV) return asked.error();
  return backlogs;
}

}  // namespace grantd
