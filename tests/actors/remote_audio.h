// Nodes with and without an audio tower, over TCP, for tests.
#ifndef LAPIDARY_TESTS_ACTORS_REMOTE_AUDIO_H_
#define LAPIDARY_TESTS_ACTORS_REMOTE_AUDIO_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/actors/media_cases.h"
#include "tests/actors/nano_node.h"

namespace lapidary {

// A node that holds the tower, on a port.
inline NodeOptions TowerOptions() {
  NodeOptions options = NanoOptions();
  options.listen_address = "127.0.0.1:0";
  return options;
}

inline NodeOptions RemoteOptions(const std::vector<std::string>& peers) {
  NodeOptions options = TowerOptions();
  options.audio.mode = AudioOptions::Mode::kRemote;
  options.audio.peers = peers;
  return options;
}

struct Served {
  std::unique_ptr<Node> node;
  std::unique_ptr<Stub> stub;

  explicit Served(const NodeOptions& options)
      : node(StartNode(options)),
        stub(v1::Lapidary::NewStub(grpc::CreateChannel(
            address(), grpc::InsecureChannelCredentials()))) {}
  std::string address() const {
    return absl::StrCat("127.0.0.1:", node->port());
  }
};

inline std::string Candle() { return Medium("candle_en.wav"); }

// The same word in another file.
inline std::string Candle(int number) {
  return absl::StrCat(Candle(), "LIST", std::string("\4\0\0\0", 4),
                      absl::StrCat(1000 + number));
}

// Of several windows: nano hears 5.1 s at once.
inline std::string LongWav() {
  std::string pcm;
  for (int repeats = 0; repeats < 8; ++repeats) {
    pcm += PcmOf(Candle()) + std::string(8000, '\0');
  }
  std::vector<int16_t> samples(pcm.size() / sizeof(int16_t));
  std::copy_n(pcm.data(), samples.size() * sizeof(int16_t),
              reinterpret_cast<char*>(samples.data()));
  return Wav(samples, 16000, 1);
}

inline std::string SoftTokensOf(Stub& stub, const std::string& file) {
  grpc::ClientContext context;
  v1::EncodeMediaRequest request;
  request.mutable_audio()->set_data(file);
  v1::EncodeMediaResponse response;
  const grpc::Status status = stub.EncodeMedia(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.soft_tokens().values();
}

inline bool NothingLive(const Served& served) {
  return WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.has_audio() && status.audio().live() == 0;
  });
}

inline bool OneLive(const Served& served) {
  return WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.audio().live() == 1;
  });
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_ACTORS_REMOTE_AUDIO_H_
