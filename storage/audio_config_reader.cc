#include "storage/audio_config_reader.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

using kernels::audio::AudioConfig;
using kernels::audio::MelConfig;
using kernels::audio::SubsampleConfig;

constexpr int64_t kMaxWidth = 1 << 14;
constexpr int64_t kMaxBlocks = 256;
constexpr int64_t kMaxKernel = 63;
// From there on clipping changes nothing that f32 can still tell apart.
constexpr double kNoClipping = 1e6;

double NumberIn(JsonFields* fields, const char* name, double fallback,
                double min, double max) {
  const double value = fields->Number(name, fallback);
  if (value >= min && value <= max) return value;
  fields->Fail(name, absl::StrCat("want a number from ", min, " to ", max));
  return fallback;
}

void Unimplemented(const char* name, absl::string_view wanted,
                   JsonFields* fields) {
  const Json* value = fields->Find(name);
  fields->Fail(absl::UnimplementedError(absl::StrCat(
      fields->Name(name), " is ",
      value == nullptr ? "absent" : JsonForMessage(*value), ": ", wanted)));
}

// `name` as two pairs [time, frequency], one for each convolution.
void ReadPairs(JsonFields* fields, const char* name, int64_t max,
               int64_t SubsampleConfig::*time,
               int64_t SubsampleConfig::*frequency, AudioConfig* c) {
  const Json* list = fields->Find(name);
  if (list == nullptr) return;
  const auto is_size = [max](const Json& v) {
    return v.is_number_integer() && v >= 1 && v <= max;
  };
  for (size_t stage = 0; stage < c->sscp_conv.size(); ++stage) {
    if (!list->is_array() || list->size() != c->sscp_conv.size() ||
        !(*list)[stage].is_array() || (*list)[stage].size() != 2 ||
        !is_size((*list)[stage][0]) || !is_size((*list)[stage][1])) {
      fields->Fail(name, absl::StrCat("want two pairs [time, frequency] of "
                                      "integers from 1 to ",
                                      max));
      return;
    }
    c->sscp_conv[stage].*time = (*list)[stage][0];
    c->sscp_conv[stage].*frequency = (*list)[stage][1];
  }
}

void ReadSubsampling(JsonFields* fields, AudioConfig* c) {
  if (const Json* list = fields->Find("sscp_conv_channel_size")) {
    if (!list->is_array() || list->size() != c->sscp_conv.size()) {
      fields->Fail("sscp_conv_channel_size", "want two channel counts");
      return;
    }
    const std::vector<int64_t> channels =
        fields->IntOrList("sscp_conv_channel_size", 128, 2, 1, 4096);
    if (!fields->ok()) return;
    for (size_t i = 0; i < channels.size(); ++i) {
      c->sscp_conv[i].channels = channels[i];
    }
  }
  ReadPairs(fields, "sscp_conv_kernel_size", 15, &SubsampleConfig::time_kernel,
            &SubsampleConfig::frequency_kernel, c);
  ReadPairs(fields, "sscp_conv_stride_size", 15, &SubsampleConfig::time_stride,
            &SubsampleConfig::frequency_stride, c);
  c->sscp_conv_group_norm_eps = static_cast<float>(
      NumberIn(fields, "sscp_conv_group_norm_eps", 1e-3, 1e-12, 1));
  int64_t bands = c->mel.feature_size;
  for (const SubsampleConfig& conv : c->sscp_conv) {
    // One band of padding on either side, whatever the kernel.
    if (bands + 2 < conv.frequency_kernel) {
      fields->Fail("sscp_conv_kernel_size",
                   "want no more than there are bands");
      return;
    }
    bands = conv.OutputBands(bands);
  }
}

void ReadConformer(JsonFields* fields, AudioConfig* c) {
  c->hidden_size = fields->Int("hidden_size", 1536, 2, kMaxWidth);
  c->conf_num_attention_heads =
      fields->Int("conf_num_attention_heads", 8, 1, kMaxWidth);
  if (c->hidden_size % 2 != 0 ||
      c->hidden_size % c->conf_num_attention_heads != 0) {
    fields->Fail("hidden_size",
                 "want an even number, divisible by conf_num_attention_heads");
  }
  c->conf_num_hidden_layers =
      fields->Int("conf_num_hidden_layers", 12, 1, kMaxBlocks);
  // Changes no result (gemma3n-audio.md §3.5).
  fields->Int("conf_attention_chunk_size", 12, 1, 1 << 20);
  c->conf_attention_context_left =
      fields->Int("conf_attention_context_left", 13, 0, 4096);
  if (fields->Int("conf_attention_context_right", 0, 0, 4096) != 0) {
    Unimplemented("conf_attention_context_right",
                  "want 0: a frame of Gemma 3n hears nothing that comes later",
                  fields);
  }
  c->conf_attention_logit_cap = static_cast<float>(
      NumberIn(fields, "conf_attention_logit_cap", 50, 1e-3, 1e6));
  c->conf_conv_kernel_size =
      fields->Int("conf_conv_kernel_size", 5, 1, kMaxKernel);
  c->conf_reduction_factor = fields->Int("conf_reduction_factor", 4, 1, 64);
  c->conf_residual_weight = static_cast<float>(
      NumberIn(fields, "conf_residual_weight", 0.5, -16, 16));
  if (fields->Number("gradient_clipping", 1e10) < kNoClipping) {
    Unimplemented("gradient_clipping", "want 1e10, which clips nothing",
                  fields);
  }
}

