#include "storage/manifest.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/text_config_reader.h"

namespace lapidary {
namespace {

using kernels::DType;
using kernels::text::TensorUse;

constexpr char kFormat[] = "lapidary-packed-model";
constexpr char kChecksum[] = "checksum";
constexpr int64_t kMaxSize = std::numeric_limits<int64_t>::max();

constexpr std::pair<TensorUse, const char*> kUses[] = {
    {TensorUse::kGemm, "gemm"},
    {TensorUse::kPlain, "plain"},
    {TensorUse::kPleTable, "ple"},
    {TensorUse::kNeuronRows, "neuron rows"},
    {TensorUse::kNeuronColumns, "neuron columns"}};

const char* UseName(TensorUse use) {
  for (const auto& [value, name] : kUses) {
    if (value == use) return name;
  }
  return "unknown";
}

TensorUse ReadUse(JsonFields* fields) {
  const std::string text = fields->String("use", "");
  for (const auto& [value, name] : kUses) {
    if (text == name) return value;
  }
  fields->Fail("use", "want gemm, plain, neuron rows or neuron columns");
  return TensorUse::kPlain;
}

DType ReadWeightDType(JsonFields* fields) {
  const std::string text = fields->String("dtype", "");
  for (const DType dtype :
       {DType::kF32, DType::kBf16, DType::kInt8, DType::kInt4}) {
    if (text == NameOf(dtype)) return dtype;
  }
  fields->Fail("dtype", "want f32, bf16, int8 or int4");
  return DType::kF32;
}

DType ReadPleDType(JsonFields* fields) {
  const std::string text = fields->String("dtype", "");
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kInt8}) {
    if (text == NameOf(dtype)) return dtype;
  }
  fields->Fail("dtype", "want f32, bf16 or int8");
  return DType::kF32;
}

// Everything in the manifest is written, so nothing may be absent.
int64_t Required(JsonFields* fields, absl::string_view name) {
  if (!fields->Has(name)) fields->Fail(name, "want an integer");
  return fields->Int(name, 0, 0, kMaxSize);
}

Json TensorToJson(const ManifestTensor& tensor) {
  return {{"name", tensor.name},          {"file", tensor.file},
          {"offset", tensor.offset},      {"bytes", tensor.bytes},
          {"shape", tensor.shape},        {"dtype", NameOf(tensor.dtype)},
          {"use", UseName(tensor.use)},   {"row_blocks", tensor.row_blocks},
          {"rms_error", tensor.rms_error}};
}

ManifestTensor ReadTensor(JsonFields* fields) {
  ManifestTensor tensor;
  tensor.name = fields->String("name", "");
  tensor.file = fields->String("file", "");
  tensor.offset = Required(fields, "offset");
  tensor.bytes = Required(fields, "bytes");
  tensor.dtype = ReadWeightDType(fields);
  tensor.use = ReadUse(fields);
  tensor.row_blocks = Required(fields, "row_blocks");
  tensor.rms_error = fields->Number("rms_error", 0);
  const Json* shape = fields->Find("shape");
  if (shape == nullptr || !shape->is_array() || shape->size() > 8) {
    fields->Fail("shape", "want a list of sizes");
    return tensor;
  }
  tensor.shape =
      fields->IntOrList("shape", 0, shape->size(), 0, kMaxDim * kMaxLayers);
  return tensor;
}

ManifestFile ReadManifestFile(JsonFields* fields) {
  ManifestFile file;
  file.path = fields->String("path", "");
  file.bytes = Required(fields, "bytes");
  file.checksum = fields->String("xxh3", "");
  return file;
}

// Calls `read` for each object of the list `name`.
template <typename Read>
void ReadList(JsonFields* fields, absl::string_view name, Read read) {
  const Json* list = fields->Find(name);
  if (list == nullptr || !list->is_array()) {
    fields->Fail(name, "want a list");
    return;
  }
  for (size_t i = 0; i < list->size() && fields->ok(); ++i) {
    JsonFields element((*list)[i],
                       absl::StrCat(fields->Name(name), "[", i, "]"));
    read(&element);
    fields->Fail(element.status());
  }
}

// Calls `read` for the object `name`.
template <typename Read>
void ReadObject(JsonFields* fields, absl::string_view name, Read read) {
  const Json* object = fields->Find(name);
  if (object == nullptr) {
    fields->Fail(name, "want an object");
    return;
  }
  JsonFields inner(*object, fields->Name(name));
  read(&inner);
  fields->Fail(inner.status());
}

