#include "storage/json.h"

#include <cmath>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

// What the parser's events have shown so far.
struct Watch {
  std::vector<std::set<std::string>> keys;  // of the open objects
  std::string duplicate;
  bool too_deep = false;
};

bool OnEvent(Watch* watch, int depth, Json::parse_event_t event,
             const Json& parsed) {
  if (depth > kMaxJsonDepth) watch->too_deep = true;
  switch (event) {
    case Json::parse_event_t::object_start:
      watch->keys.emplace_back();
      break;
    case Json::parse_event_t::object_end:
      if (!watch->keys.empty()) watch->keys.pop_back();
      break;
    case Json::parse_event_t::key: {
      const auto* key = parsed.get_ptr<const Json::string_t*>();
      if (key != nullptr && !watch->keys.empty() &&
          !watch->keys.back().insert(*key).second) {
        watch->duplicate = *key;
      }
      break;
    }
    default:
      break;
  }
  // Dropping what lies too deep keeps the value that is built small.
  return !watch->too_deep;
}

// False, and *number unchanged, for what is no integer in [min, max].
bool ReadInt(const Json& value, int64_t min, int64_t max, int64_t* number) {
  if (!value.is_number_integer()) return false;
  // The library keeps what is not negative as unsigned.
  if (const auto* u = value.get_ptr<const Json::number_unsigned_t*>()) {
    if (*u > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return false;
    }
  }
  const int64_t read = value.get<int64_t>();
  if (read < min || read > max) return false;
  *number = read;
  return true;
}

std::string WantInt(int64_t min, int64_t max) {
  return absl::StrCat("want an integer from ", min, " to ", max);
}

}  // namespace

absl::StatusOr<Json> ParseJson(absl::string_view text, absl::string_view what) {
  Watch watch;
  Json json = Json::parse(
      text.begin(), text.end(),
      [&watch](int depth, Json::parse_event_t event, Json& parsed) {
        return OnEvent(&watch, depth, event, parsed);
      },
      /*allow_exceptions=*/false);
  if (watch.too_deep) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": JSON nested deeper than ", kMaxJsonDepth,
                     " levels; is this the right file?"));
  }
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": not valid JSON (", text.size(),
                     " bytes); is the file damaged or cut off? copy it again"));
  }
  if (!watch.duplicate.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": the key ", JsonForMessage(watch.duplicate),
                     " stands twice in one object; keep one of them"));
  }
  return json;
}

std::string JsonForMessage(const Json& value) {
  constexpr size_t kLongest = 80;
  if (value.is_array() && value.size() > 8) {
    return absl::StrCat("a list of ", value.size(), " values");
  }
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true,
                                Json::error_handler_t::replace);
  if (text.size() > kLongest) {
    text.resize(kLongest);
    text += "…";
  }
  return text;
}

JsonFields::JsonFields(const Json& object, std::string path)
    : object_(&object), path_(std::move(path)) {
  if (!object.is_object()) {
    Fail(absl::InvalidArgumentError(absl::StrCat(
        path_, " is ", JsonForMessage(object), ": want a JSON object")));
  }
}

const Json* JsonFields::Find(absl::string_view name) const {
  if (!object_->is_object()) return nullptr;
  const auto it = object_->find(std::string(name));
  if (it == object_->end() || it->is_null()) return nullptr;
  return &*it;
}

bool JsonFields::IsNull(absl::string_view name) const {
  if (!object_->is_object()) return false;
  const auto it = object_->find(std::string(name));
  return it != object_->end() && it->is_null();
}

int64_t JsonFields::Int(absl::string_view name, int64_t fallback, int64_t min,
                        int64_t max) {
  const Json* value = Find(name);
  if (value == nullptr) {
    if (IsNull(name)) Fail(name, "want an integer");
    return fallback;
  }
  int64_t number = fallback;
  if (!ReadInt(*value, min, max, &number)) Fail(name, WantInt(min, max));
  return number;
}