int64_t SamplesOf(JsonFields* fields, const char* milliseconds, double fallback,
                  int64_t rate) {
  const double ms = NumberIn(fields, milliseconds, fallback, 0.1, 250);
  // Python's round(): halves to even.
  return static_cast<int64_t>(
      std::nearbyint(static_cast<double>(rate) * ms / 1000.0));
}

std::vector<double> ReadPerBin(JsonFields* fields, const char* name,
                               int64_t bands, double smallest) {
  std::vector<double> values;
  const Json* list = fields->Find(name);
  if (list == nullptr) return values;
  if (!list->is_array() || static_cast<int64_t>(list->size()) != bands) {
    fields->Fail(name, absl::StrCat("want null or ", bands, " numbers"));
    return values;
  }
  for (const Json& value : *list) {
    const double number = value.is_number() ? value.get<double>() : NAN;
    if (!(number >= smallest && number <= 1e6)) {
      fields->Fail(name,
                   absl::StrCat("want numbers from ", smallest, " to 1e+06"));
      return values;
    }
    values.push_back(number);
  }
  return values;
}

int64_t FftLength(int64_t frame_length, bool overdrive) {
  int64_t length = 1;
  while (length < frame_length) length *= 2;
  return overdrive ? 2 * length : length;
}

}  // namespace

absl::StatusOr<AudioConfig> ReadAudioConfig(const Json& object,
                                            const std::string& path,
                                            int64_t text_hidden_size) {
  JsonFields fields(object, path);
  AudioConfig c;
  c.text_hidden_size = text_hidden_size;
  c.mel.feature_size = fields.Int("input_feat_size", 128, 1, 4096);
  c.vocab_size = fields.Int("vocab_size", 128, 1, 1 << 20);
  c.vocab_offset = fields.Int("vocab_offset", 262272, 0, 1 << 30);
  c.rms_norm_eps =
      static_cast<float>(NumberIn(&fields, "rms_norm_eps", 1e-6, 0, 1));
  ReadSubsampling(&fields, &c);
  ReadConformer(&fields, &c);
  if (!fields.ok()) return fields.status();
  return c;
}

absl::Status ReadMelConfig(const Json& object, const std::string& path,
                           MelConfig* mel) {
  JsonFields fields(object, path);
  // Fields that an image processor has none of.
  if (!object.is_object() ||
      (!fields.Has("sampling_rate") && !fields.Has("mel_floor"))) {
    return absl::OkStatus();
  }
  MelConfig m = *mel;
  const int64_t bands = fields.Int("feature_size", 128, 1, 4096);
  if (bands != mel->feature_size) {
    fields.Fail("feature_size",
                absl::StrCat("audio_config's input_feat_size "
                             "is ",
                             mel->feature_size, ": want the same"));
  }
  m.sampling_rate = fields.Int("sampling_rate", 16000, 1, 1 << 20);
  if (m.sampling_rate != 16000) {
    Unimplemented("sampling_rate", "want 16000, as every Gemma 3n has it",
                  &fields);
  }
  if (fields.Number("dither", 0.0) > 0) {
    Unimplemented("dither", "want 0: an answer does not depend on chance",
                  &fields);
  }
  // Hugging Face takes the lengths from these and not from frame_length,
  // hop_length and fft_length, which it writes but does not read.
  m.frame_length = SamplesOf(&fields, "frame_length_ms", 32.0, m.sampling_rate);
  m.hop_length = SamplesOf(&fields, "hop_length_ms", 10.0, m.sampling_rate);
  m.fft_length = FftLength(m.frame_length, fields.Bool("fft_overdrive", true));
  const double nyquist = static_cast<double>(m.sampling_rate) / 2;
  m.min_frequency = NumberIn(&fields, "min_frequency", 125.0, 0, nyquist);
  m.max_frequency = NumberIn(&fields, "max_frequency", 7600.0, 0, nyquist);
  if (m.min_frequency >= m.max_frequency) {
    fields.Fail("max_frequency", "want more than min_frequency");
  }
  m.preemphasis = NumberIn(&fields, "preemphasis", 0.97, 0, 1);
  m.preemphasis_htk_flavor = fields.Bool("preemphasis_htk_flavor", true);
  m.input_scale_factor =
      NumberIn(&fields, "input_scale_factor", 1.0, 1e-6, 1e6);
  m.mel_floor = NumberIn(&fields, "mel_floor", 1e-5, 1e-30, 1e6);
  m.per_bin_mean = ReadPerBin(&fields, "per_bin_mean", bands, -1e6);
  m.per_bin_stddev = ReadPerBin(&fields, "per_bin_stddev", bands, 1e-6);
  if (!fields.ok()) return fields.status();
  *mel = std::move(m);
  return absl::OkStatus();
}

}  // namespace lapidary
