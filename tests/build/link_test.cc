// All the libraries in one process, each doing one small thing that needs it.
// That they link says little: a wrong order of sentencepiece and Protobuf
// links, and dies before main() or mixes two versions of Protobuf.
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <hwy/highway.h>
#include <hwy/targets.h>
#include <rocksdb/db.h>
#include <xxhash.h>

#include <caf/all.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/build/link_service.grpc.pb.h"
#include "tests/build/link_tokenizer.h"

ABSL_FLAG(int, answer, 0, "read back by AbseilParsesItsOwnFlags");

namespace lapidary {
namespace {

class EchoService final : public test::Echo::Service {
  grpc::Status Twice(grpc::ServerContext*, const test::Note* note,
                     test::Note* twice) override {
    twice->set_text(absl::StrCat(note->text(), note->text()));
    for (int pass = 0; pass < 2; ++pass) {
      twice->mutable_ids()->MergeFrom(note->ids());
    }
    twice->mutable_took()->set_nanos(1);
    twice->add_tags(note->text());
    twice->mutable_tags()->MergeFrom(note->tags());
    return grpc::Status::OK;
  }
};

TEST(LinkTest, GrpcCarriesProtobufWithHealthAndReflection) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  EchoService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  EXPECT_NE(server->GetHealthCheckService(), nullptr);

  std::unique_ptr<test::Echo::Stub> stub = test::Echo::NewStub(
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", port),
                          grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  test::Note note, twice;
  note.set_text("gem");
  note.add_ids(7);
  grpc::Status status = stub->Twice(&context, note, &twice);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(twice.text(), "gemgem");
  EXPECT_EQ(twice.ids_size(), 2);
  EXPECT_EQ(twice.DebugString(),
            "text: \"gemgem\"\nids: 7\nids: 7\ntook {\n  nanos: 1\n}\n"
            "tags: \"gem\"\n");
}

TEST(LinkTest, SentencepieceReadsAModelBesideProtobuf) {
  EXPECT_EQ(TokenizeWith(TinyTokenizerModel(), "ab a"),
            (std::vector<int>{3, 4, 5, 3, 4}));
  EXPECT_TRUE(TokenizeWith("not a model", "ab a").empty());
}

// libsentencepiece.so exports a function of this very name.
TEST(LinkTest, AbseilParsesItsOwnFlags) {
  char program[] = "link_test", flag[] = "--answer=42", rest[] = "rest";
  char* argv[] = {program, flag, rest, nullptr};
  std::vector<char*> left = absl::ParseCommandLine(3, argv);
  EXPECT_EQ(absl::GetFlag(FLAGS_answer), 42);
  ASSERT_EQ(left.size(), 2u);
  EXPECT_STREQ(left[1], "rest");
}

TEST(LinkTest, CafAnswersARequest) {
  caf::actor_system_config config;
  caf::actor_system system(config);
  caf::scoped_actor self(system);
  caf::actor doubler = system.spawn(
      []() -> caf::behavior { return {[](int n) { return 2 * n; }}; });
  int answer = 0;
  self->request(doubler, caf::infinite, 21)
      .receive([&](int n) { answer = n; },
               [&](caf::error& error) { FAIL() << system.render(error); });
  EXPECT_EQ(answer, 42);
  caf::anon_send_exit(doubler, caf::exit_reason::user_shutdown);
}

TEST(LinkTest, OneDnnMultiplies) {
  using dnnl::memory;
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  memory::desc shape({2, 2}, memory::data_type::f32, memory::format_tag::ab);
  std::vector<float> left = {1, 2, 3, 4}, right = {5, 6, 7, 8}, product(4);
  memory a(shape, engine, left.data()), b(shape, engine, right.data()),
      c(shape, engine, product.data());
  dnnl_dim_t n = 2;
  ASSERT_EQ(dnnl_sgemm('N', 'N', n, n, n, 1.0f, left.data(), n, right.data(), n,
                       0.0f, product.data(), n),
            dnnl_success);
  EXPECT_EQ(product, (std::vector<float>{19, 22, 43, 50}));
  dnnl::reorder(a, c).execute(stream, a, c);
  stream.wait();
  EXPECT_EQ(product, left);
}

TEST(LinkTest, RocksDbKeepsAValue) {
  std::string folder = testing::TempDir() + "/link_test_rocksdb";
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* opened = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(options, folder, &opened);
  ASSERT_TRUE(status.ok()) << status.ToString();
  std::unique_ptr<rocksdb::DB> db(opened);
  ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), "row", "value").ok());
  std::string value;
  ASSERT_TRUE(db->Get(rocksdb::ReadOptions(), "row", &value).ok());
  EXPECT_EQ(value, "value");
}

TEST(LinkTest, HighwayKnowsATarget) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> lanes;
  EXPECT_EQ(hn::GetLane(hn::Add(hn::Set(lanes, 40.f), hn::Set(lanes, 2.f))),
            42.f);
  EXPECT_NE(hwy::SupportedTargets(), 0);
}

TEST(LinkTest, AbseilJsonAndXxhashWork) {
  absl::flat_hash_map<std::string, int> counts = {{"gem", 1}};
  EXPECT_EQ(counts.at("gem"), 1);
  absl::StatusOr<int> missing = absl::NotFoundError("gem");
  EXPECT_EQ(missing.status().message(), "gem");
  absl::Notification done;
  EXPECT_FALSE(done.WaitForNotificationWithTimeout(absl::Milliseconds(1)));
  EXPECT_EQ(nlohmann::json::parse("[1, 2]").size(), 2u);
  EXPECT_EQ(XXH64("", 0, 0), 0xEF46DB3751D8E999ULL);
}

}  // namespace
}  // namespace lapidary
