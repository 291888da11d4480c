// A list that many values have in common, held once: a Grant's destinations, as read and as admitted.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace grantd {

// Copies share the elements until one of them is changed.
template <typename Element>
class SharedList {
 public:
  using value_type = Element;
  using const_iterator = typename std::vector<Element>::const_iterator;

  std::size_t size() const { return all().size(); }
  bool empty() const { return all().empty(); }
  const Element& operator[](std::size_t index) const { return all()[index]; }
  const Element& at(std::size_t index) const { return all().at(index); }
  const_iterator begin() const { return all().begin(); }
  const_iterator end() const { return all().end(); }

  // To be changed; of this list alone. Not to be kept: a copy of the list that is made later shares it.
  std::vector<Element>& own() {
    if (!elements_ || elements_.use_count() > 1) elements_ = std::make_shared<std::vector<Element>>(all());
    return *elements_;
  }

 private:
  const std::vector<Element>& all() const {
    static const std::vector<Element> kNone;
    return elements_ ? *elements_ : kNone;
  }

  std::shared_ptr<std::vector<Element>> elements_;
};

}  // namespace grantd
