#include "actors/utf8_fields.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "storage/utf8.h"

namespace lapidary {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr int kDepthLimit = 100;  // Protobuf's own

absl::Status Check(const Descriptor& type, absl::string_view message,
                   const std::string& path, int depth) {
  CodedInputStream input(reinterpret_cast<const uint8_t*>(message.data()),
                         static_cast<int>(message.size()));
  std::map<int, int> seen;  // of repeated fields
  while (const uint32_t tag = input.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) !=
        WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&input, tag)) return absl::OkStatus();
      continue;
    }
    uint32_t size = 0;
    if (!input.ReadVarint32(&size)) return absl::OkStatus();
    const auto at = static_cast<size_t>(input.CurrentPosition());
    if (size > message.size() - at) return absl::OkStatus();
    const absl::string_view value = message.substr(at, size);
    input.Skip(static_cast<int>(size));

    const FieldDescriptor* field =
        type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    if (field == nullptr) continue;
    std::string name =
        absl::StrCat(path, path.empty() ? "" : ".", std::string(field->name()));
    if (field->is_repeated()) {
      absl::StrAppend(&name, "[", seen[field->number()]++, "]");
    }
    if (field->type() == FieldDescriptor::TYPE_STRING && !IsValidUtf8(value)) {
      const size_t bad = FirstInvalidByte(value);
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": byte ", bad, " (0x",
          absl::Hex(static_cast<uint8_t>(value[bad]), absl::kZeroPad2),
          ") is not UTF-8; text must be valid UTF-8"));
    }
    if (field->type() == FieldDescriptor::TYPE_MESSAGE && depth > 0) {
      absl::Status status =
          Check(*field->message_type(), value, name, depth - 1);
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckUtf8Fields(const Descriptor& type,
                             absl::string_view message) {
  return Check(type, message, "", kDepthLimit);
}

}  // namespace lapidary
