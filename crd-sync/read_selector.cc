#include "crd-sync/read_selector.h"

#include "crd-sync/names.h"

namespace grantd {
namespace {

constexpr std::string_view kAcceptedKey = "a label's key: [PREFIX/]NAME";
constexpr std::string_view kAcceptedValue = "letters, digits, '-', '_' and '.', at most 63";

void check_key(const TextField& key, ObjectProblems& problems) {
  if (!is_qualified_name(key.text)) problems.error(key, "is no label's key", kAcceptedKey);
}

void check_value(const TextField& value, ObjectProblems& problems) {
  if (!is_label_value(value.text)) problems.error(value, "is no label's value", kAcceptedValue);
}

std::optional<LabelRequirement::Operator> operator_of(std::string_view text) {
  using Operator = LabelRequirement::Operator;
  if (text == "In") return Operator::In;
  if (text == "NotIn") return Operator::NotIn;
  if (text == "Exists") return Operator::Exists;
  if (text == "DoesNotExist") return Operator::DoesNotExist;
  return std::nullopt;
}

void read_expression(Fields& expression, LabelSelector& selector, ObjectProblems& problems) {
  LabelRequirement requirement;
  if (const auto key = expression.required_text("key")) {
    check_key(*key, problems);
    requirement.key = key->text;
  }
  const auto text = expression.required_text("operator");
  const auto values = expression.texts("values");
  if (values)
    for (const TextField& value : *values) {
      check_value(value, problems);
      requirement.values.push_back(value.text);
    }
  expression.finish();
  if (!text) return;
  const bool takes_values = text->text == "In" || text->text == "NotIn";
  const auto operation = operator_of(text->text);
  if (!operation)
    problems.error(*text, "is no operator", "In, NotIn, Exists, DoesNotExist");
  else if (takes_values != (values && !values->empty()))
    problems.error(text->line, expression.path("values"), "",
                   takes_values ? "is missing or empty" : "is not for this operator",
                   "values for In and NotIn, none for Exists and DoesNotExist");
  else
    requirement.operation = *operation;
  selector.push_back(std::move(requirement));
}

LabelSelector read_label_selector(Fields& fields, ObjectProblems& problems) {
  LabelSelector selector;
  if (auto labels = fields.map("matchLabels"))
    for (const auto& [key, value] : labels->each_text()) {
      check_key({key.text, value.path, key.line}, problems);
      check_value(value, problems);
      selector.push_back({key.text, LabelRequirement::Operator::In, {value.text}});
    }
  if (auto expressions = fields.maps("matchExpressions"))
    for (Fields& expression : *expressions) read_expression(expression, selector, problems);
  fields.finish();
  return selector;
}

}  // namespace

void read_selector(Fields& selector, Grant& grant, ObjectProblems& problems) {
  if (auto namespaces = selector.map("namespaceSelector"))
    grant.namespace_selector = read_label_selector(*namespaces, problems);
  if (auto pods = selector.map("podSelector")) grant.pod_selector = read_label_selector(*pods, problems);
  selector.finish();
}

}  // namespace grantd
