// The client's side of a conversation, for tests.
#ifndef LAPIDARY_TESTS_ACTORS_TALK_H_
#define LAPIDARY_TESTS_ACTORS_TALK_H_

#include <memory>
#include <string>
#include <vector>

#include "tests/actors/nano_node.h"

namespace lapidary {

inline v1::ConverseStart Greedy() {
  v1::ConverseStart start;
  start.mutable_request()->mutable_sampling()->set_temperature(0);
  start.mutable_request()->set_max_tokens(8);
  start.mutable_request()->set_top_logprobs(0);
  return start;
}

// The client's side of a conversation.
class Talk {
 public:
  // `Served` has a `stub`.
  template <typename Served>
  explicit Talk(const Served& served, const v1::ConverseStart& start = Greedy())
      : stream_(served.stub->Converse(context_.get())) {
    v1::ConverseRequest request;
    *request.mutable_start() = start;
    stream_->Write(request);
  }

  bool Pcm(const std::string& pcm) {
    v1::ConverseRequest request;
    request.set_pcm(pcm);
    return stream_->Write(request);
  }
  // In pieces of `bytes`.
  void PcmInPieces(const std::string& pcm, size_t bytes) {
    for (size_t at = 0; at < pcm.size(); at += bytes) {
      Pcm(pcm.substr(at, bytes));
    }
  }
  bool Text(const std::string& text) {
    v1::Part part;
    part.set_text(text);
    return Part(part);
  }
  bool Part(const v1::Part& part) {
    v1::ConverseRequest request;
    *request.mutable_part() = part;
    return stream_->Write(request);
  }
  bool EndOfTurn() {
    v1::ConverseRequest request;
    request.mutable_end_of_turn();
    return stream_->Write(request);
  }
  bool Cancel(int32_t turn = 0) {
    v1::ConverseRequest request;
    request.mutable_cancel()->set_turn(turn);
    return stream_->Write(request);
  }

  // Reads to the turn's end: its text; false where the call ends before that.
  bool ReadTurn() {
    text.clear();
    ids.clear();
    logprobs.clear();
    v1::ConverseResponse response;
    while (stream_->Read(&response)) {
      if (response.has_progress()) progress.push_back(response.progress());
      for (const v1::Token& token : response.delta().tokens()) {
        ids.push_back(token.id());
        logprobs.push_back(token.logprob());
      }
      text += response.delta().text();
      if (!response.has_done()) continue;
      done = response.done();
      return true;
    }
    return false;
  }
  std::string Answer() {
    EndOfTurn();
    return ReadTurn() ? text : Finish().error_message();
  }

  grpc::Status Finish() {
    stream_->WritesDone();
    return ReadToTheEnd();
  }
  grpc::Status ReadToTheEnd() {
    while (ReadTurn()) {
    }
    return stream_->Finish();
  }
  void Vanish() { context_->TryCancel(); }

  std::string text;
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  v1::TurnDone done;
  std::vector<v1::SoundProgress> progress;

 private:
  std::unique_ptr<grpc::ClientContext> context_ =
      std::make_unique<grpc::ClientContext>();
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::ConverseRequest, v1::ConverseResponse>>
      stream_;
};

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_ACTORS_TALK_H_
