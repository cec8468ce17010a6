// What actors say of themselves, in Protobuf form: gauges, times, counters. Put
// and Get as in messages_proto_parts.h.
#ifndef LAPIDARY_ACTORS_MESSAGES_PROTO_STATUS_H_
#define LAPIDARY_ACTORS_MESSAGES_PROTO_STATUS_H_

#include "actors/messages.h"
#include "actors/messages_proto_parts.h"
#include "proto/lapidary/internal/wire.pb.h"

namespace lapidary::internal {

inline void Put(const lapidary::StageGauges& in, StageGauges* out) {
  out->set_pages_in_use(in.pages_in_use);
  out->set_pages_total(in.pages_total);
  out->set_page_bytes(in.page_bytes);
  out->set_scratch_bytes(in.scratch_bytes);
  out->set_sequences(in.sequences);
  out->set_weight_bytes_per_token(in.weight_bytes_per_token);
  out->set_pages_kept(in.pages_kept);
}

inline void Put(const lapidary::StageGauges& in, StageGauges* out, Tensors&) {
  Put(in, out);
}

inline bool Get(const StageGauges& in, const Tensors&,
                lapidary::StageGauges* out) {
  *out = {in.pages_in_use(),  in.pages_total(), in.page_bytes(),
          in.scratch_bytes(), in.sequences(),   in.weight_bytes_per_token(),
          in.pages_kept()};
  return true;
}

inline void Put(const lapidary::StageTimes& in, StageTimes* out) {
  out->set_gemm_ns(in.gemm_ns);
  out->set_attention_ns(in.attention_ns);
  out->set_head_ns(in.head_ns);
  out->set_sampling_ns(in.sampling_ns);
}

inline void Get(const StageTimes& in, lapidary::StageTimes* out) {
  *out = {in.gemm_ns(), in.attention_ns(), in.head_ns(), in.sampling_ns()};
}

inline void Put(const lapidary::StepTotals& in, StepTotals* out) {
  out->set_steps(in.steps);
  out->set_rows(in.rows);
  out->set_wait_ns(in.wait_ns);
  out->set_round_trip_ns(in.round_trip_ns);
  out->set_compute_ns(in.compute_ns);
  Put(in.stage, out->mutable_stage());
}

inline void Get(const StepTotals& in, lapidary::StepTotals* out) {
  out->steps = in.steps();
  out->rows = in.rows();
  out->wait_ns = in.wait_ns();
  out->round_trip_ns = in.round_trip_ns();
  out->compute_ns = in.compute_ns();
  Get(in.stage(), &out->stage);
}

inline void Put(const lapidary::ScheduleStatus& in, ScheduleStatus* out) {
  out->set_queued_low(in.queued_low);
  out->set_queued_normal(in.queued_normal);
  out->set_queued_high(in.queued_high);
  out->set_refused_too_large(in.refused_too_large);
  out->set_refused_queue_full(in.refused_queue_full);
  out->set_refused_deadline(in.refused_deadline);
  out->set_decode_step_ns(in.decode_step_ns);
  out->set_prompt_row_ns(in.prompt_row_ns);
  out->set_prompt_row_alone_ns(in.prompt_row_alone_ns);
  out->set_place_interval_ns(in.place_interval_ns);
  out->set_prompt_rows(in.prompt_rows);
}

inline void Get(const ScheduleStatus& in, lapidary::ScheduleStatus* out) {
  out->queued_low = in.queued_low();
  out->queued_normal = in.queued_normal();
  out->queued_high = in.queued_high();
  out->refused_too_large = in.refused_too_large();
  out->refused_queue_full = in.refused_queue_full();
  out->refused_deadline = in.refused_deadline();
  out->decode_step_ns = in.decode_step_ns();
  out->prompt_row_ns = in.prompt_row_ns();
  out->prompt_row_alone_ns = in.prompt_row_alone_ns();
  out->place_interval_ns = in.place_interval_ns();
  out->prompt_rows = in.prompt_rows();
}

inline void Put(const lapidary::SequencerStatus& in, SequencerStatus* out,
                Tensors&) {
  out->set_queued(in.queued);
  out->set_running(in.running);
  out->set_max_queued(in.max_queued);
  out->set_max_running(in.max_running);
  out->set_accepted(in.accepted);
  out->set_refused(in.refused);
  out->set_completed(in.completed);
  out->set_cancelled(in.cancelled);
  out->set_failed(in.failed);
  out->set_steps(in.steps);
  out->set_prompt_tokens(in.prompt_tokens);
  out->set_completion_tokens(in.completion_tokens);
  Put(in.stage, out->mutable_stage());
  Put(in.prompt_steps, out->mutable_prompt_steps());
  Put(in.decode_steps, out->mutable_decode_steps());
  Put(in.schedule, out->mutable_schedule());
  Put(in.prefixes, out->mutable_prefixes());
}

inline bool Get(const SequencerStatus& in, const Tensors& tensors,
                lapidary::SequencerStatus* out) {
  out->queued = in.queued();
  out->running = in.running();
  out->max_queued = in.max_queued();
  out->max_running = in.max_running();
  out->accepted = in.accepted();
  out->refused = in.refused();
  out->completed = in.completed();
  out->cancelled = in.cancelled();
  out->failed = in.failed();
  out->steps = in.steps();
  out->prompt_tokens = in.prompt_tokens();
  out->completion_tokens = in.completion_tokens();
  Get(in.prompt_steps(), &out->prompt_steps);
  Get(in.decode_steps(), &out->decode_steps);
  Get(in.schedule(), &out->schedule);
  Get(in.prefixes(), &out->prefixes);
  return Get(in.stage(), tensors, &out->stage);
}

inline void Put(const lapidary::PleStatus& in, PleStatus* out, Tensors&) {
  out->set_reads(in.reads);
  out->set_rows(in.rows);
  out->set_cache_hits(in.cache_hits);
  out->set_cache_misses(in.cache_misses);
  out->set_bytes_read(in.bytes_read);
  out->set_cache_bytes(in.cache_bytes);
  out->set_cache_capacity(in.cache_capacity);
  out->set_read_us_p50(in.read_us_p50);
  out->set_read_us_p99(in.read_us_p99);
  out->set_read_us_max(in.read_us_max);
  for (const auto& [upper, count] : in.latency) {
    PleStatus::Bucket* bucket = out->add_latency();
    bucket->set_upper_us(upper);
    bucket->set_count(count);
  }
}

inline bool Get(const PleStatus& in, const Tensors&, lapidary::PleStatus* out) {
  out->reads = in.reads();
  out->rows = in.rows();
  out->cache_hits = in.cache_hits();
  out->cache_misses = in.cache_misses();
  out->bytes_read = in.bytes_read();
  out->cache_bytes = in.cache_bytes();
  out->cache_capacity = in.cache_capacity();
  out->read_us_p50 = in.read_us_p50();
  out->read_us_p99 = in.read_us_p99();
  out->read_us_max = in.read_us_max();
  for (const auto& bucket : in.latency()) {
    out->latency.emplace_back(bucket.upper_us(), bucket.count());
  }
  return true;
}

inline void Put(const lapidary::ProcessStatus& in, ProcessStatus* out,
                Tensors&) {
  out->set_resident(in.resident);
  out->set_weights_resident(in.weights_resident);
}

inline bool Get(const ProcessStatus& in, const Tensors&,
                lapidary::ProcessStatus* out) {
  *out = {in.resident(), in.weights_resident()};
  return true;
}

inline void Put(const lapidary::DirectoryStatus& in, DirectoryStatus* out,
                Tensors&) {
  for (const lapidary::RoleStatus& role : in.roles) {
    RoleStatus* entry = out->add_roles();
    entry->set_role(role.role);
    entry->set_alive(role.alive);
    entry->set_restarts(role.restarts);
    entry->set_reason(role.reason);
  }
}

inline bool Get(const DirectoryStatus& in, const Tensors&,
                lapidary::DirectoryStatus* out) {
  for (const RoleStatus& role : in.roles()) {
    out->roles.push_back(
        {role.role(), role.alive(), role.restarts(), role.reason()});
  }
  return true;
}

template <typename Peers>
void Put(const std::vector<lapidary::MediaPeer>& in, Peers* out) {
  for (const lapidary::MediaPeer& peer : in) {
    MediaPeer* entry = out->Add();
    entry->set_address(peer.address);
    entry->set_alive(peer.alive);
    entry->set_encoded(peer.encoded);
    entry->set_reason(peer.reason);
  }
}

template <typename Peers>
void Get(const Peers& in, std::vector<lapidary::MediaPeer>* out) {
  for (const MediaPeer& peer : in) {
    out->push_back(
        {peer.address(), peer.alive(), peer.encoded(), peer.reason()});
  }
}

inline void Put(const lapidary::VisionStatus& in, VisionStatus* out, Tensors&) {
  out->set_loaded(in.loaded);
  out->set_weight_bytes(in.weight_bytes);
  out->set_activation_bytes(in.activation_bytes);
  out->set_loads(in.loads);
  out->set_unloads(in.unloads);
  out->set_images(in.images);
  out->set_cache_hits(in.cache_hits);
  out->set_cache_misses(in.cache_misses);
  out->set_cache_bytes(in.cache_bytes);
  out->set_cache_capacity(in.cache_capacity);
  out->set_waiting(in.waiting);
  out->set_encode_ns(in.encode_ns);
  out->set_tower(in.tower);
  Put(in.peers, out->mutable_peers());
}

inline bool Get(const VisionStatus& in, const Tensors&,
                lapidary::VisionStatus* out) {
  out->loaded = in.loaded();
  out->weight_bytes = in.weight_bytes();
  out->activation_bytes = in.activation_bytes();
  out->loads = in.loads();
  out->unloads = in.unloads();
  out->images = in.images();
  out->cache_hits = in.cache_hits();
  out->cache_misses = in.cache_misses();
  out->cache_bytes = in.cache_bytes();
  out->cache_capacity = in.cache_capacity();
  out->waiting = in.waiting();
  out->encode_ns = in.encode_ns();
  out->tower = in.tower();
  Get(in.peers(), &out->peers);
  return true;
}

inline void Put(const lapidary::AudioStatus& in, AudioStatus* out, Tensors&) {
  out->set_loaded(in.loaded);
  out->set_weight_bytes(in.weight_bytes);
  out->set_activation_bytes(in.activation_bytes);
  out->set_loads(in.loads);
  out->set_unloads(in.unloads);
  out->set_sounds(in.sounds);
  out->set_samples(in.samples);
  out->set_cache_hits(in.cache_hits);
  out->set_cache_misses(in.cache_misses);
  out->set_cache_bytes(in.cache_bytes);
  out->set_cache_capacity(in.cache_capacity);
  out->set_waiting(in.waiting);
  out->set_live(in.live);
  out->set_live_waiting_samples(in.live_waiting_samples);
  out->set_live_batches(in.live_batches);
  out->set_live_batch_sounds(in.live_batch_sounds);
  out->set_compute_ns(in.compute_ns);
  out->set_tower(in.tower);
  Put(in.peers, out->mutable_peers());
}

inline bool Get(const AudioStatus& in, const Tensors&,
                lapidary::AudioStatus* out) {
  out->loaded = in.loaded();
  out->weight_bytes = in.weight_bytes();
  out->activation_bytes = in.activation_bytes();
  out->loads = in.loads();
  out->unloads = in.unloads();
  out->sounds = in.sounds();
  out->samples = in.samples();
  out->cache_hits = in.cache_hits();
  out->cache_misses = in.cache_misses();
  out->cache_bytes = in.cache_bytes();
  out->cache_capacity = in.cache_capacity();
  out->waiting = in.waiting();
  out->live = in.live();
  out->live_waiting_samples = in.live_waiting_samples();
  out->live_batches = in.live_batches();
  out->live_batch_sounds = in.live_batch_sounds();
  out->compute_ns = in.compute_ns();
  out->tower = in.tower();
  Get(in.peers(), &out->peers);
  return true;
}

}  // namespace lapidary::internal

#endif  // LAPIDARY_ACTORS_MESSAGES_PROTO_STATUS_H_
