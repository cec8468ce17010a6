// A client of Converse, for the tests of conversations.
#ifndef LAPIDARY_TESTS_ACTORS_TALK_H_
#define LAPIDARY_TESTS_ACTORS_TALK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/actors/media_cases.h"
#include "tests/actors/nano_node.h"

namespace lapidary {

struct Served {
  std::unique_ptr<Node> node;
  std::unique_ptr<Stub> stub;

  // Over a socket: the transport's windows are a part of what is tested.
  explicit Served(NodeOptions options = NanoOptions()) {
    options.listen_address = "127.0.0.1:0";
    node = StartNode(options);
    stub = v1::Lapidary::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", node->port()),
                            grpc::InsecureChannelCredentials()));
  }
};

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
  bool Cancel() {
    v1::ConverseRequest request;
    request.mutable_cancel();
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

inline bool AllFreed(const Served& served) {
  return WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.audio().live() == 0 && status.queue().running() == 0;
  });
}

// Of one window: every 16 mel frames (gemma3n-audio.md §1.7).
inline int64_t SoftTokens(int64_t samples) {
  const int64_t padded = (samples + 127) / 128 * 128;
  const int64_t frames = 1 + (padded - 513) / 160;
  return (frames + 15) / 16;
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_ACTORS_TALK_H_
