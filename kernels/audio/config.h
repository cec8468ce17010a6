// The configuration of the sound path: mel front end, conformer tower and
// embedder, under the names of Hugging Face's audio_config and feature
// extractor. storage/audio_config_reader.h fills it. Letters are those of
// gemma3n-audio.md §0.
#ifndef LAPIDARY_KERNELS_AUDIO_CONFIG_H_
#define LAPIDARY_KERNELS_AUDIO_CONFIG_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace lapidary::kernels::audio {

// What preprocessor_config.json says of sound (gemma3n-audio.md §1.1).
struct MelConfig {
  int64_t sampling_rate = 16000;
  int64_t frame_length = 512;  // samples
  int64_t hop_length = 160;
  int64_t fft_length = 1024;   // even, at least frame_length
  int64_t feature_size = 128;  // mel bands
  double min_frequency = 125.0;
  double max_frequency = 7600.0;
  double preemphasis = 0.97;
  bool preemphasis_htk_flavor = true;
  double input_scale_factor = 1.0;
  double mel_floor = 1e-5;
  std::vector<double> per_bin_mean, per_bin_stddev;  // [feature_size] or none
  // A clip is filled up with silence to a multiple of this.
  int64_t pad_to_multiple_of = 128;
  // Of one clip; Hugging Face drops what follows.
  int64_t max_samples = 480000;

  // Frames of a whole clip of so many samples.
  int64_t Frames(int64_t samples) const {
    const int64_t padded = (samples + pad_to_multiple_of - 1) /
                           pad_to_multiple_of * pad_to_multiple_of;
    return FramesBefore(padded);
  }
  // Frames that are there when a clip has so many samples and goes on.
  int64_t FramesBefore(int64_t samples) const {
    // One sample more than a frame has decides whether it exists.
    const int64_t unfold = frame_length + 1;
    return samples < unfold ? 0 : 1 + (samples - unfold) / hop_length;
  }
};

// One convolution of the subsampling (SSCP), [time, frequency].
struct SubsampleConfig {
  int64_t channels = 0;
  int64_t time_kernel = 3, frequency_kernel = 3;
  int64_t time_stride = 2, frequency_stride = 2;

  // Rows in time that `rows` rows of a whole clip give: padding is behind.
  int64_t OutputRows(int64_t rows) const {
    return rows <= 0 ? 0 : (rows - 1) / time_stride + 1;
  }
  // Bands out of `bands`: one of padding on either side.
  int64_t OutputBands(int64_t bands) const {
    return (bands + 2 - frequency_kernel) / frequency_stride + 1;
  }
};

struct AudioConfig {
  MelConfig mel;

  std::array<SubsampleConfig, 2> sscp_conv = {
      {{128, 3, 3, 2, 2}, {32, 3, 3, 2, 2}}};
  float sscp_conv_group_norm_eps = 1e-3f;

  int64_t hidden_size = 1536;
  int64_t conf_num_attention_heads = 8;
  int64_t conf_num_hidden_layers = 12;
  int64_t conf_attention_context_left = 13;  // keys, with the query's own
  float conf_attention_logit_cap = 50.0f;
  int64_t conf_conv_kernel_size = 5;
  int64_t conf_reduction_factor = 4;
  float conf_residual_weight = 0.5f;
  float rms_norm_eps = 1e-6f;

  // Embedder.
  int64_t vocab_size = 128;       // hard tokens
  int64_t vocab_offset = 262272;  // id of the first
  int64_t text_hidden_size = 2048;

  int64_t head_dim() const { return hidden_size / conf_num_attention_heads; }
  int64_t ffw_size() const { return 4 * hidden_size; }
  // Keys that a frame attends to at most: its own and those before it.
  int64_t attention_keys() const {
    return std::max<int64_t>(1, conf_attention_context_left);
  }
  // Bands after each convolution, and what the projection reads of a frame.
  int64_t bands(int stage) const {
    const int64_t first = sscp_conv[0].OutputBands(mel.feature_size);
    return stage == 0 ? first : sscp_conv[1].OutputBands(first);
  }
  int64_t subsampled_size() const { return bands(1) * sscp_conv[1].channels; }

  // Of a whole clip of so many samples: conformer frames, and the soft tokens
  // that come of them. 0 for a clip too short to have a frame.
  int64_t ConformerFrames(int64_t samples) const {
    return sscp_conv[1].OutputRows(
        sscp_conv[0].OutputRows(mel.Frames(samples)));
  }
  int64_t SoftTokens(int64_t samples) const {
    return (ConformerFrames(samples) + conf_reduction_factor - 1) /
           conf_reduction_factor;
  }
  // Rows of the embedder's table that stand for "nothing here": what fills a
  // clip's positions behind its soft tokens (gemma3n-audio.md §5.2).
  int64_t padding_row() const { return vocab_size - 1; }
};

}  // namespace lapidary::kernels::audio

#endif  // LAPIDARY_KERNELS_AUDIO_CONFIG_H_
