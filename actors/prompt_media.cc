#include "actors/prompt_media.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/soft_token_value.h"
#include "storage/file_io.h"
#include "storage/media_source.h"

namespace lapidary {
namespace {

bool IsSound(const PromptMedium& medium) {
  return medium.kind == MediumKind::kSound;
}

// Of an image, or of a window of a sound.
int64_t RowsOf(const ServedModel& model, MediumKind kind) {
  return kind == MediumKind::kSound ? model.config.sound_rows()
                                    : model.config.image_rows();
}

// Soft tokens that a client sends, as the stage takes them: of an image, or of
// any number of a sound's windows.
absl::StatusOr<kernels::Tensor> TakeSoftTokens(const ServedModel& model,
                                               MediumKind kind,
                                               const v1::SoftTokens& soft,
                                               const std::string& field) {
  const int64_t width = model.config.text.hidden_size;
  const int64_t each = RowsOf(model, kind);
  const int64_t tokens = soft.tokens();
  const bool whole = kind == MediumKind::kSound
                         ? tokens > 0 && tokens % each == 0
                         : tokens == each;
  if (!whole || soft.width() != width ||
      soft.values().size() != tokens * width * sizeof(float)) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, " has ", tokens, " tokens of ", soft.width(), " in ",
        soft.values().size(), " bytes, this model takes ", each, " of ", width,
        " in ", each * width * sizeof(float),
        kind == MediumKind::kSound ? " for each window of a sound" : "",
        "; send what EncodeMedia of the same model gave"));
  }
  const size_t bytes = soft.values().size();
  auto buffer = kernels::AlignedBuffer::Make(bytes);
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat(field, ": no memory for ", bytes, " bytes"));
  }
  std::memcpy(buffer->data(), soft.values().data(), bytes);
  const auto* values = reinterpret_cast<const float*>(buffer->data());
  for (int64_t i = 0; i < tokens * width; ++i) {
    if (IsSoftTokenValue(values[i])) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(field, ".values[", i, "] is ", values[i],
                     "; no encoder gives more than ", kMaxSoftTokenValue));
  }
  return kernels::Tensor(kernels::DType::kF32, {tokens, width},
                         std::move(buffer));
}

struct KindFacts {
  MediumKind kind;
  bool known;              // whether the model has a token for it
  const std::string* why;  // it is not taken; empty: it is
  const char* files;
};

// v1::Image and v1::Audio have the same fields.
template <typename Part>
absl::StatusOr<PromptMedium> Take(const ServedModel& model,
                                  const KindFacts& facts, const Part& part,
                                  const std::string& field, GivenMedia* given) {
  PromptMedium taken;
  taken.kind = facts.kind;
  taken.field = field;
  const int forms = part.has_soft_tokens() + !part.data().empty() +
                    !part.url().empty() + !part.file().empty();
  if (forms > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " has ", forms,
                     " of data, soft_tokens, url and file; send one of them"));
  }
  if (part.has_soft_tokens()) {
    if (!facts.known) {
      return absl::UnimplementedError(absl::StrCat(field, ": ", *facts.why));
    }
    if (given != nullptr && given->next < given->rows.size() &&
        part.soft_tokens().values().empty()) {
      taken.rows = given->rows[given->next++];
      return taken;
    }
    auto rows = TakeSoftTokens(model, facts.kind, part.soft_tokens(),
                               absl::StrCat(field, ".soft_tokens"));
    if (!rows.ok()) return rows.status();
    taken.rows = *std::move(rows);
    return taken;
  }
  if (!facts.why->empty()) {
    return absl::UnimplementedError(absl::StrCat(field, ": ", *facts.why));
  }
  if (!part.url().empty() || !part.file().empty()) {
    taken.source = part.file().empty()
                       ? MediaSource{MediaSource::Kind::kUrl, part.url()}
                       : MediaSource{MediaSource::Kind::kFile, part.file()};
    const absl::Status allowed = AllowMedia(model.media, *taken.source);
    if (!allowed.ok()) {
      return absl::Status(allowed.code(),
                          absl::StrCat(field, ": ", allowed.message()));
    }
    return taken;
  }
  if (part.data().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ".data is empty; give it a ", facts.files));
  }
  taken.file = std::make_shared<const std::string>(part.data());
  taken.key = Checksum(*taken.file);
  return taken;
}

// Holds a prompt that has grown against the context.
absl::Status CheckGrown(int64_t context, Encoded* encoded) {
  Submit& submit = encoded->submit;
  const auto prompt = static_cast<int64_t>(submit.tokens.size());
  const int64_t left = context - prompt;
  if (submit.task == Task::kScore) {
    return left >= 0 ? absl::OkStatus() : PromptTooLong(prompt, 0, context);
  }
  if (!encoded->fixed_max_tokens) {
    const auto clipped =
        static_cast<int32_t>(std::clamp<int64_t>(left, 1, submit.max_tokens));
    if (submit.min_tokens == submit.max_tokens) submit.min_tokens = clipped;
    submit.max_tokens = clipped;
  }
  if (submit.max_tokens <= left) return absl::OkStatus();
  return PromptTooLong(prompt, submit.max_tokens, context);
}

}  // namespace

absl::Status PromptTooLong(int64_t prompt, int64_t answer, int64_t context) {
  const std::string what =
      answer == 0 || prompt > context
          ? " exceeds"
          : absl::StrCat(" and max_tokens of ", answer, " exceed");
  return absl::OutOfRangeError(absl::StrCat(
      "prompt of ", prompt, " tokens", what, " the model's context of ",
      context, " tokens; each image and each 30 s of a sound take some"));
}

