// JSON from outside, without exceptions: parsing that refuses what it should,
// and typed reading of an object's fields that names what is wrong.
//
//   StatusOr<Json> json = ParseJson(text, "config.json");
//   JsonFields fields(*json, "config.json");
//   config.layers = fields.Int("num_hidden_layers", 30, 1, 1024);
//   config.eps = fields.Number("rms_norm_eps", 1e-6);
//   if (!fields.status().ok()) return fields.status();
#ifndef LAPIDARY_STORAGE_JSON_H_
#define LAPIDARY_STORAGE_JSON_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace lapidary {

using Json = nlohmann::json;

// Deepest nesting that ParseJson accepts.
inline constexpr int kMaxJsonDepth = 64;

// Parses strict JSON. `what` begins the message of an error.
//
// Errors: INVALID_ARGUMENT for malformed text, a key twice in one object, or
// nesting deeper than kMaxJsonDepth.
absl::StatusOr<Json> ParseJson(absl::string_view text, absl::string_view what);

// Text of a value for an error message: one line, at most some 80 characters.
std::string JsonForMessage(const Json& value);

// Reads the fields of one object. The first error is kept and later calls
// return their fallbacks, so that a reader checks once, at its end.
class JsonFields {
 public:
  // `object` must outlive this. `path` begins every message, e.g.
  // "config.json: text_config".
  JsonFields(const Json& object, std::string path);

  // Null where the field is absent or null.
  const Json* Find(absl::string_view name) const;
  bool Has(absl::string_view name) const { return Find(name) != nullptr; }
  // True for `"name": null`.
  bool IsNull(absl::string_view name) const;

  // The field's value, `fallback` where it is absent. Null, another type or a
  // value out of [min, max] is an error. An integer must be written as one.
  int64_t Int(absl::string_view name, int64_t fallback, int64_t min,
              int64_t max);
  // As Int, for a field that may be null or absent.
  std::optional<int64_t> OptionalInt(absl::string_view name, int64_t min,
                                     int64_t max);
  // Any finite JSON number.
  double Number(absl::string_view name, double fallback);
  bool Bool(absl::string_view name, bool fallback);
  std::string String(absl::string_view name, absl::string_view fallback);

  // One value, or a list of `count` of them: what Hugging Face writes where
  // layers may differ. A single value is repeated.
  std::vector<int64_t> IntOrList(absl::string_view name, int64_t fallback,
                                 int64_t count, int64_t min, int64_t max);
  // The same for numbers from `min` to below `below`.
  std::vector<float> NumberOrList(absl::string_view name, double fallback,
                                  int64_t count, double min, double below);

  // "config.json: name", "config.json: text_config.name"
  std::string Name(absl::string_view name) const;

  // Keeps an error about `name`: "path.name is VALUE: WANTED".
  void Fail(absl::string_view name, absl::string_view wanted);
  // Keeps `status` if it is the first error.
  void Fail(absl::Status status);
  // Keeps an error about a part of the field `name`, e.g. "sizes[3]".
  void FailAt(absl::string_view part, const Json& value,
              absl::string_view wanted);

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  // The elements of a scalar or list; empty after an error.
  std::vector<const Json*> Elements(absl::string_view name, int64_t count);

  const Json* object_;
  std::string path_;
  absl::Status status_;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_JSON_H_
