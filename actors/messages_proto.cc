#include "actors/messages_proto.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/messages_proto_audio.h"
#include "actors/messages_proto_parts.h"
#include "actors/messages_proto_status.h"

namespace lapidary {
namespace {

namespace pb = ::lapidary::internal;
using kernels::Tensor;
using Tensors = std::vector<Tensor>;

// Two functions for each type: Put fills the Protobuf form, Get reads it back.
// Get returns false for a value that the type does not have.

using pb::Get;
using pb::GetAll;
using pb::GetPriority;
using pb::GetTask;
using pb::Put;
using pb::PutAll;

// --- Messages ---------------------------------------------------------------

void Put(const Encode& in, pb::Encode* out, Tensors& tensors) {
  out->set_task(static_cast<uint32_t>(in.task));
  out->set_request(in.request);
  for (const kernels::Tensor& rows : in.media) {
    out->add_media(Put(rows, tensors));
  }
}

bool Get(const pb::Encode& in, const Tensors& tensors, Encode* out) {
  out->request = in.request();
  for (const uint32_t rows : in.media()) {
    if (!Get(rows, tensors, &out->media.emplace_back())) return false;
  }
  return GetTask(in.task(), &out->task);
}

void Put(const std::vector<SoftTokens>& in,
         google::protobuf::RepeatedPtrField<pb::SoftTokens>* out,
         Tensors& tensors) {
  for (const SoftTokens& one : in) {
    pb::SoftTokens* soft = out->Add();
    soft->set_first_position(one.first_position);
    soft->set_rows(Put(one.rows, tensors));
  }
}

bool Get(const google::protobuf::RepeatedPtrField<pb::SoftTokens>& in,
         const Tensors& tensors, std::vector<SoftTokens>* out) {
  for (const pb::SoftTokens& one : in) {
    SoftTokens& soft = out->emplace_back();
    soft.first_position = one.first_position();
    if (!Get(one.rows(), tensors, &soft.rows)) return false;
  }
  return true;
}

void Put(const Submit& in, pb::Submit* out, Tensors& tensors) {
  out->set_sequence(in.sequence);
  out->set_task(static_cast<uint32_t>(in.task));
  PutAll(in.tokens, out->mutable_tokens());
  Put(in.sampling, out->mutable_sampling());
  out->set_max_tokens(in.max_tokens);
  PutAll(in.eos_ids, out->mutable_eos_ids());
  out->set_top_logprobs(in.top_logprobs);
  out->set_deadline_ns(in.deadline_ns);
  out->set_time_limit_ns(in.time_limit_ns);
  out->set_age_ns(in.age_ns);
  out->set_priority(static_cast<uint32_t>(in.priority));
  out->set_min_tokens(in.min_tokens);
  out->set_no_prefix_cache(in.no_prefix_cache);
  Put(in.soft_tokens, out->mutable_soft_tokens(), tensors);
  out->set_only_asks(in.only_asks);
  out->set_open(in.open);
  out->set_goes_on(in.goes_on);
  out->set_reserve_positions(in.reserve_positions);
}

bool Get(const pb::Submit& in, const Tensors& tensors, Submit* out) {
  out->sequence = in.sequence();
  GetAll(in.tokens(), &out->tokens);
  Get(in.sampling(), &out->sampling);
  out->max_tokens = in.max_tokens();
  GetAll(in.eos_ids(), &out->eos_ids);
  out->top_logprobs = in.top_logprobs();
  out->deadline_ns = in.deadline_ns();
  out->time_limit_ns = in.time_limit_ns();
  out->age_ns = in.age_ns();
  out->min_tokens = in.min_tokens();
  out->no_prefix_cache = in.no_prefix_cache();
  out->only_asks = in.only_asks();
  out->open = in.open();
  out->goes_on = in.goes_on();
  out->reserve_positions = in.reserve_positions();
  return GetTask(in.task(), &out->task) &&
         GetPriority(in.priority(), &out->priority) &&
         Get(in.soft_tokens(), tensors, &out->soft_tokens);
}

bool Get(const pb::PromptMedium::Source& in, MediaSource* out) {
  if (in.kind() > static_cast<uint32_t>(MediaSource::Kind::kFile)) return false;
  *out = {static_cast<MediaSource::Kind>(in.kind()), in.name()};
  return true;
}

void Put(const Encoded& in, pb::Encoded* out, Tensors& tensors) {
  Put(in.status, out->mutable_status());
  Put(in.submit, out->mutable_submit(), tensors);
  for (const std::string& stop : in.stop) out->add_stop(stop);
  out->set_continuation_tokens(in.continuation_tokens);
  for (const PromptMedium& image : in.media) {
    pb::PromptMedium* one = out->add_media();
    one->set_kind(static_cast<uint32_t>(image.kind));
    one->set_first_position(image.first_position);
    one->mutable_later_windows()->Add(image.later_windows.begin(),
                                      image.later_windows.end());
    if (image.file != nullptr) one->set_file(*image.file);
    one->set_field(image.field);
    one->set_key(image.key);
    if (image.source.has_value()) {
      one->mutable_source()->set_kind(
          static_cast<uint32_t>(image.source->kind));
      one->mutable_source()->set_name(image.source->name);
    }
    one->set_rows(Put(image.rows, tensors));
  }
  out->set_reply(in.reply);
  out->set_fixed_max_tokens(in.fixed_max_tokens);
}

bool Get(const pb::Encoded& in, const Tensors& tensors, Encoded* out) {
  GetAll(in.stop(), &out->stop);
  out->continuation_tokens = in.continuation_tokens();
  for (const pb::PromptMedium& image : in.media()) {
    PromptMedium& one = out->media.emplace_back();
    if (image.kind() > static_cast<uint32_t>(MediumKind::kSound)) return false;
    one.kind = static_cast<MediumKind>(image.kind());
    one.first_position = image.first_position();
    one.later_windows.assign(image.later_windows().begin(),
                             image.later_windows().end());
    one.file = std::make_shared<const std::string>(image.file());
    one.field = image.field();
    one.key = image.key();
    if (image.has_source() && !Get(image.source(), &one.source.emplace())) {
      return false;
    }
    if (!Get(image.rows(), tensors, &one.rows)) return false;
  }
  out->reply = in.reply();
  out->fixed_max_tokens = in.fixed_max_tokens();
  return Get(in.status(), &out->status) &&
         Get(in.submit(), tensors, &out->submit);
}

void Put(const Accepted& in, pb::Accepted* out, Tensors&) {
  out->set_retry_after_ns(in.retry_after_ns);
  Put(in.status, out->mutable_status());
}

bool Get(const pb::Accepted& in, const Tensors&, Accepted* out) {
  out->retry_after_ns = in.retry_after_ns();
  return Get(in.status(), &out->status);
}

void Put(const Cancel& in, pb::Cancel* out, Tensors&) {
  out->set_sequence(in.sequence);
  out->set_complete(in.complete);
}

bool Get(const pb::Cancel& in, const Tensors&, Cancel* out) {
  out->sequence = in.sequence();
  out->complete = in.complete();
  return true;
}

void Put(const Progress& in, pb::Progress* out, Tensors&) {
  out->set_sequence(in.sequence);
  for (const TokenResult& token : in.tokens) Put(token, out->add_tokens());
}

bool Get(const pb::Progress& in, const Tensors&, Progress* out) {
  out->sequence = in.sequence();
  for (const pb::Token& token : in.tokens()) {
    Get(token, &out->tokens.emplace_back());
  }
  return true;
}

void Put(const Ended& in, pb::Ended* out, Tensors&) {
  out->set_sequence(in.sequence);
  out->set_reason(static_cast<uint32_t>(in.reason));
  Put(in.status, out->mutable_status());
  out->set_prompt_tokens(in.prompt_tokens);
  out->set_completion_tokens(in.completion_tokens);
  out->set_cached_prompt_tokens(in.cached_prompt_tokens);
  pb::SequenceTimings* timings = out->mutable_timings();
  timings->set_queue(in.timings.queue);
  timings->set_prefill(in.timings.prefill);
  timings->set_decode(in.timings.decode);
  timings->set_steps_total(in.timings.steps_total);
  timings->set_ple_wait(in.timings.ple_wait);
  timings->set_steps(in.timings.steps);
}

bool Get(const pb::Ended& in, const Tensors&, Ended* out) {
  out->sequence = in.sequence();
  if (in.reason() > static_cast<uint32_t>(EndReason::kScored)) return false;
  out->reason = static_cast<EndReason>(in.reason());
  out->prompt_tokens = in.prompt_tokens();
  out->completion_tokens = in.completion_tokens();
  out->cached_prompt_tokens = in.cached_prompt_tokens();
  const pb::SequenceTimings& timings = in.timings();
  out->timings = {timings.queue(),       timings.prefill(),  timings.decode(),
                  timings.steps_total(), timings.ple_wait(), timings.steps()};
  return Get(in.status(), &out->status);
}

void Put(const PleRead& in, pb::PleRead* out, Tensors&) {
  PutAll(in.ids, out->mutable_ids());
  Put(in.layers, out->mutable_layers());
}

bool Get(const pb::PleRead& in, const Tensors&, PleRead* out) {
  GetAll(in.ids(), &out->ids);
  Get(in.layers(), &out->layers);
  return true;
}

void Put(const PleRows& in, pb::PleRows* out, Tensors& tensors) {
  Put(in.status, out->mutable_status());
  out->set_rows(Put(in.rows, tensors));
}

bool Get(const pb::PleRows& in, const Tensors& tensors, PleRows* out) {
  return Get(in.status(), &out->status) && Get(in.rows(), tensors, &out->rows);
}

void Put(const StepRows& in, pb::StepRows* out, Tensors& tensors) {
  out->set_sequence(in.sequence);
  if (in.start.has_value()) {
    pb::SequenceStart* start = out->mutable_start();
    start->set_max_positions(in.start->max_positions);
    Put(in.start->sampling, start->mutable_sampling());
    start->set_drawn(in.start->drawn);
    PutAll(in.start->prefix, start->mutable_prefix());
    PutAll(in.start->prefix_tokens, start->mutable_prefix_tokens());
  }
  for (const KeepBlock& keep : in.keep) Put(keep, out->add_keep());
  out->set_first_position(in.first_position);
  PutAll(in.token_ids, out->mutable_token_ids());
  out->set_ple_rows(Put(in.ple_rows, tensors));
  Put(in.soft_tokens, out->mutable_soft_tokens(), tensors);
  out->set_is_prompt(in.is_prompt);
  out->set_sample(in.sample);
  PutAll(in.targets, out->mutable_targets());
  out->set_top_logprobs(in.top_logprobs);
}

bool Get(const pb::StepRows& in, const Tensors& tensors, StepRows* out) {
  out->sequence = in.sequence();
  if (in.has_start()) {
    out->start.emplace();
    out->start->max_positions = in.start().max_positions();
    Get(in.start().sampling(), &out->start->sampling);
    out->start->drawn = in.start().drawn();
    GetAll(in.start().prefix(), &out->start->prefix);
    GetAll(in.start().prefix_tokens(), &out->start->prefix_tokens);
  }
  for (const pb::KeepBlock& keep : in.keep()) {
    Get(keep, &out->keep.emplace_back());
  }
  out->first_position = in.first_position();
  GetAll(in.token_ids(), &out->token_ids);
  out->is_prompt = in.is_prompt();
  out->sample = in.sample();
  GetAll(in.targets(), &out->targets);
  out->top_logprobs = in.top_logprobs();
  return Get(in.ple_rows(), tensors, &out->ple_rows) &&
         Get(in.soft_tokens(), tensors, &out->soft_tokens);
}

void Put(const Step& in, pb::Step* out, Tensors& tensors) {
  out->set_number(in.number);
  Put(in.layers, out->mutable_layers());
  for (const StepRows& rows : in.sequences) {
    Put(rows, out->add_sequences(), tensors);
  }
  PutAll(in.drop_blocks, out->mutable_drop_blocks());
  PutAll(in.drop_windows, out->mutable_drop_windows());
}

bool Get(const pb::Step& in, const Tensors& tensors, Step* out) {
  out->number = in.number();
  Get(in.layers(), &out->layers);
  GetAll(in.drop_blocks(), &out->drop_blocks);
  GetAll(in.drop_windows(), &out->drop_windows);
  for (const pb::StepRows& rows : in.sequences()) {
    if (!Get(rows, tensors, &out->sequences.emplace_back())) return false;
  }
  return true;
}

void Put(const StepResult& in, pb::StepResult* out, Tensors&) {
  out->set_number(in.number);
  for (const StepRowsResult& rows : in.sequences) {
    pb::StepRowsResult* result = out->add_sequences();
    result->set_sequence(rows.sequence);
    Put(rows.status, result->mutable_status());
    if (rows.sampled.has_value()) {
      Put(*rows.sampled, result->mutable_sampled());
    }
    for (const TokenResult& token : rows.scored) {
      Put(token, result->add_scored());
    }
    result->set_missing_block(rows.missing_block);
    PutAll(rows.not_kept, result->mutable_not_kept());
  }
  out->set_compute_ns(in.compute_ns);
  Put(in.gauges, out->mutable_gauges());
  Put(in.times, out->mutable_times());
}

bool Get(const pb::StepResult& in, const Tensors& tensors, StepResult* out) {
  out->number = in.number();
  for (const pb::StepRowsResult& rows : in.sequences()) {
    StepRowsResult& result = out->sequences.emplace_back();
    result.sequence = rows.sequence();
    if (!Get(rows.status(), &result.status)) return false;
    if (rows.has_sampled()) Get(rows.sampled(), &result.sampled.emplace());
    for (const pb::Token& token : rows.scored()) {
      Get(token, &result.scored.emplace_back());
    }
    result.missing_block = rows.missing_block();
    GetAll(rows.not_kept(), &result.not_kept);
  }
  out->compute_ns = in.compute_ns();
  Get(in.times(), &out->times);
  return Get(in.gauges(), tensors, &out->gauges);
}

void Put(const Release& in, pb::Release* out, Tensors&) {
  PutAll(in.sequences, out->mutable_sequences());
  out->set_all(in.all);
}

bool Get(const pb::Release& in, const Tensors&, Release* out) {
  GetAll(in.sequences(), &out->sequences);
  out->all = in.all();
  return true;
}

void Put(const RoleEvent& in, pb::RoleEvent* out, Tensors&) {
  out->set_role(in.role);
  out->set_alive(in.alive);
  out->set_incarnation(in.incarnation);
  out->set_reason(in.reason);
  Put(in.gauges, out->mutable_gauges());
}

bool Get(const pb::RoleEvent& in, const Tensors& tensors, RoleEvent* out) {
  out->role = in.role();
  out->alive = in.alive();
  out->incarnation = in.incarnation();
  out->reason = in.reason();
  return Get(in.gauges(), tensors, &out->gauges);
}

void Put(const EncodeImage& in, pb::EncodeImage* out, Tensors&) {
  if (in.file != nullptr) out->set_file(*in.file);
  out->set_tower(in.tower);
}

bool Get(const pb::EncodeImage& in, const Tensors&, EncodeImage* out) {
  out->file = std::make_shared<const std::string>(in.file());
  out->tower = in.tower();
  return true;
}

void Put(const EncodedMedium& in, pb::EncodedMedium* out, Tensors& tensors) {
  Put(in.status, out->mutable_status());
  out->set_rows(Put(in.rows, tensors));
}

bool Get(const pb::EncodedMedium& in, const Tensors& tensors,
         EncodedMedium* out) {
  return Get(in.status(), &out->status) && Get(in.rows(), tensors, &out->rows);
}

void Put(const StatusQuery& in, pb::StatusQuery* out, Tensors&) {
  out->set_role(in.role);
}

bool Get(const pb::StatusQuery& in, const Tensors&, StatusQuery* out) {
  out->role = in.role();
  return true;
}

// --- Frame ------------------------------------------------------------------

struct Writer {
  pb::Header* header;
  Tensors& tensors;

#define LAPIDARY_BODY(Type, field)               \
  void operator()(const Type& in) {              \
    Put(in, header->mutable_##field(), tensors); \
  }
  LAPIDARY_BODY(Encode, encode)
  LAPIDARY_BODY(Encoded, encoded)
  LAPIDARY_BODY(Submit, submit)
  LAPIDARY_BODY(Accepted, accepted)
  LAPIDARY_BODY(Cancel, cancel)
  LAPIDARY_BODY(Progress, progress)
  LAPIDARY_BODY(Ended, ended)
  LAPIDARY_BODY(PleRead, ple_read)
  LAPIDARY_BODY(PleRows, ple_rows)
  LAPIDARY_BODY(Step, step)
  LAPIDARY_BODY(StepResult, step_result)
  LAPIDARY_BODY(Release, release)
  LAPIDARY_BODY(StageGauges, stage_gauges)
  LAPIDARY_BODY(RoleEvent, role_event)
  LAPIDARY_BODY(StatusQuery, status_query)
  LAPIDARY_BODY(SequencerStatus, sequencer_status)
  LAPIDARY_BODY(PleStatus, ple_status)
  LAPIDARY_BODY(ProcessStatus, process_status)
  LAPIDARY_BODY(DirectoryStatus, directory_status)
  LAPIDARY_BODY(EncodeImage, encode_image)
  LAPIDARY_BODY(EncodedMedium, encoded_medium)
  LAPIDARY_BODY(VisionStatus, vision_status)
  LAPIDARY_BODY(EncodeSound, encode_sound)
  LAPIDARY_BODY(OpenSound, open_sound)
  LAPIDARY_BODY(PushSound, push_sound)
  LAPIDARY_BODY(EndSound, end_sound)
  LAPIDARY_BODY(SoundTaken, sound_taken)
  LAPIDARY_BODY(LiveSound, live_sound)
  LAPIDARY_BODY(AudioStatus, audio_status)
#undef LAPIDARY_BODY
};

template <typename Message, typename Body>
absl::StatusOr<WireMessage> Read(const Body& body, const Tensors& tensors) {
  Message message;
  if (!Get(body, tensors, &message)) {
    return absl::InvalidArgumentError(
        absl::StrCat("actor message: ", std::string(Body::descriptor()->name()),
                     " has a value that it cannot have"));
  }
  return WireMessage(std::move(message));
}

}  // namespace

void ToProto(const WireMessage& message, pb::Header* header,
             std::vector<Tensor>* tensors) {
  std::visit(Writer{header, *tensors}, message);
}

absl::StatusOr<WireMessage> FromProto(const pb::Header& header,
                                      const Tensors& tensors) {
  switch (header.body_case()) {
    case pb::Header::kEncode:
      return Read<Encode>(header.encode(), tensors);
    case pb::Header::kEncoded:
      return Read<Encoded>(header.encoded(), tensors);
    case pb::Header::kSubmit:
      return Read<Submit>(header.submit(), tensors);
    case pb::Header::kAccepted:
      return Read<Accepted>(header.accepted(), tensors);
    case pb::Header::kCancel:
      return Read<Cancel>(header.cancel(), tensors);
    case pb::Header::kProgress:
      return Read<Progress>(header.progress(), tensors);
    case pb::Header::kEnded:
      return Read<Ended>(header.ended(), tensors);
    case pb::Header::kPleRead:
      return Read<PleRead>(header.ple_read(), tensors);
    case pb::Header::kPleRows:
      return Read<PleRows>(header.ple_rows(), tensors);
    case pb::Header::kStep:
      return Read<Step>(header.step(), tensors);
    case pb::Header::kStepResult:
      return Read<StepResult>(header.step_result(), tensors);
    case pb::Header::kRelease:
      return Read<Release>(header.release(), tensors);
    case pb::Header::kStageGauges:
      return Read<StageGauges>(header.stage_gauges(), tensors);
    case pb::Header::kRoleEvent:
      return Read<RoleEvent>(header.role_event(), tensors);
    case pb::Header::kStatusQuery:
      return Read<StatusQuery>(header.status_query(), tensors);
    case pb::Header::kSequencerStatus:
      return Read<SequencerStatus>(header.sequencer_status(), tensors);
    case pb::Header::kPleStatus:
      return Read<PleStatus>(header.ple_status(), tensors);
    case pb::Header::kProcessStatus:
      return Read<ProcessStatus>(header.process_status(), tensors);
    case pb::Header::kDirectoryStatus:
      return Read<DirectoryStatus>(header.directory_status(), tensors);
    case pb::Header::kEncodeImage:
      return Read<EncodeImage>(header.encode_image(), tensors);
    case pb::Header::kEncodedMedium:
      return Read<EncodedMedium>(header.encoded_medium(), tensors);
    case pb::Header::kVisionStatus:
      return Read<VisionStatus>(header.vision_status(), tensors);
    case pb::Header::kEncodeSound:
      return Read<EncodeSound>(header.encode_sound(), tensors);
    case pb::Header::kOpenSound:
      return Read<OpenSound>(header.open_sound(), tensors);
    case pb::Header::kPushSound:
      return Read<PushSound>(header.push_sound(), tensors);
    case pb::Header::kEndSound:
      return Read<EndSound>(header.end_sound(), tensors);
    case pb::Header::kSoundTaken:
      return Read<SoundTaken>(header.sound_taken(), tensors);
    case pb::Header::kLiveSound:
      return Read<LiveSound>(header.live_sound(), tensors);
    case pb::Header::kAudioStatus:
      return Read<AudioStatus>(header.audio_status(), tensors);
    case pb::Header::BODY_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "actor message: it has no body that this node knows");
}

}  // namespace lapidary
