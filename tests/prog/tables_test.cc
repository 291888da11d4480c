// read_tables: which tables stand in the arrays of maps, as the agent sees it after a start.
#include "tests/prog/fixture.h"

namespace grantd::prog {
namespace {

using Tables = Prog;

TEST_F(Tables, AreTheOnesThatStandInTheArrays) {
  const auto slot = slot_of("slow");
  const auto id = [](const TypedMap<__u32, __u32>& outer, std::uint32_t at) {
    return outer.find(at).value().value_or(0);
  };
  for (const bool without_fragments : {false, true}) {
    EXPECT_TRUE(!without_fragments || node().maps().frag.erase(slot).ok());
    const auto tables = node().datapath().tables().value();
    EXPECT_EQ(tables.size(), 6U) << "of five Grants and of nobody's";
    for (std::uint32_t at = 0; at < 2 * GRANTD_TABLES_AT_ONCE; at++) {
      const auto found = tables.find(at);
      const grantd_slot_tables said = found == tables.end() ? grantd_slot_tables{} : found->second;
      EXPECT_EQ(said.counter, id(node().maps().counter, at)) << at;
      EXPECT_EQ(said.frag, id(node().maps().frag, at)) << at;
      EXPECT_EQ(said.flow, id(node().maps().flow, at)) << at;
    }
  }
  ASSERT_TRUE(node().datapath().make_tables({slot}, 1024).ok());
  EXPECT_NE(node().datapath().tables().value().at(slot).frag, 0U);
}

}  // namespace
}  // namespace grantd::prog
