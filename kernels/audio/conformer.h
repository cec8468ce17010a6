// The conformer, its reduction and the embedder (gemma3n-audio.md §3-§5) as
// phases over a batch: frames of one clip or of several, each of which follows
// on its own frames before. All products are of the whole batch, so that the
// weights are read once for all clips in it.
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

// What later frames of a clip read of those before them.
class ConformerPast {
 public:
  explicit ConformerPast(const AudioWeights& weights);

  int64_t frames() const { return frames_; }  // of the batches so far
  size_t bytes() const;

 private:
  friend class ConformerBatch;

  // Of one block: the newest rows last.
  struct Block {
    std::vector<float> keys, values;  // [≤ attention_keys - 1][hidden]
    std::vector<float> glu;           // [conf_conv_kernel_size - 1][hidden]
  };

  std::vector<Block> blocks_;
  int64_t frames_ = 0;
};

// A clip's next frames.
struct ConformerInput {
  ConformerPast* past = nullptr;
  const float* rows = nullptr;  // [count][subsampled_size]
  int64_t count = 0;
  std::vector<float>* tokens = nullptr;  // soft tokens are appended to it
};

class ConformerBatch {
 public:
  using OnRows = std::function<void(const std::string& part, int64_t first,
                                    ConstMatrixView rows)>;

  // `weights` must outlive it.
  explicit ConformerBatch(const AudioWeights* weights) : weights_(weights) {}

  // Plans the next frames of some clips, at least one of each. What an input
  // points to must stay until the phases have run, which must be before
  // anything else is called; its rows, until the first has.
  //   on_rows  told of each clip's by itself
  //   false where there is no memory for them
  bool Plan(const std::vector<ConformerInput>& inputs, const OnRows& on_rows,
            std::vector<Phase>* plan);

  // Gives the batch's memory back.
  void End() { *this = ConformerBatch(weights_); }

  size_t bytes() const { return memory_ == nullptr ? 0 : memory_->size(); }

 private:
  // A clip's place in the batch.
  struct Clip {
    ConformerInput input;
    int64_t first = 0;  // its rows are [first, first + input.count)
    // Of the attention: the past frames that its next ones can see, and keys
    // that lie before its first new one: those, and other clips'.
    int64_t past_keys = 0, keys_before = 0;
    // Its tokens are [first_token, first_token + tokens) of the batch's.
    int64_t first_token = 0, tokens = 0;
  };

  void PlaceClips(const std::vector<ConformerInput>& inputs);
  bool Allocate();

  // `rows`: those of the batch, or of its tokens alone.
  void AppendInputProjection(std::vector<Phase>* plan);
  void AppendFfw(const FfwWeights& w, int64_t rows, std::vector<Phase>* plan);
  void AppendAttention(size_t block, std::vector<Phase>* plan);
  // After the last block only the frames that become tokens count; they are
  // moved together.
  void AppendLConv(size_t block, std::vector<Phase>* plan);
  void AppendEmbedder(const OnRows& on_rows, std::vector<Phase>* plan);

  ConformerPast::Block* PastOf(const Clip& clip, size_t block) const {
    return &clip.input.past->blocks_[block];
  }
  const Clip& ClipOf(int64_t row) const { return clips_[clip_of_[row]]; }
  // Of a block's GLU: the row in which a row of the batch lies, behind what the
  // convolution reads of each clip's past.
  int64_t GluRow(int64_t row) const;
  // The batch's first `rows` inputs of a product.
  ProductRows InputsOf(const WeightMatrix& w, int64_t rows) const {
    return {w, rows, in_};
  }
  bool IsLast(size_t block) const {
    return block + 1 == weights_->conformer.size();
  }
  int64_t hidden() const { return weights_->config.hidden_size; }
  int64_t tokens() const { return static_cast<int64_t>(token_rows_.size()); }

  const AudioWeights* weights_;
  std::vector<Clip> clips_;
  int64_t frames_ = 0;               // of the batch
  int64_t key_rows_ = 0;             // and the past ones that they can see
  std::vector<int32_t> clip_of_;     // [frames_]
  std::vector<int64_t> token_rows_;  // [tokens]: rows that become tokens

  // `wide` is used for one thing after the other.
  std::shared_ptr<AlignedBuffer> memory_;
  float* x_ = nullptr;         // [frames_][hidden]: the residual stream
  float* y_ = nullptr;         // [frames_][max(hidden, text)]: results
  std::byte* in_ = nullptr;    // a product's inputs
  std::byte* wide_ = nullptr;  // FFW's middle; queries, keys, values; GLU
};

}  // namespace lapidary::kernels::audio

#endif  // LAPIDARY_KERNELS_AUDIO_CONFORMER_H_
