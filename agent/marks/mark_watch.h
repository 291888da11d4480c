// Looks at the marks in use, in a thread of its own: rules may be many, and enforcement does not wait.
#pragma once

#include "agent/marks/read_marks.h"
#include "maps/descriptor.h"
#include "maps/result.h"

#include <memory>
#include <optional>
#include <thread>
#include <utility>

namespace grantd {

class MarkWatch {
 public:
  static Result<std::unique_ptr<MarkWatch>> open();
  ~MarkWatch();  // waits for a look that has begun
  MarkWatch(const MarkWatch&) = delete;
  MarkWatch& operator=(const MarkWatch&) = delete;

  // Begins to look, unless a look is under way, and returns at once.
  void look();
  int fd() const { return done_.get(); }  // readable when a look is over; owned
  // Takes over what was seen. True where it is not what was known before. A source that could not be looked
  // at completely this time keeps what it told before.
  bool drain();
  const std::optional<MarkFacts>& facts() const { return facts_; }  // nothing before the first look is over

 private:
  explicit MarkWatch(Descriptor done) : done_(std::move(done)) {}

  Descriptor done_;
  std::thread thread_;  // joinable while a look is under way
  MarkSources seen_;    // the thread's, until it is joined
  MarkSources known_;
  std::optional<MarkFacts> facts_;
};

}  // namespace grantd
