#include "crd-sync/read_selector.h"

#include "crd-sync/names.h"

namespace grantd {
namespace {

constexpr std::string_view kAcceptedKey = "a label's key: [PREFIX/]NAME";
constexpr std::string_view kAcceptedValue = "letters, digits, '-', '_' and '.', at most 63";

void check_key(const TextField& key, ObjectProblems& problems) {
  if (!is_qualified_name(key.text)) problems.error(key.line, key.path, key.text, "is no label's key", kAcceptedKey);
}

void check_value(const TextField& value, ObjectProblems& problems) {
  if (!is_label_value(value.text))
    problems.error(value.line, value.path, value.text, "is no label's value", kAcceptedValue);
}

void check_expression(Fields& expression, ObjectProblems& problems) {
  if (const auto key = expression.required_text("key")) check_key(*key, problems);
  const auto operation = expression.required_text("operator");
  const auto values = expression.texts("values");
  if (values)
    for (const TextField& value : *values) check_value(value, problems);
  expression.finish();
  if (!operation) return;
  const bool takes_values = operation->text == "In" || operation->text == "NotIn";
  if (!takes_values && operation->text != "Exists" && operation->text != "DoesNotExist")
    problems.error(operation->line, operation->path, operation->text, "is no operator",
                   "In, NotIn, Exists, DoesNotExist");
  else if (takes_values != (values && !values->empty()))
    problems.error(operation->line, expression.path("values"), "",
                   takes_values ? "is missing or empty" : "is not for this operator",
                   "values for In and NotIn, none for Exists and DoesNotExist");
}

void check_label_selector(Fields& selector, ObjectProblems& problems) {
  if (auto labels = selector.map("matchLabels"))
    for (const auto& [key, value] : labels->each_text()) {
      check_key({key.text, value.path, key.line}, problems);
      check_value(value, problems);
    }
  if (auto expressions = selector.maps("matchExpressions"))
    for (Fields& expression : *expressions) check_expression(expression, problems);
  selector.finish();
}

}  // namespace

void check_selector(Fields& selector, ObjectProblems& problems) {
  if (auto namespaces = selector.map("namespaceSelector")) check_label_selector(*namespaces, problems);
  if (auto pods = selector.map("podSelector")) check_label_selector(*pods, problems);
  selector.finish();
}

}  // namespace grantd
