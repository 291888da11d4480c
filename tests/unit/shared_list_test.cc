#include "crd-sync/shared_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SharedList, CopiesAreOneUntilOneOfThemIsChanged) {
  SharedList<int> one;
  EXPECT_THAT(one, IsEmpty());
  one.own() = {1, 2};
  SharedList<int> other = one;
  EXPECT_EQ(&one[0], &other[0]);
  other.own().push_back(3);
  EXPECT_THAT(one, ElementsAre(1, 2));
  EXPECT_THAT(other, ElementsAre(1, 2, 3));
  const int* held = &other[0];
  other.own()[0] = 4;
  EXPECT_EQ(&other[0], held) << "alone already";
}

}  // namespace
}  // namespace grantd
