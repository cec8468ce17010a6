// One line per event, for people and for scripts:
//
//   log(EventLine("role_lost", {{"role", "stage"}, {"reason", "killed"}}));
//   → event=role_lost role=stage reason=killed
#ifndef LAPIDARY_ACTORS_EVENT_LOG_H_
#define LAPIDARY_ACTORS_EVENT_LOG_H_

#include <functional>
#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace lapidary {

// Takes a whole line, without its end. Called from any thread.
using EventLog = std::function<void(absl::string_view line)>;

// Writes lines to stderr, each with the time in front.
EventLog StderrEventLog();

// Values with spaces, quotes or control characters are quoted and escaped.
std::string EventLine(
    absl::string_view event,
    std::initializer_list<std::pair<absl::string_view, std::string>> fields);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_EVENT_LOG_H_
