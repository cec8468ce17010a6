// What a client is told of a call that was lost, and by whom it was lost.
#include "deploy/cli/connection.h"

#include <string>

#include "gmock/gmock.h"
#include "grpcpp/support/status.h"
#include "gtest/gtest.h"

namespace lapidary::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

absl::Status Unavailable(const std::string& words) {
  return FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, words));
}

TEST(FromGrpc, LostServer_IsSaidInPlainWords) {
  for (const char* words :
       {"Socket closed", "Connection reset by peer", "GOAWAY received",
        "recvmsg:Connection reset by peer", "Cancelling all calls",
        "failed to connect to all addresses; last error: UNKNOWN"}) {
    EXPECT_THAT(Unavailable(words).message(), HasSubstr("the server went away"))
        << words;
  }
}

TEST(FromGrpc, LostPeerOfTheServer_IsNotTheServer) {
  for (const char* words :
       {"10.0.0.3:7421: Socket closed; the sound so far was lost with it, "
        "begin "
        "the turn again",
        "no node of --vision-peers encoded the image (10.0.0.3:7421: failed to "
        "connect to all addresses; Connection refused); try again"}) {
    EXPECT_EQ(Unavailable(words).message(), words);
  }
}

}  // namespace
}  // namespace lapidary::cli
