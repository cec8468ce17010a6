#include "actors/unary_calls.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/media_request.h"
#include "storage/utf8.h"

namespace lapidary {
namespace {

using Self = caf::stateful_actor<UnaryCallState>*;

constexpr std::chrono::seconds kStatusTimeout{1};

void Fill(const DirectoryStatus& directory, v1::StatusResponse& status) {
  for (const RoleStatus& role : directory.roles) {
    v1::Role* proto = status.add_roles();
    proto->set_name(role.role);
    proto->set_alive(role.alive);
    proto->set_restarts(role.restarts);
    proto->set_reason(role.reason);
  }
}

void Fill(const StepTotals& totals, v1::StepTimes& times) {
  const auto milliseconds = [](int64_t nanoseconds) {
    return static_cast<double>(nanoseconds) * 1e-6;
  };
  times.set_steps(totals.steps);
  times.set_rows(totals.rows);
  times.set_wait_ms(milliseconds(totals.wait_ns));
  times.set_round_trip_ms(milliseconds(totals.round_trip_ns));
  times.set_compute_ms(milliseconds(totals.compute_ns));
  times.set_gemm_ms(milliseconds(totals.stage.gemm_ns));
  times.set_attention_ms(milliseconds(totals.stage.attention_ns));
  times.set_head_ms(milliseconds(totals.stage.head_ns));
  times.set_sampling_ms(milliseconds(totals.stage.sampling_ns));
}

void Fill(const SequencerStatus& sequencer, v1::StatusResponse& status) {
  v1::Queue* queue = status.mutable_queue();
  queue->set_queued(sequencer.queued);
  queue->set_running(sequencer.running);
  queue->set_max_queued(sequencer.max_queued);
  queue->set_max_running(sequencer.max_running);
  queue->set_accepted(sequencer.accepted);
  queue->set_refused(sequencer.refused);
  queue->set_completed(sequencer.completed);
  queue->set_cancelled(sequencer.cancelled);
  queue->set_failed(sequencer.failed);
  queue->set_steps(sequencer.steps);
  queue->set_prompt_tokens(sequencer.prompt_tokens);
  queue->set_completion_tokens(sequencer.completion_tokens);
  const ScheduleStatus& schedule = sequencer.schedule;
  queue->set_queued_low(schedule.queued_low);
  queue->set_queued_normal(schedule.queued_normal);
  queue->set_queued_high(schedule.queued_high);
  queue->set_refused_too_large(schedule.refused_too_large);
  queue->set_refused_queue_full(schedule.refused_queue_full);
  queue->set_refused_deadline(schedule.refused_deadline);
  v1::StepCosts* costs = status.mutable_step_costs();
  costs->set_decode_step_ms(schedule.decode_step_ns / 1e6);
  costs->set_prompt_row_ms(schedule.prompt_row_ns / 1e6);
  costs->set_prompt_row_alone_ms(schedule.prompt_row_alone_ns / 1e6);
  costs->set_place_ms(schedule.place_interval_ns / 1e6);
  costs->set_prompt_rows(schedule.prompt_rows);
  const StageGauges& stage = sequencer.stage;
  const PrefixCacheStatus& prefixes = sequencer.prefixes;
  v1::PrefixCache* cache = status.mutable_prefix_cache();
  cache->set_lookups(prefixes.lookups);
  cache->set_hits(prefixes.hits);
  cache->set_tokens_reused(prefixes.tokens_reused);
  cache->set_evictions(prefixes.evictions);
  cache->set_blocks(prefixes.blocks);
  cache->set_bytes(stage.pages_kept * stage.page_bytes);
  cache->set_capacity(prefixes.max_pages * stage.page_bytes);
  v1::Memory* memory = status.mutable_memory();
  memory->set_kv_pages_in_use(stage.pages_in_use);
  memory->set_kv_pages_total(stage.pages_total);
  memory->set_kv_page_bytes(stage.page_bytes);
  memory->set_kv_in_use(stage.pages_in_use * stage.page_bytes);
  memory->set_kv_total(stage.pages_total * stage.page_bytes);
  memory->set_scratch(stage.scratch_bytes);
  memory->set_weights_per_token(stage.weight_bytes_per_token);
  Fill(sequencer.prompt_steps, *status.mutable_prompt_steps());
  Fill(sequencer.decode_steps, *status.mutable_decode_steps());
}

void Fill(const PleStatus& ple, v1::StatusResponse& status) {
  v1::PleCache* cache = status.mutable_ple();
  cache->set_reads(ple.reads);
  cache->set_rows(ple.rows);
  cache->set_cache_hits(ple.cache_hits);
  cache->set_cache_misses(ple.cache_misses);
  const uint64_t blocks = ple.cache_hits + ple.cache_misses;
  if (blocks > 0) {
    cache->set_hit_rate(static_cast<double>(ple.cache_hits) /
                        static_cast<double>(blocks));
  }
  cache->set_bytes_read(ple.bytes_read);
  cache->set_cache_bytes(ple.cache_bytes);
  cache->set_cache_capacity(ple.cache_capacity);
  cache->set_read_us_p50(ple.read_us_p50);
  cache->set_read_us_p99(ple.read_us_p99);
  cache->set_read_us_max(ple.read_us_max);
  for (const auto& [upper, count] : ple.latency) {
    v1::HistogramBucket* bucket = cache->add_latency();
    bucket->set_upper_us(upper);
    bucket->set_count(count);
  }
  status.mutable_memory()->set_ple_block_cache(ple.cache_bytes);
}

void Fill(const VisionStatus& vision, v1::StatusResponse& status) {
  v1::Vision* out = status.mutable_vision();
  out->set_loaded(vision.loaded);
  out->set_weight_bytes(vision.weight_bytes);
  out->set_activation_bytes(vision.activation_bytes);
  out->set_loads(vision.loads);
  out->set_unloads(vision.unloads);
  out->set_images(vision.images);
  out->set_encode_ms(static_cast<double>(vision.encode_ns) / 1e6);
  out->set_cache_hits(vision.cache_hits);
  out->set_cache_misses(vision.cache_misses);
  out->set_cache_bytes(vision.cache_bytes);
  out->set_cache_capacity(vision.cache_capacity);
  out->set_waiting(vision.waiting);
  for (const MediaPeer& peer : vision.peers) {
    v1::VisionPeer* proto = out->add_peers();
    proto->set_address(peer.address);
    proto->set_alive(peer.alive);
    proto->set_images(peer.encoded);
    proto->set_reason(ReplaceInvalidUtf8(peer.reason));
  }
}

void Fill(const AudioStatus& audio, v1::StatusResponse& status) {
  v1::AudioTower* out = status.mutable_audio();
  out->set_loaded(audio.loaded);
  out->set_weight_bytes(audio.weight_bytes);
  out->set_activation_bytes(audio.activation_bytes);
  out->set_loads(audio.loads);
  out->set_unloads(audio.unloads);
  out->set_sounds(audio.sounds);
  out->set_sound_seconds(static_cast<double>(audio.samples) / kSoundRate);
  out->set_encode_ms(static_cast<double>(audio.compute_ns) / 1e6);
  out->set_cache_hits(audio.cache_hits);
  out->set_cache_misses(audio.cache_misses);
  out->set_cache_bytes(audio.cache_bytes);
  out->set_cache_capacity(audio.cache_capacity);
  out->set_waiting(audio.waiting);
  out->set_live(audio.live);
  out->set_live_waiting_seconds(
      static_cast<double>(audio.live_waiting_samples) / kSoundRate);
  out->set_live_batches(audio.live_batches);
  out->set_live_batch_sounds(audio.live_batch_sounds);
  for (const MediaPeer& peer : audio.peers) {
    v1::AudioPeer* proto = out->add_peers();
    proto->set_address(peer.address);
    proto->set_alive(peer.alive);
    proto->set_sounds(peer.encoded);
    proto->set_reason(ReplaceInvalidUtf8(peer.reason));
  }
}

void Fill(const ProcessStatus& process, v1::StatusResponse& status) {
  status.mutable_memory()->set_weights_resident(process.weights_resident);
  status.mutable_memory()->set_process_resident(process.resident);
}

void AnswerIfComplete(Self self) {
  if (--self->state.open_questions > 0) return;
  self->state.call->Answer(self->state.status.SerializeAsString());
  self->quit();
}

template <typename Reply>
void AskActor(Self self, const caf::actor& actor) {
  self->request(actor, kStatusTimeout, StatusQuery{})
      .then(
          [self](const Reply& reply) {
            Fill(reply, self->state.status);
            AnswerIfComplete(self);
          },
          [self](caf::error&) { AnswerIfComplete(self); });
}

// Asks whoever plays `role`.
template <typename Reply>
void AskRole(Self self, const std::string& role) {
  self->request(self->state.context->directory, kStatusTimeout, Lookup{role})
      .then(
          [self](const caf::strong_actor_ptr& actor) {
            if (actor == nullptr) {
              AnswerIfComplete(self);
            } else {
              AskActor<Reply>(self, caf::actor_cast<caf::actor>(actor));
            }
          },
          [self](caf::error&) { AnswerIfComplete(self); });
}

caf::result<caf::message> Drop(caf::scheduled_actor*, caf::message_view&) {
  return caf::message();
}

void Fail(Self self, const absl::Status& status) {
  self->state.call->Fail(status);
  self->quit();
}

void Answer(Self self, const kernels::Tensor& rows) {
  v1::EncodeMediaResponse response;
  v1::SoftTokens* soft = response.mutable_soft_tokens();
  soft->set_tokens(static_cast<int32_t>(rows.dim(0)));
  soft->set_width(static_cast<int32_t>(rows.dim(1)));
  soft->set_values(
      std::string(static_cast<const char*>(rows.raw()), rows.bytes()));
  self->state.call->Answer(response.SerializeAsString());
  self->quit();
}

// Of EncodeMedia's image.
void AnswerWithSoftTokens(Self self, const PromptMedium& image) {
  UnaryCallState& state = self->state;
  RequestSoftTokens(static_cast<caf::event_based_actor*>(self), *state.context,
                    image, state.call->cancelled(),
                    [self](const EncodedMedium& encoded) {
                      if (!encoded.status.ok()) {
                        return Fail(self, encoded.status);
                      }
                      Answer(self, encoded.rows);
                    });
}

}  // namespace

UnaryCallState::~UnaryCallState() {
  if (call != nullptr) {
    call->Fail(absl::UnavailableError("the call's actor was lost"));
  }
}

caf::behavior EncodeCall(Self self, std::shared_ptr<CallContext> context,
                         Encode encode, std::shared_ptr<UnaryCall> call) {
  self->set_default_handler(Drop);
  self->state.context = std::move(context);
  self->state.call = std::move(call);
  auto failed = [self](caf::error& error) {
    Fail(self,
         absl::UnavailableError(absl::StrCat("the encoder did not answer: ",
                                             self->system().render(error))));
  };
  auto answered = [self](const Encoded& encoded) {
    if (!encoded.status.ok()) return Fail(self, encoded.status);
    if (!encoded.media.empty()) {
      return AnswerWithSoftTokens(self, encoded.media[0]);
    }
    self->state.call->Answer(encoded.reply);
    self->quit();
  };
  // Given away once: an image's file is large.
  auto request = std::make_shared<Encode>(std::move(encode));
  return {
      [=](const Start&) {
        const CallContext& shared = *self->state.context;
        self->request(shared.directory, shared.role_timeout, Lookup{"encoder"})
            .then(
                [=](const caf::strong_actor_ptr& actor) {
                  if (actor == nullptr) {
                    return Fail(self, absl::UnavailableError(
                                          "no encoder is alive; try again"));
                  }
                  self->request(caf::actor_cast<EncoderActor>(actor),
                                self->state.context->role_timeout,
                                std::move(*request))
                      .then(answered, failed);
                },
                failed);
      },
  };
}

caf::behavior StatusCall(Self self, std::shared_ptr<CallContext> context,
                         v1::StatusResponse base,
                         std::shared_ptr<UnaryCall> call) {
  self->set_default_handler(Drop);
  self->state.context = std::move(context);
  self->state.call = std::move(call);
  self->state.status = std::move(base);
  const VisionBoard* board = self->state.context->vision.get();
  if (board != nullptr) {
    const std::optional<VisionStatus> vision = board->Read();
    if (vision.has_value()) Fill(*vision, self->state.status);
  }
  if (self->state.context->audio != nullptr) {
    const std::optional<AudioStatus> audio = self->state.context->audio->Read();
    if (audio.has_value()) Fill(*audio, self->state.status);
  }
  self->state.open_questions =
      4 + (board == nullptr) + (self->state.context->audio == nullptr);
  return {
      [=](const Start&) {
        AskActor<DirectoryStatus>(
            self, caf::actor_cast<caf::actor>(self->state.context->directory));
        AskRole<SequencerStatus>(self, "sequencer");
        AskRole<PleStatus>(self, "ple_server");
        AskRole<ProcessStatus>(self, "encoder");
        if (self->state.context->vision == nullptr) {
          AskRole<VisionStatus>(self, "vision");
        }
        if (self->state.context->audio == nullptr) {
          AskRole<AudioStatus>(self, "audio");
        }
      },
  };
}

}  // namespace lapidary