// Whether the object's checksum is that of the rest of it.
bool ChecksumHolds(Json json) {
  if (!json.is_object()) return false;
  const auto it = json.find(kChecksum);
  if (it == json.end() || !it->is_string()) return false;
  const std::string written = it->get<std::string>();
  json.erase(it);
  return written ==
         Checksum(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

absl::Status DamagedModel(const std::string& path, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat(path, ": ", what, "; pack the model again"));
}

std::string WriteManifest(const Manifest& manifest) {
  Json json;
  json["format"] = kFormat;
  json["format_version"] = kManifestVersion;
  json["tool"] = "lapidary pack";
  json["name"] = manifest.name;
  json["source"] = manifest.source;
  json["dtype"] = NameOf(manifest.dtype);
  json["chat_template"] = manifest.chat_template;
  json["parameters"] = {{"text", manifest.parameters.text},
                        {"ple", manifest.parameters.ple},
                        {"vision", manifest.parameters.vision},
                        {"audio", manifest.parameters.audio}};
  json["ple"] = {{"tokens", manifest.ple.tokens},
                 {"layers", manifest.ple.layers},
                 {"width", manifest.ple.width},
                 {"dtype", NameOf(manifest.ple.dtype)}};
  json["files"] = Json::array();
  for (const ManifestFile& file : manifest.files) {
    json["files"].push_back(
        {{"path", file.path}, {"bytes", file.bytes}, {"xxh3", file.checksum}});
  }
  json["tensors"] = Json::array();
  for (const ManifestTensor& tensor : manifest.tensors) {
    json["tensors"].push_back(TensorToJson(tensor));
  }
  json[kChecksum] =
      Checksum(json.dump(-1, ' ', false, Json::error_handler_t::replace));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<Manifest> ParseManifest(absl::string_view text,
                                       const std::string& path) {
  absl::StatusOr<Json> json = ParseJson(text, path);
  if (!json.ok()) {
    return DamagedModel(path, "not valid JSON, so it was damaged");
  }
  if (!ChecksumHolds(*json)) {
    return DamagedModel(path,
                        "its checksum does not fit its content: the file was "
                        "changed or damaged");
  }
  JsonFields fields(*json, path);
  if (fields.String("format", "") != kFormat) {
    return DamagedModel(path, absl::StrCat("its format is not ", kFormat));
  }
  const int64_t version = Required(&fields, "format_version");
  if (version > kManifestVersion) {
    return absl::UnimplementedError(absl::StrCat(
        path, ": format_version is ", version, ", this program reads up to ",
        kManifestVersion,
        "; pack the model again, or use the program that packed it"));
  }
  if (version < kManifestVersion) {
    return absl::UnimplementedError(absl::StrCat(
        path, ": packed by an older lapidary (format_version ", version,
        ", this program reads ", kManifestVersion, "); pack the model again"));
  }
  Manifest manifest;
  manifest.name = fields.String("name", "");
  manifest.source = fields.String("source", "");
  manifest.chat_template = fields.String("chat_template", kTemplateAbsent);
  manifest.dtype = ReadWeightDType(&fields);
  ReadObject(&fields, "parameters", [&](JsonFields* inner) {
    manifest.parameters.text = Required(inner, "text");
    manifest.parameters.ple = Required(inner, "ple");
    manifest.parameters.vision = Required(inner, "vision");
    manifest.parameters.audio = Required(inner, "audio");
  });
  ReadObject(&fields, "ple", [&](JsonFields* inner) {
    manifest.ple.tokens = Required(inner, "tokens");
    manifest.ple.layers = Required(inner, "layers");
    manifest.ple.width = Required(inner, "width");
    manifest.ple.dtype = ReadPleDType(inner);
  });
  ReadList(&fields, "files", [&](JsonFields* element) {
    manifest.files.push_back(ReadManifestFile(element));
  });
  ReadList(&fields, "tensors", [&](JsonFields* element) {
    manifest.tensors.push_back(ReadTensor(element));
  });
  if (!fields.ok()) {
    return absl::DataLossError(
        absl::StrCat(fields.status().message(), "; pack the model again"));
  }
  return manifest;
}

}  // namespace lapidary