std::optional<int64_t> JsonFields::OptionalInt(absl::string_view name,
                                               int64_t min, int64_t max) {
  if (!Has(name)) return std::nullopt;
  return Int(name, min, min, max);
}

double JsonFields::Number(absl::string_view name, double fallback) {
  const Json* value = Find(name);
  if (value == nullptr) {
    if (IsNull(name)) Fail(name, "want a number");
    return fallback;
  }
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    Fail(name, "want a finite number");
    return fallback;
  }
  return value->get<double>();
}

bool JsonFields::Bool(absl::string_view name, bool fallback) {
  const Json* value = Find(name);
  if (value == nullptr) {
    if (IsNull(name)) Fail(name, "want true or false");
    return fallback;
  }
  if (!value->is_boolean()) {
    Fail(name, "want true or false");
    return fallback;
  }
  return value->get<bool>();
}

std::string JsonFields::String(absl::string_view name,
                               absl::string_view fallback) {
  const Json* value = Find(name);
  if (value == nullptr) {
    if (IsNull(name)) Fail(name, "want a string");
    return std::string(fallback);
  }
  if (!value->is_string()) {
    Fail(name, "want a string");
    return std::string(fallback);
  }
  return value->get<std::string>();
}

std::vector<const Json*> JsonFields::Elements(absl::string_view name,
                                              int64_t count) {
  const Json* value = Find(name);
  if (value == nullptr) return {};
  if (!value->is_array()) return std::vector<const Json*>(count, value);
  if (value->size() != static_cast<size_t>(count)) {
    Fail(absl::InvalidArgumentError(
        absl::StrCat(Name(name), " has ", value->size(),
                     " values: want one for each of the ", count,
                     " layers (num_hidden_layers), or a single one")));
    return {};
  }
  std::vector<const Json*> elements;
  for (const Json& element : *value) elements.push_back(&element);
  return elements;
}

std::vector<int64_t> JsonFields::IntOrList(absl::string_view name,
                                           int64_t fallback, int64_t count,
                                           int64_t min, int64_t max) {
  if (IsNull(name)) Fail(name, "want an integer or a list of them");
  std::vector<int64_t> numbers(count, fallback);
  const std::vector<const Json*> elements = Elements(name, count);
  for (size_t i = 0; i < elements.size(); ++i) {
    if (!ReadInt(*elements[i], min, max, &numbers[i])) {
      FailAt(absl::StrCat(name, "[", i, "]"), *elements[i], WantInt(min, max));
    }
  }
  return numbers;
}

std::vector<float> JsonFields::NumberOrList(absl::string_view name,
                                            double fallback, int64_t count,
                                            double min, double below) {
  std::vector<float> numbers(count, static_cast<float>(fallback));
  const std::vector<const Json*> elements = Elements(name, count);
  for (size_t i = 0; i < elements.size(); ++i) {
    const double number =
        elements[i]->is_number() ? elements[i]->get<double>() : NAN;
    // Rounded first: a value just below `below` may become it.
    numbers[i] = static_cast<float>(number);
    if (!(number >= min && numbers[i] < below)) {
      FailAt(absl::StrCat(name, "[", i, "]"), *elements[i],
             absl::StrCat("want a number from ", min, " to below ", below));
    }
  }
  return numbers;
}

std::string JsonFields::Name(absl::string_view name) const {
  return absl::StrCat(path_, absl::EndsWith(path_, ".json") ? ": " : ".", name);
}

void JsonFields::Fail(absl::string_view name, absl::string_view wanted) {
  const Json* value = Find(name);
  Fail(absl::InvalidArgumentError(absl::StrCat(Name(name), " is ",
                                               value != nullptr
                                                   ? JsonForMessage(*value)
                                               : IsNull(name) ? "null"
                                                              : "absent",
                                               ": ", wanted)));
}

void JsonFields::FailAt(absl::string_view part, const Json& value,
                        absl::string_view wanted) {
  Fail(absl::InvalidArgumentError(
      absl::StrCat(Name(part), " is ", JsonForMessage(value), ": ", wanted)));
}

void JsonFields::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

}  // namespace lapidary
