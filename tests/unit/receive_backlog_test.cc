#include "agent/shape/receive_backlog.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::Optional;
using testing::Pair;
using testing::UnorderedElementsAre;

TEST(ReceiveBacklogs, AreOfEachCpu) {
  EXPECT_THAT(receive_backlogs("026e50b9 0 3 0 0 0 0 0 0 0 0 00000000 00000000 00000000 00000000\n"
                               "0351ea38 0 0 0 0 0 0 0 0 0 0 0000001f 00000003 0000001e 00000001\n"),
              Optional(UnorderedElementsAre(Pair(0, 0), Pair(3, 31))));
}

TEST(ReceiveBacklogs, AreUnknownWhereTheKernelDoesNotTell) {
  EXPECT_EQ(receive_backlogs(""), std::nullopt);
  EXPECT_EQ(receive_backlogs("026e50b9 0 3 0 0 0 0 0 0 0 0\n"), std::nullopt) << "before 5.10";
  EXPECT_EQ(receive_backlogs("026e50b9 0 3 0 0 0 0 0 0 0 0 x 0 0 0\n"), std::nullopt);
}

TEST(ReceiveBacklogs, AreToldByThisKernel) { EXPECT_TRUE(nothing_left_to_receive(std::chrono::seconds(20))); }

}  // namespace
}  // namespace grantd
