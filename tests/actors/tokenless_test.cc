// A model without a tokenizer is served by token ids.
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/actors/nano_node.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

TEST(TokenlessTest, IdsAreServedAndTextIsRefusedByName) {
  TempDir dir;
  auto hf = SynthFolder(dir, TinyConfigJson(), 1, kernels::DType::kBf16);
  ASSERT_TRUE(hf.ok()) << hf.status();
  auto packed = PackFolder(dir, *hf, kernels::DType::kF32);
  ASSERT_TRUE(packed.ok()) << packed.status();
  NodeOptions options = NanoOptions();
  options.model_folder = *packed;
  auto node = StartNode(options);
  ASSERT_NE(node, nullptr);
  auto stub = InProcessStub(*node);

  v1::GenerateRequest request = AskIds({2, 5, 7}, 6);
  request.set_ignore_eos(true);
  const Answer answer = Generate(*stub, request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.tokens.size(), 6u);
  EXPECT_EQ(answer.text, "");

  request.add_stop("x");
  for (const v1::GenerateRequest& refused : {request, Ask("Hello", 4)}) {
    const grpc::Status status = Generate(*stub, refused).status;
    EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_NE(status.error_message().find("tokenizer"), std::string::npos)
        << status.error_message();
  }
}

}  // namespace
}  // namespace lapidary
