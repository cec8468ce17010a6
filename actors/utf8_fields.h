// Finds what Protobuf would refuse without a name: a string field whose bytes
// are no UTF-8.
#ifndef LAPIDARY_ACTORS_UTF8_FIELDS_H_
#define LAPIDARY_ACTORS_UTF8_FIELDS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"

namespace lapidary {

// INVALID_ARGUMENT for a serialized message with such a field: its path
// ("prompt.chat.messages[2].parts[0].text") and the first bad byte. Bytes that
// are no message at all are left to the parser.
absl::Status CheckUtf8Fields(const google::protobuf::Descriptor& type,
                             absl::string_view message);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_UTF8_FIELDS_H_
