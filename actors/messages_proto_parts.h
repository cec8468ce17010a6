// The parts that several messages share, in their Protobuf form: Put fills it,
// Get reads it back and returns false for a value that the type does not have.
#ifndef LAPIDARY_ACTORS_MESSAGES_PROTO_PARTS_H_
#define LAPIDARY_ACTORS_MESSAGES_PROTO_PARTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "actors/messages.h"
#include "proto/lapidary/internal/wire.pb.h"

namespace lapidary::internal {

using kernels::Tensor;
using Tensors = std::vector<kernels::Tensor>;

inline void Put(const absl::Status& in, Status* out) {
  out->set_code(static_cast<int32_t>(in.code()));
  out->set_message(std::string(in.message()));
}

inline bool Get(const Status& in, absl::Status* out) {
  if (in.code() < 0 ||
      in.code() > static_cast<int32_t>(absl::StatusCode::kUnauthenticated)) {
    return false;
  }
  *out = absl::Status(static_cast<absl::StatusCode>(in.code()), in.message());
  return true;
}

inline void Put(const kernels::text::LayerRange& in, LayerRange* out) {
  out->set_first(in.first);
  out->set_last(in.last);
}

inline void Get(const LayerRange& in, kernels::text::LayerRange* out) {
  out->first = in.first();
  out->last = in.last();
}

// The tensor's number in the frame, from 1; 0 for none.
inline uint32_t Put(const Tensor& in, Tensors& tensors) {
  if (in.empty() || in.bytes() == 0) return 0;
  tensors.push_back(in);
  return static_cast<uint32_t>(tensors.size());
}

inline bool Get(uint32_t number, const Tensors& tensors, Tensor* out) {
  if (number == 0) return true;
  if (number > tensors.size()) return false;
  *out = tensors[number - 1];
  return true;
}

inline void Put(const kernels::SamplingParams& in, SamplingParams* out) {
  out->set_temperature(in.temperature);
  out->set_top_k(in.top_k);
  out->set_top_p(in.top_p);
  out->set_min_p(in.min_p);
  out->set_repetition_penalty(in.repetition_penalty);
  out->set_seed(in.seed);
  for (const auto& [id, bias] : in.logit_bias) {
    auto* entry = out->add_logit_bias();
    entry->set_id(id);
    entry->set_bias(bias);
  }
}

inline void Get(const SamplingParams& in, kernels::SamplingParams* out) {
  out->temperature = in.temperature();
  out->top_k = in.top_k();
  out->top_p = in.top_p();
  out->min_p = in.min_p();
  out->repetition_penalty = in.repetition_penalty();
  out->seed = in.seed();
  for (const auto& entry : in.logit_bias()) {
    out->logit_bias.emplace_back(entry.id(), entry.bias());
  }
}

inline void Put(const TokenResult& in, Token* out) {
  out->set_id(in.id);
  if (in.logprob.has_value()) out->set_logprob(*in.logprob);
  for (const kernels::TokenLogProb& other : in.top) {
    auto* top = out->add_top();
    top->set_id(other.id);
    top->set_logprob(other.logprob);
  }
}

inline void Get(const Token& in, TokenResult* out) {
  out->id = in.id();
  if (in.has_logprob()) out->logprob = in.logprob();
  for (const auto& top : in.top()) {
    out->top.push_back({top.id(), top.logprob()});
  }
}

inline void Put(const lapidary::KeepBlock& in, KeepBlock* out) {
  out->set_handle(in.handle);
  out->set_parent(in.parent);
  out->set_number(in.number);
}

inline void Get(const KeepBlock& in, lapidary::KeepBlock* out) {
  *out = {in.handle(), in.parent(), in.number()};
}

inline void Put(const lapidary::PrefixCacheStatus& in, PrefixCacheStatus* out) {
  out->set_lookups(in.lookups);
  out->set_hits(in.hits);
  out->set_tokens_reused(in.tokens_reused);
  out->set_evictions(in.evictions);
  out->set_blocks(in.blocks);
  out->set_pages(in.pages);
  out->set_max_pages(in.max_pages);
}

inline void Get(const PrefixCacheStatus& in, lapidary::PrefixCacheStatus* out) {
  *out = {in.lookups(), in.hits(),  in.tokens_reused(), in.evictions(),
          in.blocks(),  in.pages(), in.max_pages()};
}

template <typename Repeated, typename T>
void PutAll(const std::vector<T>& in, Repeated* out) {
  out->Add(in.begin(), in.end());
}

template <typename Repeated, typename T>
void GetAll(const Repeated& in, std::vector<T>* out) {
  out->assign(in.begin(), in.end());
}

inline bool GetTask(uint32_t in, Task* out) {
  if (in > static_cast<uint32_t>(Task::kEncodeMedia)) return false;
  *out = static_cast<Task>(in);
  return true;
}

inline bool GetPriority(uint32_t in, Priority* out) {
  if (in > static_cast<uint32_t>(Priority::kHigh)) return false;
  *out = static_cast<Priority>(in);
  return true;
}

}  // namespace lapidary::internal

#endif  // LAPIDARY_ACTORS_MESSAGES_PROTO_PARTS_H_
