// What a conversation has said so far, and the request that its next turn
// makes. Bounded: turns longest ago are forgotten.
#ifndef LAPIDARY_ACTORS_CONVERSATION_H_
#define LAPIDARY_ACTORS_CONVERSATION_H_

#include <cstddef>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "actors/messages.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary {

// One turn of the client's: text and media, in order.
struct ConverseTurn {
  v1::Message message;
  // Of its parts that are media, which stand in `message` without values.
  std::vector<kernels::Tensor> media;
  std::string answer;

  size_t media_bytes() const {
    size_t bytes = 0;
    for (const kernels::Tensor& rows : media) bytes += rows.bytes();
    return bytes;
  }
  void AddText(const std::string& text) { message.add_parts()->set_text(text); }
  void AddMedium(MediumKind kind, kernels::Tensor rows) {
    v1::Part* part = message.add_parts();
    if (kind == MediumKind::kSound) {
      part->mutable_audio()->mutable_soft_tokens();
    } else {
      part->mutable_image()->mutable_soft_tokens();
    }
    media.push_back(std::move(rows));
  }
};

class Conversation {
 public:
  // `request` with its prompt: what comes before the first turn.
  //   media_bytes  that earlier turns may have
  void Begin(v1::GenerateRequest request, size_t media_bytes) {
    request_ = std::move(request);
    media_bytes_ = media_bytes;
  }

  // The request for the answer to `turn`, with its media.
  Encode RequestFor(const ConverseTurn& turn) const {
    Encode encode;
    v1::GenerateRequest request = request_;
    v1::Chat* chat = request.mutable_prompt()->mutable_chat();
    chat->clear_add_generation_prompt();
    for (const ConverseTurn& past : turns_) {
      Append(past, chat, &encode.media);
      v1::Message* answer = chat->add_messages();
      answer->set_role("assistant");
      answer->add_parts()->set_text(past.answer);
    }
    Append(turn, chat, &encode.media);
    encode.task = Task::kGenerate;
    encode.request = request.SerializeAsString();
    return encode;
  }

  void Remember(ConverseTurn turn) {
    turns_.push_back(std::move(turn));
    size_t bytes = 0;
    for (const ConverseTurn& past : turns_) bytes += past.media_bytes();
    while (bytes > media_bytes_) {
      bytes -= turns_.front().media_bytes();
      Forget();
    }
  }

  // Forgets the turn that is longest ago; false: there is none.
  bool Forget() {
    if (turns_.empty()) return false;
    turns_.pop_front();
    ++forgotten_;
    return true;
  }

  int forgotten() const { return forgotten_; }

 private:
  static void Append(const ConverseTurn& turn, v1::Chat* chat,
                     std::vector<kernels::Tensor>* media) {
    v1::Message* message = chat->add_messages();
    *message = turn.message;
    message->set_role("user");
    media->insert(media->end(), turn.media.begin(), turn.media.end());
  }

  v1::GenerateRequest request_;
  size_t media_bytes_ = 0;
  std::deque<ConverseTurn> turns_;
  int forgotten_ = 0;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_CONVERSATION_H_
