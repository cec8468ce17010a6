// The conformer, its reduction and the embedder (gemma3n-audio.md §3-§5) as
// phases over a batch of frames that follows on the batches before it.
#ifndef LAPIDARY_KERNELS_AUDIO_CONFORMER_H_
#define LAPIDARY_KERNELS_AUDIO_CONFORMER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/audio/phase.h"
#include "kernels/audio/product_phase.h"
#include "kernels/audio/weights.h"

namespace lapidary::kernels::audio {

class Conformer {
 public:
  using OnRows = std::function<void(const std::string& part, int64_t first,
                                    ConstMatrixView rows)>;

  explicit Conformer(const AudioWeights* weights);

  // Frames that the batches so far had.
  int64_t frames() const { return frames_; }

  // Plans the next `count` frames. The phases must have run before anything
  // else is called.
  //   rows    [count][subsampled_size], valid until the first phase has run
  //   tokens  soft tokens are appended to it by the last phase
  //   false where there is no memory for them
  bool PlanBatch(const float* rows, int64_t count, std::vector<float>* tokens,
                 const OnRows& on_rows, std::vector<Phase>* plan);

  // Gives the batch's memory back; what later frames need is kept.
  void EndBatch() { batch_ = {}; }

  size_t bytes() const;

 private:
  // What later frames read of those before them, of one block: the newest rows
  // last.
  struct History {
    std::vector<float> keys, values;  // [attention_keys - 1][hidden]
    std::vector<float> glu;           // [conf_conv_kernel_size - 1][hidden]
  };

  // A batch's buffers. `wide` is used for one thing after the other.
  struct Batch {
    int64_t frames = 0;
    std::shared_ptr<AlignedBuffer> memory;
    float* x = nullptr;         // [frames][hidden]: the residual stream
    float* y = nullptr;         // [frames][max(hidden, text)]: results
    std::byte* in = nullptr;    // a product's inputs
    std::byte* wide = nullptr;  // FFW's middle; queries, keys, values; GLU
  };

  bool Allocate(int64_t frames);

  // Rows of products: all of the batch's, or the tokens' alone.
  void AppendFfw(const FfwWeights& w, int64_t rows, std::vector<Phase>* plan);
  void AppendAttention(const ConformerWeights& w, History* history,
                       std::vector<Phase>* plan);
  // `last`: of the last block, after which only the frames that become tokens
  // count; they are moved together.
  void AppendLConv(const ConformerWeights& w, History* history, bool last,
                   std::vector<Phase>* plan);
  void AppendEmbedder(std::vector<float>* tokens, const OnRows& on_rows,
                      std::vector<Phase>* plan);

  // The batch's first `rows` inputs of a product.
  ProductRows InputsOf(const WeightMatrix& w, int64_t rows) const {
    return {w, rows, batch_.in};
  }
  int64_t hidden() const { return weights_->config.hidden_size; }
  // Of the batch: its first frame that becomes a token, and how many do.
  int64_t FirstToken() const;
  int64_t Tokens() const;

  const AudioWeights* weights_;
  std::vector<History> history_;
  int64_t frames_ = 0;
  Batch batch_;
};

}  // namespace lapidary::kernels::audio

#endif  // LAPIDARY_KERNELS_AUDIO_CONFORMER_H_
