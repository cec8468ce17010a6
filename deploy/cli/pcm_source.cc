#include "deploy/cli/pcm_source.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/file_io.h"
#include "storage/sound_decoder.h"

namespace lapidary::cli {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 30;
constexpr size_t kMaxHeaderChunk = size_t{1} << 16;

constexpr char kRemedy[] =
    "; send one of 16-bit integers or 32-bit floats (arecord -f S16_LE -r "
    "16000 -c 1), or samples without a header with --raw=s16 --rate=16000";

// As many of `count` bytes as come before the end of standard input.
absl::StatusOr<std::string> ReadInputBytes(size_t count) {
  std::string bytes(count, '\0');
  size_t got = 0;
  while (got < count) {
    const ssize_t n = read(STDIN_FILENO, bytes.data() + got, count - got);
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::UnavailableError(
          absl::StrCat("standard input: ", strerror(errno)));
    }
    got += static_cast<size_t>(n);
  }
  bytes.resize(got);
  return bytes;
}

uint32_t LittleEndian(const std::string& bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    value |= uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  }
  return value;
}

absl::Status NoWav(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(
      "standard input is no WAV that can be sent as it comes: ", what,
      kRemedy));
}

}  // namespace

absl::StatusOr<PcmSource> PcmSource::Open(const std::string& path,
                                          const std::optional<PcmFormat>& raw) {
  PcmSource source;
  if (raw.has_value()) source.format_ = *raw;
  if (path == "-") {
    source.live_ = true;
    if (raw.has_value()) return source;
    absl::Status header = source.ReadHeader();
    if (!header.ok()) return header;
    return source;
  }
  absl::StatusOr<std::string> file = ReadFile(path, kMaxFileBytes);
  if (!file.ok()) return file.status();
  if (raw.has_value()) {
    source.bytes_ = *std::move(file);
    return source;
  }
  absl::StatusOr<Sound> sound = DecodeSound(*file, SoundLimits());
  if (!sound.ok()) {
    return absl::Status(sound.status().code(),
                        absl::StrCat(path, ": ", sound.status().message()));
  }
  source.format_.encoding = PcmFormat::Encoding::kF32;
  source.bytes_.assign(reinterpret_cast<const char*>(sound->samples.data()),
                       sound->samples.size() * sizeof(float));
  return source;
}

absl::Status PcmSource::ReadHeader() {
  absl::StatusOr<std::string> riff = ReadInputBytes(12);
  if (!riff.ok()) return riff.status();
  if (riff->size() < 12 || riff->substr(0, 4) != "RIFF" ||
      riff->substr(8, 4) != "WAVE") {
    return NoWav("it does not begin as one");
  }
  bool has_format = false;
  while (true) {
    absl::StatusOr<std::string> head = ReadInputBytes(8);
    if (!head.ok()) return head.status();
    if (head->size() < 8) return NoWav("it ends before its samples");
    const uint32_t size = LittleEndian(*head, 4, 4);
    if (head->substr(0, 4) == "data") {
      if (!has_format) return NoWav("it does not say its format");
      // What is written while it comes has no length yet.
      if (size != 0 && size < 0x7fff0000) left_ = size;
      return absl::OkStatus();
    }
    if (size > kMaxHeaderChunk)
      return NoWav("a part of its header is too long");
    absl::StatusOr<std::string> chunk = ReadInputBytes(size + size % 2);
    if (!chunk.ok()) return chunk.status();
    if (head->substr(0, 4) != "fmt ") continue;
    absl::Status format = ReadFormat(*chunk);
    if (!format.ok()) return format;
    has_format = true;
  }
}

absl::Status PcmSource::ReadFormat(const std::string& chunk) {
  if (chunk.size() < 16) return NoWav("its format is cut short");
  constexpr uint32_t kInteger = 1, kFloat = 3, kExtensible = 0xfffe;
  uint32_t kind = LittleEndian(chunk, 0, 2);
  if (kind == kExtensible && chunk.size() >= 26) {
    kind = LittleEndian(chunk, 24, 2);
  }
  const uint32_t bits = LittleEndian(chunk, 14, 2);
  if (kind == kInteger && bits == 16) {
    format_.encoding = PcmFormat::Encoding::kS16;
  } else if (kind == kFloat && bits == 32) {
    format_.encoding = PcmFormat::Encoding::kF32;
  } else {
    return NoWav(absl::StrCat("its samples are of kind ", kind, " with ", bits,
                              " bits"));
  }
  format_.channels = static_cast<int>(LittleEndian(chunk, 2, 2));
  format_.rate = static_cast<int>(LittleEndian(chunk, 4, 4));
  if (format_.channels == 0 || format_.rate <= 0) {
    return NoWav("it has no channels, or no rate");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> PcmSource::Next(double seconds) {
  const size_t frames =
      std::max<size_t>(1, static_cast<size_t>(seconds * format_.rate));
  const size_t wanted = frames * format_.frame_bytes();
  if (!live_) {
    std::string next = bytes_.substr(at_, wanted);
    at_ += next.size();
    return next;
  }
  absl::StatusOr<std::string> next =
      ReadInputBytes(std::min<uint64_t>(wanted, left_));
  if (next.ok()) left_ -= next->size();
  return next;
}

}  // namespace lapidary::cli
