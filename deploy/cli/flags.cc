#include "deploy/cli/flags.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace lapidary::cli {
namespace {

constexpr char kUsagePayload[] = "lapidary/usage";
constexpr size_t kColumns = 80;

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

constexpr char kBytesNote[] =
    "SIZE is a number of bytes; K, M and G are powers of 1024, as in 512M.";
constexpr char kDurationNote[] = "TIME is a duration, as in 500ms, 5s or 2m.";

absl::Status BadValue(absl::string_view name, absl::string_view value,
                      absl::string_view wanted) {
  return UsageError(absl::StrCat("--", name, "=", value, ": ", wanted));
}

std::string ShowBytes(size_t bytes) {
  static constexpr std::pair<size_t, const char*> kUnits[] = {
      {size_t{1} << 30, "G"}, {size_t{1} << 20, "M"}, {size_t{1} << 10, "K"}};
  for (const auto& [unit, letter] : kUnits) {
    if (bytes >= unit && bytes % unit == 0) {
      return absl::StrCat(bytes / unit, letter);
    }
  }
  return absl::StrCat(bytes);
}

std::function<absl::Status(absl::string_view)> IntegerSetter(
    std::string name, int64_t min, int64_t max,
    std::function<void(int64_t)> store) {
  return [=](absl::string_view text) {
    int64_t parsed = 0;
    if (!absl::SimpleAtoi(text, &parsed) || parsed < min || parsed > max) {
      return BadValue(
          name, text,
          absl::StrCat("an integer from ", min, " to ", max, " is wanted"));
    }
    store(parsed);
    return absl::OkStatus();
  };
}

}  // namespace

absl::Status UsageError(absl::string_view message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

absl::StatusOr<size_t> ParseBytes(absl::string_view text) {
  std::string lower = absl::AsciiStrToLower(text);
  absl::string_view rest = lower;
  absl::ConsumeSuffix(&rest, "b");
  absl::ConsumeSuffix(&rest, "i");
  int shift = 0;
  if (absl::ConsumeSuffix(&rest, "k")) {
    shift = 10;
  } else if (absl::ConsumeSuffix(&rest, "m")) {
    shift = 20;
  } else if (absl::ConsumeSuffix(&rest, "g")) {
    shift = 30;
  }
  uint64_t number = 0;
  if (!absl::SimpleAtoi(rest, &number) ||
      number > (std::numeric_limits<uint64_t>::max() >> shift)) {
    return UsageError(absl::StrCat(
        text, " is no size: a number with K, M or G is wanted, as in 512M"));
  }
  return static_cast<size_t>(number << shift);
}

void FlagSet::Section(absl::string_view title) {
  groups_.push_back({std::string(title), {}});
}

void FlagSet::Add(Flag flag) {
  if (groups_.empty()) Section("Flags");
  groups_.back().flags.push_back(std::move(flag));
}

void FlagSet::Switch(absl::string_view name, absl::string_view help,
                     bool* value) {
  std::string flag(name);
  auto set = [flag, value](absl::string_view text) {
    if (!absl::SimpleAtob(text, value)) {
      return BadValue(flag, text, "true or false is wanted");
    }
    return absl::OkStatus();
  };
  Add({flag, "", std::string(help), *value ? "true" : "", set});
}

void FlagSet::Text(absl::string_view name, absl::string_view metavar,
                   absl::string_view help, std::string* value) {
  auto set = [value](absl::string_view text) {
    *value = std::string(text);
    return absl::OkStatus();
  };
  Add({std::string(name), std::string(metavar), std::string(help), *value,
       set});
}

void FlagSet::OptionalText(absl::string_view name, absl::string_view metavar,
                           absl::string_view help,
                           std::optional<std::string>* value) {
  auto set = [value](absl::string_view text) {
    *value = std::string(text);
    return absl::OkStatus();
  };
  Add({std::string(name), std::string(metavar), std::string(help), "", set});
}

void FlagSet::Texts(absl::string_view name, absl::string_view metavar,
                    absl::string_view help, std::vector<std::string>* values) {
  auto set = [values](absl::string_view text) {
    values->push_back(std::string(text));
    return absl::OkStatus();
  };
  Add({std::string(name), std::string(metavar),
       absl::StrCat(help, " May be given several times."), "", set});
}

void FlagSet::Integer(absl::string_view name, absl::string_view help,
                      int64_t min, int64_t max, int64_t* value) {
  Add({std::string(name), "N", std::string(help), absl::StrCat(*value),
       IntegerSetter(std::string(name), min, max,
                     [value](int64_t parsed) { *value = parsed; })});
}

void FlagSet::OptionalInteger(absl::string_view name, absl::string_view help,
                              int64_t min, int64_t max,
                              std::optional<int64_t>* value) {
  Add({std::string(name), "N", std::string(help), "",
       IntegerSetter(std::string(name), min, max,
                     [value](int64_t parsed) { *value = parsed; })});
}

void FlagSet::Unsigned(absl::string_view name, absl::string_view help,
                       std::optional<uint64_t>* value) {
  std::string flag(name);
  auto set = [flag, value](absl::string_view text) {
    uint64_t parsed = 0;
    if (!absl::SimpleAtoi(text, &parsed)) {
      return BadValue(flag, text, "an integer of at least 0 is wanted");
    }
    *value = parsed;
    return absl::OkStatus();
  };
  Add({flag, "N", std::string(help), "", set});
}

void FlagSet::Number(absl::string_view name, absl::string_view help,
                     std::optional<float>* value) {
  std::string flag(name);
  auto set = [flag, value](absl::string_view text) {
    float parsed = 0;
    if (!absl::SimpleAtof(text, &parsed)) {
      return BadValue(flag, text, "a number is wanted");
    }
    *value = parsed;
    return absl::OkStatus();
  };
  Add({flag, "X", std::string(help), "", set});
}

void FlagSet::Bytes(absl::string_view name, absl::string_view help,
                    size_t* value) {
  std::string flag(name);
  auto set = [flag, value](absl::string_view text) {
    absl::StatusOr<size_t> parsed = ParseBytes(text);
    if (!parsed.ok()) {
      return UsageError(
          absl::StrCat("--", flag, ": ", parsed.status().message()));
    }
    *value = *parsed;
    return absl::OkStatus();
  };
  Add({flag, "SIZE", std::string(help), ShowBytes(*value), set});
}

void FlagSet::Duration(absl::string_view name, absl::string_view help,
                       absl::Duration* value) {
  std::string flag(name);
  auto set = [flag, value](absl::string_view text) {
    absl::Duration parsed;
    if (!absl::ParseDuration(text, &parsed) || parsed < absl::ZeroDuration()) {
      return BadValue(flag, text,
                      "a duration is wanted, as in 500ms, 5s or 2m");
    }
    *value = parsed;
    return absl::OkStatus();
  };
  Add({flag, "TIME", std::string(help), absl::FormatDuration(*value), set});
}

void FlagSet::Choice(absl::string_view name, std::vector<std::string> choices,
                     absl::string_view help, std::string* value) {
  std::string flag(name);
  std::string metavar = absl::StrJoin(choices, "|");
  auto set = [flag, choices, value](absl::string_view text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      return BadValue(
          flag, text,
          absl::StrCat("one of ", absl::StrJoin(choices, ", "), " is wanted"));
    }
    *value = std::string(text);
    return absl::OkStatus();
  };
  Add({flag, metavar, std::string(help), *value, set});
}

