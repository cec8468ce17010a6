// Command-line flags of one program or command: each with its type, range and
// a sentence of help, kept in the order in which they are shown.
//
//   std::string model;
//   std::optional<int64_t> max_tokens;
//   FlagSet flags;
//   flags.Section("Answer");
//   flags.Integer("max-tokens", "Longest answer.", 1, 1 << 20, &max_tokens);
//   absl::StatusOr<std::vector<std::string>> arguments = flags.Parse(args);
//
// `--name=value` and `--name value` mean the same; `--switch`, or
// `--switch=false`; what follows `--` is no flag. An unknown flag is an error
// that names the nearest one.
#ifndef LAPIDARY_DEPLOY_CLI_FLAGS_H_
#define LAPIDARY_DEPLOY_CLI_FLAGS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace lapidary::cli {

// An error of the command line itself: exit code 2, and a pointer to the help.
absl::Status UsageError(absl::string_view message);
bool IsUsageError(const absl::Status& status);

// "512M", "1G", "64MiB", "4096": bytes; K, M and G are powers of 1024.
absl::StatusOr<size_t> ParseBytes(absl::string_view text);

class FlagSet {
 public:
  // Flags declared from here on are shown under `title`.
  void Section(absl::string_view title);

  // The variable's value at this call is shown as the default.
  void Switch(absl::string_view name, absl::string_view help, bool* value);
  // `metavar` stands for the value in the help: --listen=HOST:PORT.
  void Text(absl::string_view name, absl::string_view metavar,
            absl::string_view help, std::string* value);
  void OptionalText(absl::string_view name, absl::string_view metavar,
                    absl::string_view help, std::optional<std::string>* value);
  // May be given several times.
  void Texts(absl::string_view name, absl::string_view metavar,
             absl::string_view help, std::vector<std::string>* values);
  // In [min, max].
  void Integer(absl::string_view name, absl::string_view help, int64_t min,
               int64_t max, int64_t* value);
  void OptionalInteger(absl::string_view name, absl::string_view help,
                       int64_t min, int64_t max, std::optional<int64_t>* value);
  // Any integer of 64 bits without sign.
  void Unsigned(absl::string_view name, absl::string_view help,
                std::optional<uint64_t>* value);
  void Number(absl::string_view name, absl::string_view help,
              std::optional<float>* value);
  void Bytes(absl::string_view name, absl::string_view help, size_t* value);
  void Duration(absl::string_view name, absl::string_view help,
                absl::Duration* value);
  // One of `choices`.
  void Choice(absl::string_view name, std::vector<std::string> choices,
              absl::string_view help, std::string* value);

  // Sets the flags of `args` and returns the other arguments, in order.
  absl::StatusOr<std::vector<std::string>> Parse(
      const std::vector<std::string>& args) const;

  // The flags' part of a help page, wrapped at 80 columns.
  std::string Help() const;

 private:
  struct Flag {
    std::string name;
    std::string metavar;  // "" for a switch
    std::string help;
    std::string fallback;  // shown as the default; "" for none
    std::function<absl::Status(absl::string_view value)> set;
  };
  struct Group {
    std::string title;
    std::vector<Flag> flags;
  };

  void Add(Flag flag);
  const Flag* Find(absl::string_view name) const;
  absl::Status Unknown(absl::string_view name) const;

  std::vector<Group> groups_;
};

// `text` in lines of at most 80 columns, each after `indent` spaces.
std::string Wrap(absl::string_view text, size_t indent);

// The name of `names` that `name` was probably meant to be; "" if none is near.
std::string Nearest(absl::string_view name,
                    const std::vector<std::string>& names);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_FLAGS_H_
