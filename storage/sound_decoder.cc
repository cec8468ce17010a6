#include "storage/sound_decoder.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/file_magic.h"
#include "storage/sound_file.h"
#include "storage/sound_mp3.h"
#include "storage/sound_vorbis.h"

namespace lapidary {
namespace {

// What people send instead.
constexpr OtherFile kOtherFiles[] = {
    {{"", 4, "ftyp"}, "an MP4 or M4A file (AAC)"},
    {{"\x1A\x45\xDF\xA3", 0, ""}, "a WebM or Matroska file"},
    {{"FORM", 8, "AIF"}, "an AIFF sound"},
    {{".snd", 0, ""}, "an AU sound"},
    {{"#!AMR", 0, ""}, "an AMR sound"},
    {{"caff", 0, ""}, "a CAF sound"},
    {{"MThd", 0, ""}, "a MIDI file"},
    {{"RIFF", 8, "AVI "}, "an AVI film"},
    {{"RIFF", 8, "WEBP"}, "a WebP image"},
    {{"\x89PNG", 0, ""}, "a PNG image"},
    {{"\xFF\xD8\xFF", 0, ""}, "a JPEG image"},
    {{"%PDF", 0, ""}, "a PDF document"},
    {{"<", 0, ""}, "XML or HTML text"},
    {{"{", 0, ""}, "JSON text"},
    {{"data:", 0, ""}, "a data URL, not the bytes in it"},
    {{"http", 0, ""}, "an address, not what is there"},
    {{"UklGR", 0, ""}, "base64 text of a WAV sound, not its bytes"},
    {{"T2dnUw", 0, ""}, "base64 text of an Ogg sound, not its bytes"},
    {{"ZkxhQ", 0, ""}, "base64 text of a FLAC sound, not its bytes"},
    {{"SUQz", 0, ""}, "base64 text of an MP3 sound, not its bytes"},
    {{"//uQ", 0, ""}, "base64 text of an MP3 sound, not its bytes"},
};

absl::Status NotASound(absl::string_view bytes) {
  return absl::InvalidArgumentError(
      absl::StrCat("sound: this is ", NameFile(bytes, kOtherFiles),
                   "; send the bytes of a WAV, FLAC, Ogg or MP3 file"));
}

bool IsMp3(absl::string_view bytes) {
  if (absl::StartsWith(bytes, "ID3")) return true;
  // A frame: eleven bits of synchronisation, then version and layer III.
  return bytes.size() >= 2 && bytes[0] == '\xFF' && (bytes[1] & 0xE0) == 0xE0 &&
         (bytes[1] & 0x18) != 0x08 && (bytes[1] & 0x06) == 0x02;
}

absl::Status CheckBytes(absl::string_view bytes, const SoundLimits& limits) {
  if (bytes.size() <= limits.max_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("sound: it has ", bytes.size(), " bytes, the limit is ",
                   limits.max_bytes, "; cut it into several or compress it"));
}

}  // namespace

absl::StatusOr<Sound> DecodeSound(absl::string_view bytes,
                                  const SoundLimits& limits) {
  if (auto s = CheckBytes(bytes, limits); !s.ok()) return s;
  const Magic wav = {"RIFF", 8, "WAVE"}, rf64 = {"RF64", 8, "WAVE"};
  absl::Status status;
  if (wav.Matches(bytes) || rf64.Matches(bytes)) {
    status = CheckWav(bytes);
  } else if (absl::StartsWith(bytes, "OggS")) {
    status = CheckOgg(bytes);
    if (status.ok() && IsVorbis(bytes)) return DecodeVorbis(bytes, limits);
  } else if (IsMp3(bytes)) {
    return DecodeMp3(bytes, limits);
  } else if (!absl::StartsWith(bytes, "fLaC")) {
    status = NotASound(bytes);
  }
  if (!status.ok()) return status;
  return DecodeSoundFile(bytes, limits);
}

absl::StatusOr<Sound> DecodePcm(absl::string_view bytes,
                                const PcmFormat& format,
                                const SoundLimits& limits) {
  if (auto s = CheckBytes(bytes, limits); !s.ok()) return s;
  auto stream = PcmStream::Open(format, limits);
  if (!stream.ok()) return stream.status();
  Sound sound;
  sound.format = "PCM";
  sound.rate = format.rate;
  sound.channels = format.channels;
  if (auto s = (*stream)->Push(bytes, &sound.samples); !s.ok()) return s;
  if (auto s = (*stream)->Finish(&sound.samples); !s.ok()) return s;
  if (sound.samples.empty()) {
    return absl::InvalidArgumentError("PCM sound: it has no samples");
  }
  return sound;
}

}  // namespace lapidary