absl::StatusOr<PromptMedium> TakeImage(const ServedModel& model,
                                       const v1::Image& image,
                                       const std::string& field,
                                       GivenMedia* given) {
  return Take(model,
              {MediumKind::kImage, model.config.image_token_id.has_value(),
               &model.no_images, "PNG, JPEG, WebP or GIF file"},
              image, field, given);
}

absl::StatusOr<PromptMedium> TakeSound(const ServedModel& model,
                                       const v1::Audio& audio,
                                       const std::string& field,
                                       GivenMedia* given) {
  return Take(model,
              {MediumKind::kSound, model.config.audio_token_id.has_value(),
               &model.no_sounds, "WAV, FLAC, Ogg or MP3 file"},
              audio, field, given);
}

int64_t WindowsOf(const ServedModel& model, const PromptMedium& medium) {
  if (!IsSound(medium)) return 1;
  if (!medium.rows.empty()) {
    return std::max<int64_t>(1, medium.rows.dim(0) / model.config.sound_rows());
  }
  return 1 + static_cast<int64_t>(medium.later_windows.size());
}

int64_t PlacesOf(const ServedModel& model, const PromptMedium& medium) {
  return medium.rows.empty() ? RowsOf(model, medium.kind)
                             : medium.rows.dim(0) / WindowsOf(model, medium);
}

absl::Status CheckMediaFit(const ServedModel& model,
                           absl::Span<const PromptMedium> media) {
  int64_t tokens = 0;
  for (const PromptMedium& medium : media) {
    tokens += WindowsOf(model, medium) * PlacesOf(model, medium);
  }
  const int64_t context = model.config.text.max_position_embeddings;
  if (tokens <= context) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(
      "prompt.chat: the first ", media.size(), " images and sounds take ",
      tokens, " tokens, the model's context has ", context));
}

absl::Status PlaceMedia(const ServedModel& model, absl::Span<const int32_t> ids,
                        std::vector<PromptMedium>* media) {
  auto at = ids.begin();
  for (PromptMedium& medium : *media) {
    const int32_t token = IsSound(medium)
                              ? model.config.audio_token_id.value_or(-1)
                              : model.config.image_token_id.value_or(-1);
    const int64_t rows = PlacesOf(model, medium);
    const int64_t windows = WindowsOf(model, medium);
    medium.later_windows.clear();
    for (int64_t window = 0; window < windows; ++window) {
      at = std::find(at, ids.end(), token);
      if (ids.end() - at < rows) {
        return absl::InternalError(
            absl::StrCat(medium.field, " has no place in the prompt"));
      }
      const auto position = static_cast<int32_t>(at - ids.begin());
      if (window == 0) {
        medium.first_position = position;
      } else {
        medium.later_windows.push_back(position);
      }
      at += rows;
    }
  }
  return absl::OkStatus();
}

absl::Status WidenSounds(const ServedModel& model,
                         absl::Span<const int32_t> windows, Encoded* encoded) {
  // What two audio parts have between them.
  auto between = model.tokenizer->Encode("\n\n\n\n", SpecialTokens::kPlainText);
  if (!between.ok()) return between.status();
  const std::vector<int32_t> old = std::move(encoded->submit.tokens);
  // <start_of_audio>, its soft tokens, <end_of_audio>.
  const int64_t places = model.config.audio_soft_tokens_per_image + 2;
  std::vector<int32_t> ids;
  size_t copied = 0;  // of `old`
  for (size_t i = 0; i < encoded->media.size(); ++i) {
    PromptMedium& medium = encoded->media[i];
    const auto grown = static_cast<int32_t>(static_cast<int64_t>(ids.size()) -
                                            static_cast<int64_t>(copied));
    const auto begin = old.begin() + medium.first_position - 1;
    medium.first_position += grown;
    for (int32_t& position : medium.later_windows) position += grown;
    if (!IsSound(medium) || !medium.rows.empty() || windows[i] <= 1) continue;
    ids.insert(ids.end(), old.begin() + static_cast<std::ptrdiff_t>(copied),
               begin + places);
    copied = begin + places - old.begin();
    for (int32_t window = 1; window < windows[i]; ++window) {
      ids.insert(ids.end(), between->begin(), between->end());
      medium.later_windows.push_back(static_cast<int32_t>(ids.size()) + 1);
      ids.insert(ids.end(), begin, begin + places);
    }
  }
  ids.insert(ids.end(), old.begin() + static_cast<std::ptrdiff_t>(copied),
             old.end());
  encoded->submit.tokens = std::move(ids);
  return CheckGrown(model.config.text.max_position_embeddings, encoded);
}

absl::Status AddSoftTokens(const PromptMedium& medium,
                           const kernels::Tensor& rows, Submit* submit) {
  const auto windows = static_cast<int64_t>(1 + medium.later_windows.size());
  if (rows.dim(0) % windows != 0) {
    return absl::InternalError(absl::StrCat(medium.field, ": ", rows.dim(0),
                                            " soft tokens for ", windows,
                                            " windows"));
  }
  const int64_t each = rows.dim(0) / windows;
  const auto owner = std::make_shared<const kernels::Tensor>(rows);
  for (int64_t window = 0; window < windows; ++window) {
    submit->soft_tokens.push_back(
        {window == 0 ? medium.first_position : medium.later_windows[window - 1],
         kernels::Tensor(kernels::DType::kF32, {each, rows.dim(1)},
                         rows.data<float>() + window * each * rows.dim(1),
                         owner)});
  }
  return absl::OkStatus();
}

}  // namespace lapidary
