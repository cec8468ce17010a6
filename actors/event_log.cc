#include "actors/event_log.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace lapidary {
namespace {

bool IsPlain(absl::string_view value) {
  return !value.empty() &&
         std::all_of(value.begin(), value.end(), [](unsigned char c) {
           return c > ' ' && c != '"' && c != '\\' && c != '=' && c != 0x7f;
         });
}

}  // namespace

EventLog StderrEventLog() {
  return [](absl::string_view line) {
    const std::string text =
        absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(),
                                      absl::UTCTimeZone()),
                     " ", line, "\n");
    std::fwrite(text.data(), 1, text.size(), stderr);  // one write, one line
  };
}

std::string EventLine(
    absl::string_view event,
    std::initializer_list<std::pair<absl::string_view, std::string>> fields) {
  std::string line = absl::StrCat("event=", event);
  for (const auto& [name, value] : fields) {
    absl::StrAppend(&line, " ", name, "=");
    if (IsPlain(value)) {
      line += value;
    } else {
      absl::StrAppend(&line, "\"", absl::Utf8SafeCEscape(value), "\"");
    }
  }
  return line;
}

}  // namespace lapidary
