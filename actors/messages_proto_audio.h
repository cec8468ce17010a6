// The messages of messages_audio.h in their Protobuf form, as
// messages_proto_parts.h's.
#ifndef LAPIDARY_ACTORS_MESSAGES_PROTO_AUDIO_H_
#define LAPIDARY_ACTORS_MESSAGES_PROTO_AUDIO_H_

#include <memory>
#include <string>

#include "actors/messages_audio.h"
#include "actors/messages_proto_parts.h"

namespace lapidary::internal {

inline void Put(const lapidary::EncodeSound& in, EncodeSound* out, Tensors&) {
  if (in.file != nullptr) out->set_file(*in.file);
  out->set_tower(in.tower);
}

inline bool Get(const EncodeSound& in, const Tensors&,
                lapidary::EncodeSound* out) {
  out->file = std::make_shared<const std::string>(in.file());
  out->tower = in.tower();
  return true;
}

inline void Put(const lapidary::OpenSound& in, OpenSound* out, Tensors&) {
  out->set_sound(in.sound);
  OpenSound::Format* format = out->mutable_format();
  format->set_encoding(static_cast<uint32_t>(in.format.encoding));
  format->set_rate(in.format.rate);
  format->set_channels(in.format.channels);
  out->set_loud_db(in.loud_db);
  out->set_tower(in.tower);
  out->set_wants_rows(in.wants_rows);
}

inline bool Get(const OpenSound& in, const Tensors&, lapidary::OpenSound* out) {
  if (in.format().encoding() >
      static_cast<uint32_t>(PcmFormat::Encoding::kF32)) {
    return false;
  }
  out->sound = in.sound();
  out->format = {static_cast<PcmFormat::Encoding>(in.format().encoding()),
                 in.format().rate(), in.format().channels()};
  out->loud_db = in.loud_db();
  out->tower = in.tower();
  out->wants_rows = in.wants_rows();
  return true;
}

inline void Put(const lapidary::PushSound& in, PushSound* out, Tensors&) {
  out->set_sound(in.sound);
  if (in.pcm != nullptr) out->set_pcm(*in.pcm);
}

inline bool Get(const PushSound& in, const Tensors&, lapidary::PushSound* out) {
  out->sound = in.sound();
  out->pcm = std::make_shared<const std::string>(in.pcm());
  return true;
}

inline void Put(const lapidary::EndSound& in, EndSound* out, Tensors&) {
  out->set_sound(in.sound);
}

inline bool Get(const EndSound& in, const Tensors&, lapidary::EndSound* out) {
  out->sound = in.sound();
  return true;
}

inline void Put(const lapidary::SoundTaken& in, SoundTaken* out,
                Tensors& tensors) {
  Put(in.status, out->mutable_status());
  out->set_samples(in.samples);
  out->set_waiting_samples(in.waiting_samples);
  out->set_tokens(in.tokens);
  out->set_compute_ns(in.compute_ns);
  out->set_loud_to(in.loud_to);
  out->set_rows(Put(in.rows, tensors));
}

inline bool Get(const SoundTaken& in, const Tensors& tensors,
                lapidary::SoundTaken* out) {
  out->samples = in.samples();
  out->waiting_samples = in.waiting_samples();
  out->tokens = in.tokens();
  out->compute_ns = in.compute_ns();
  out->loud_to = in.loud_to();
  return Get(in.status(), &out->status) && Get(in.rows(), tensors, &out->rows);
}

inline void Put(const lapidary::LiveSound& in, LiveSound* out,
                Tensors& tensors) {
  Put(in.status, out->mutable_status());
  out->set_rows(Put(in.rows, tensors));
  Put(in.taken, out->mutable_taken(), tensors);
}

inline bool Get(const LiveSound& in, const Tensors& tensors,
                lapidary::LiveSound* out) {
  return Get(in.status(), &out->status) &&
         Get(in.rows(), tensors, &out->rows) &&
         Get(in.taken(), tensors, &out->taken);
}

}  // namespace lapidary::internal

#endif  // LAPIDARY_ACTORS_MESSAGES_PROTO_AUDIO_H_