const FlagSet::Flag* FlagSet::Find(absl::string_view name) const {
  for (const Group& group : groups_) {
    for (const Flag& flag : group.flags) {
      if (flag.name == name) return &flag;
    }
  }
  return nullptr;
}

absl::Status FlagSet::Unknown(absl::string_view name) const {
  std::vector<std::string> names;
  for (const Group& group : groups_) {
    for (const Flag& flag : group.flags) names.push_back(flag.name);
  }
  const std::string nearest = Nearest(name, names);
  return UsageError(absl::StrCat(
      "there is no flag --", name,
      nearest.empty() ? "" : absl::StrCat("; did you mean --", nearest, "?")));
}

absl::StatusOr<std::vector<std::string>> FlagSet::Parse(
    const std::vector<std::string>& args) const {
  std::vector<std::string> arguments;
  for (size_t i = 0; i < args.size(); ++i) {
    absl::string_view text = args[i];
    if (text == "--") {
      arguments.insert(arguments.end(), args.begin() + i + 1, args.end());
      break;
    }
    if (text.size() < 2 || text[0] != '-') {
      arguments.push_back(args[i]);
      continue;
    }
    if (!absl::ConsumePrefix(&text, "--")) {
      return UsageError(absl::StrCat("flags begin with two dashes: -", text));
    }
    const size_t equals = text.find('=');
    const absl::string_view name = text.substr(0, equals);
    const Flag* flag = Find(name);
    if (flag == nullptr) return Unknown(name);
    absl::string_view value;
    if (equals != absl::string_view::npos) {
      value = text.substr(equals + 1);
    } else if (flag->metavar.empty()) {
      value = "true";
    } else if (i + 1 < args.size()) {
      value = args[++i];
    } else {
      return UsageError(absl::StrCat("--", name, " needs a value: --", name,
                                     "=", flag->metavar));
    }
    if (absl::Status set = flag->set(value); !set.ok()) return set;
  }
  return arguments;
}

std::string FlagSet::Help() const {
  std::string help;
  bool sizes = false;
  bool times = false;
  for (const Group& group : groups_) {
    if (group.flags.empty()) continue;
    absl::StrAppend(&help, "\n", group.title, ":\n");
    for (const Flag& flag : group.flags) {
      sizes |= flag.metavar == "SIZE";
      times |= flag.metavar == "TIME";
      // A switch that is on by itself is only ever given to turn it off.
      const bool on = flag.metavar.empty() && flag.fallback == "true";
      const std::string metavar = on ? "true|false" : flag.metavar;
      absl::StrAppend(&help, "  --", flag.name, metavar.empty() ? "" : "=",
                      metavar, "\n");
      std::string text = flag.help;
      if (!flag.fallback.empty()) {
        absl::StrAppend(&text, " Default: ", flag.fallback, ".");
      }
      absl::StrAppend(&help, Wrap(text, 6));
    }
  }
  if (sizes || times) absl::StrAppend(&help, "\n");
  if (sizes) absl::StrAppend(&help, kBytesNote, "\n");
  if (times) absl::StrAppend(&help, kDurationNote, "\n");
  return help;
}

std::string Wrap(absl::string_view text, size_t indent) {
  std::string wrapped;
  for (absl::string_view paragraph : absl::StrSplit(text, '\n')) {
    std::string line(indent, ' ');
    for (absl::string_view word :
         absl::StrSplit(paragraph, ' ', absl::SkipEmpty())) {
      if (line.size() > indent && line.size() + 1 + word.size() > kColumns) {
        absl::StrAppend(&wrapped, line, "\n");
        line.assign(indent, ' ');
      }
      absl::StrAppend(&line, line.size() > indent ? " " : "", word);
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&wrapped, line, "\n");
  }
  return wrapped;
}

std::string Nearest(absl::string_view name,
                    const std::vector<std::string>& names) {
  std::string nearest;
  // Farther than this, a guess would be a riddle.
  size_t best = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : names) {
    const size_t distance = EditDistance(name, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace lapidary::cli
