// Every actor message comes back from the wire as it went, and nothing that a
// peer sends does more than fail.
#include "actors/messages_wire.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"
#include "proto/lapidary/internal/wire.pb.h"

namespace lapidary {
namespace {

namespace pb = ::lapidary::internal;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

kernels::Tensor MakeTensor(int64_t rows, uint16_t first) {
  auto buffer = kernels::AlignedBuffer::Make(rows * 2 * 3 * 2);
  for (int64_t i = 0; i < rows * 6; ++i) {
    reinterpret_cast<uint16_t*>(buffer->data())[i] =
        static_cast<uint16_t>(first + i);
  }
  return kernels::Tensor(kernels::DType::kBf16, {rows, 2, 3}, buffer);
}

kernels::SamplingParams MakeSampling() {
  kernels::SamplingParams params;
  params.temperature = std::nanf("");  // must come through as it is
  params.top_k = 40;
  params.top_p = -0.0f;
  params.min_p = std::numeric_limits<float>::denorm_min();
  params.repetition_penalty = std::numeric_limits<float>::infinity();
  params.seed = std::numeric_limits<uint64_t>::max();
  params.logit_bias = {{3, -1.5f}, {7, 2}};
  return params;
}

TokenResult MakeToken(int32_t id) {
  TokenResult token;
  token.id = id;
  token.logprob = -0.5f;
  token.top = {{id, -0.5f}, {id + 1, -3}};
  return token;
}

Submit MakeSubmit() {
  Submit submit;
  submit.sequence = 1ull << 63;
  submit.task = Task::kScore;
  submit.tokens = {2, 300, 5};
  submit.sampling = MakeSampling();
  submit.max_tokens = 17;
  submit.eos_ids = {1, 106};
  submit.top_logprobs = -1;
  submit.deadline_ns = 5;
  submit.time_limit_ns = 6;
  submit.age_ns = 7;
  submit.priority = Priority::kHigh;
  submit.min_tokens = 17;
  submit.no_prefix_cache = true;
  submit.soft_tokens = {{3, MakeTensor(1, 50)}, {7, MakeTensor(2, 60)}};
  submit.only_asks = true;
  submit.open = true;
  submit.goes_on = true;
  submit.reserve_positions = 300;
  return submit;
}

StepRows MakeStepRows(uint64_t sequence) {
  StepRows rows;
  rows.sequence = sequence;
  rows.start = SequenceStart{100, MakeSampling(), 9, {1ull << 63, 8}, {7, 6}};
  rows.first_position = 4;
  rows.token_ids = {5, 6};
  rows.ple_rows = MakeTensor(2, static_cast<uint16_t>(sequence));
  rows.is_prompt = true;
  rows.sample = true;
  rows.targets = {6, -1};
  rows.top_logprobs = 3;
  rows.keep = {{1ull << 63, 4, 5}, {6, 1ull << 63, 7}};
  rows.soft_tokens = {{4, MakeTensor(2, 70)}};
  return rows;
}

const StageGauges kGauges{1, 2, 3, 4, 5, 6, 7};

const SoundTaken kTaken{
    absl::UnavailableError("lost"), 1, 2, 3, 4, 5, MakeTensor(2, 80)};

// One of each, no field at its default.
std::vector<WireMessage> AllMessages() {
  Encoded encoded;
  encoded.status = absl::InvalidArgumentError("not \xff UTF-8");
  encoded.submit = MakeSubmit();
  encoded.stop = {"a", "b\n"};
  encoded.continuation_tokens = 2;
  encoded.media = {{MediumKind::kSound,
                    3,
                    {40, 80},
                    std::make_shared<const std::string>("\x89PNG", 4),
                    MakeTensor(1, 80),
                    "prompt",
                    "key",
                    MediaSource{MediaSource::Kind::kFile, "a.png"}}};
  encoded.fixed_max_tokens = true;
  encoded.reply = std::string("\0\x01", 2);
  Ended ended{9, EndReason::kTimeLimit, absl::DataLossError("row"), 3, 4,
              2, {1, 2, 3, 4, 5, 6}};
  StepRowsResult result{3,
                        absl::InternalError("x"),
                        MakeToken(4),
                        {MakeToken(5), MakeToken(6)},
                        7,
                        {8, 9}};
  SequencerStatus sequencer;
  sequencer.queued = 1;
  sequencer.running = 2;
  sequencer.max_queued = 3;
  sequencer.max_running = 4;
  sequencer.accepted = 5;
  sequencer.refused = 6;
  sequencer.completed = 7;
  sequencer.cancelled = 8;
  sequencer.failed = 9;
  sequencer.steps = 10;
  sequencer.prompt_tokens = 11;
  sequencer.completion_tokens = 12;
  sequencer.stage = kGauges;
  sequencer.prompt_steps = {1, 2, 3, 4, 5, {6, 7, 8, 9}};
  sequencer.decode_steps = {11, 12, 13, 14, 15, {16, 17, 18, 19}};
  sequencer.schedule = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  sequencer.prefixes = {1, 2, 3, 4, 5, 6, 7};
  PleStatus ple;
  ple.reads = 1;
  ple.rows = 2;
  ple.cache_hits = 3;
  ple.cache_misses = 4;
  ple.bytes_read = 5;
  ple.cache_bytes = 6;
  ple.cache_capacity = 7;
  ple.read_us_p50 = 8;
  ple.read_us_p99 = 9;
  ple.read_us_max = 10;
  ple.latency = {{1.5, 2}, {3, 4}};
  return {
      Encode{Task::kTokenize, "request", {MakeTensor(1, 80)}},
      encoded,
      MakeSubmit(),
      Accepted{absl::ResourceExhaustedError("full"), kNeverRetry},
      Cancel{8, true},
      Progress{8, {MakeToken(1), MakeToken(2)}},
      ended,
      PleRead{{1, 2, 3}, {4, 9}},
      PleRows{absl::AbortedError("why"), MakeTensor(3, 1000)},
      Step{12,
           {1, 30},
           {MakeStepRows(1), MakeStepRows(2)},
           {1ull << 63, 3},
           {4, 1ull << 63}},
      StepResult{12, {result, result}, 77, kGauges, {1, 2, 3, 4}},
      Release{{1, 2, 1ull << 40}, true},
      kGauges,
      RoleEvent{"stage", true, 3, "because", kGauges},
      StatusQuery{"audio"},
      sequencer,
      ple,
      ProcessStatus{1, 2},
      DirectoryStatus{{{"stage", true, 2, "killed"}}},
      EncodeImage{std::make_shared<const std::string>("\x89PNG", 4), nullptr,
                  "", "tower"},
      EncodedMedium{absl::UnavailableError("lost"), MakeTensor(2, 90)},
      VisionStatus{true,
                   1,
                   2,
                   3,
                   4,
                   5,
                   6,
                   7,
                   8,
                   9,
                   10,
                   11,
                   "tower",
                   {{"peer:1", true, 2, "refused"}}},
      EncodeSound{std::make_shared<const std::string>("RIFF"), nullptr, "",
                  "tower"},
      OpenSound{
          1ull << 63, {PcmFormat::Encoding::kF32, 44100, 2}, -30, "t", true},
      PushSound{1, std::make_shared<const std::string>("\0\1", 2)},
      EndSound{1},
      kTaken,
      LiveSound{absl::InternalError("x"), MakeTensor(2, 95), kTaken},
      AudioStatus{true,
                  1,
                  2,
                  3,
                  4,
                  5,
                  6,
                  7,
                  8,
                  9,
                  10,
                  11,
                  12,
                  13,
                  14,
                  15,
                  16,
                  "tower",
                  {{"peer:1", true, 2, "refused"}}},
  };
}

// --- Completeness -----------------------------------------------------------

struct Anything {
  template <typename T>
  operator T() const;  // NOLINT: converts to any field
};

template <typename T, typename = void, typename... Fields>
struct Counter {
  static constexpr size_t value = sizeof...(Fields) - 1;
};
template <typename T, typename... Fields>
struct Counter<T, std::void_t<decltype(T{std::declval<Fields>()...})>,
               Fields...> {
  static constexpr size_t value = Counter<T, void, Fields..., Anything>::value;
};

// Fields of an aggregate.
template <typename T>
constexpr int Fields() {
  return static_cast<int>(Counter<T, void>::value);
}

// A struct that gains a field must gain it on the wire as well.
TEST(MessagesWireTest, EveryFieldHasAPlaceOnTheWire) {
  EXPECT_EQ(Fields<Encode>(), pb::Encode::descriptor()->field_count());
  EXPECT_EQ(Fields<Encoded>(), pb::Encoded::descriptor()->field_count());
  EXPECT_EQ(Fields<Submit>(), pb::Submit::descriptor()->field_count());
  EXPECT_EQ(Fields<Accepted>(), pb::Accepted::descriptor()->field_count());
  EXPECT_EQ(Fields<Cancel>(), pb::Cancel::descriptor()->field_count());
  EXPECT_EQ(Fields<TokenResult>(), pb::Token::descriptor()->field_count());
  EXPECT_EQ(Fields<Progress>(), pb::Progress::descriptor()->field_count());
  EXPECT_EQ(Fields<Ended>(), pb::Ended::descriptor()->field_count());
  EXPECT_EQ(Fields<SequenceTimings>(),
            pb::SequenceTimings::descriptor()->field_count());
  EXPECT_EQ(Fields<PleRead>(), pb::PleRead::descriptor()->field_count());
  EXPECT_EQ(Fields<PleRows>(), pb::PleRows::descriptor()->field_count());
  EXPECT_EQ(Fields<Step>(), pb::Step::descriptor()->field_count());
  EXPECT_EQ(Fields<KeepBlock>(), pb::KeepBlock::descriptor()->field_count());
  EXPECT_EQ(Fields<PrefixCacheStatus>(),
            pb::PrefixCacheStatus::descriptor()->field_count());
  EXPECT_EQ(Fields<StepRows>(), pb::StepRows::descriptor()->field_count());
  EXPECT_EQ(Fields<SequenceStart>(),
            pb::SequenceStart::descriptor()->field_count());
  EXPECT_EQ(Fields<kernels::SamplingParams>(),
            pb::SamplingParams::descriptor()->field_count());
  EXPECT_EQ(Fields<StepResult>(), pb::StepResult::descriptor()->field_count());
  EXPECT_EQ(Fields<StepRowsResult>(),
            pb::StepRowsResult::descriptor()->field_count());
  EXPECT_EQ(Fields<StageGauges>(),
            pb::StageGauges::descriptor()->field_count());
  EXPECT_EQ(Fields<StageTimes>(), pb::StageTimes::descriptor()->field_count());
  EXPECT_EQ(Fields<StepTotals>(), pb::StepTotals::descriptor()->field_count());
  EXPECT_EQ(Fields<Release>(), pb::Release::descriptor()->field_count());
  EXPECT_EQ(Fields<RoleEvent>(), pb::RoleEvent::descriptor()->field_count());
  EXPECT_EQ(Fields<SequencerStatus>(),
            pb::SequencerStatus::descriptor()->field_count());
  EXPECT_EQ(Fields<ScheduleStatus>(),
            pb::ScheduleStatus::descriptor()->field_count());
  EXPECT_EQ(Fields<PleStatus>(), pb::PleStatus::descriptor()->field_count());
  EXPECT_EQ(Fields<ProcessStatus>(),
            pb::ProcessStatus::descriptor()->field_count());
  EXPECT_EQ(Fields<EncodedMedium>(),
            pb::EncodedMedium::descriptor()->field_count());
  EXPECT_EQ(Fields<VisionStatus>(),
            pb::VisionStatus::descriptor()->field_count());
  EXPECT_EQ(Fields<MediaPeer>(), pb::MediaPeer::descriptor()->field_count());
  EXPECT_EQ(Fields<AudioStatus>(),
            pb::AudioStatus::descriptor()->field_count());
  EXPECT_EQ(Fields<OpenSound>(), pb::OpenSound::descriptor()->field_count());
  EXPECT_EQ(Fields<PushSound>(), pb::PushSound::descriptor()->field_count());
  EXPECT_EQ(Fields<EndSound>(), pb::EndSound::descriptor()->field_count());
  EXPECT_EQ(Fields<SoundTaken>(), pb::SoundTaken::descriptor()->field_count());
  EXPECT_EQ(Fields<LiveSound>(), pb::LiveSound::descriptor()->field_count());
  EXPECT_EQ(Fields<RoleStatus>(), pb::RoleStatus::descriptor()->field_count());
  EXPECT_EQ(
      std::variant_size_v<WireMessage>,
      static_cast<size_t>(
          pb::Header::descriptor()->FindOneofByName("body")->field_count()));
}

// Names a field of `message` or of what is in it that is not set.
std::string UnsetField(const Message& message) {
  const auto* reflection = message.GetReflection();
  const auto* type = message.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->real_containing_oneof() != nullptr &&
        !reflection->HasField(message, field)) {
      continue;
    }
    if (field->is_repeated()) {
      const int size = reflection->FieldSize(message, field);
      if (size == 0) return field->full_name();
      if (field->type() != FieldDescriptor::TYPE_MESSAGE) continue;
      for (int n = 0; n < size; ++n) {
        const std::string unset =
            UnsetField(reflection->GetRepeatedMessage(message, field, n));
        if (!unset.empty()) return unset;
      }
    } else if (!reflection->HasField(message, field)) {
      return field->full_name();
    } else if (field->type() == FieldDescriptor::TYPE_MESSAGE) {
      const std::string unset =
          UnsetField(reflection->GetMessage(message, field));
      if (!unset.empty()) return unset;
    }
  }
  return "";
}

pb::Header HeaderOf(const WireMessage& message) {
  pb::Header header;
  EXPECT_TRUE(header.ParseFromString(ToWire(message).header.substr(4)));
  return header;
}

// With the test above: what a full struct holds is all on the wire, and what is
// read back and written again is the same, so nothing is lost either way.
TEST(MessagesWireTest, EveryMessageRoundTrips) {
  const std::vector<WireMessage> messages = AllMessages();
  ASSERT_EQ(messages.size(), std::variant_size_v<WireMessage>);
  for (size_t i = 0; i < messages.size(); ++i) {
    ASSERT_EQ(messages[i].index(), i);
    pb::Header header = HeaderOf(messages[i]);
    if (header.tensors_size() == 0) header.add_tensors();  // not all have some
    for (auto& tensor : *header.mutable_tensors()) {
      tensor.set_dtype(1);
      tensor.set_bytes(1);
      tensor.add_shape(1);
    }
    EXPECT_EQ(UnsetField(header), "");
    const std::string bytes = Flatten(ToWire(messages[i]));
    const auto back = FromWire(bytes, {});
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->index(), i);
    EXPECT_EQ(Flatten(ToWire(*back)), bytes);
  }
}

TEST(MessagesWireTest, TensorsArriveAlignedAndWhole) {
  const Step step{1, {0, 2}, {MakeStepRows(100), MakeStepRows(200)}};
  const auto back = FromWire(Flatten(ToWire(step)), {});
  ASSERT_TRUE(back.ok());
  const Step& read = std::get<Step>(*back);
  for (size_t i = 0; i < 2; ++i) {
    const kernels::Tensor& sent = step.sequences[i].ple_rows;
    const kernels::Tensor& got = read.sequences[i].ple_rows;
    EXPECT_EQ(got.shape(), sent.shape());
    EXPECT_EQ(got.dtype(), sent.dtype());
    EXPECT_EQ(std::memcmp(got.raw(), sent.raw(), sent.bytes()), 0);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(got.raw()) % 64, 0u);
  }
}

TEST(MessagesWireTest, FrameRefersToTheTensorsBytes) {
  const Step step{1, {0, 2}, {MakeStepRows(1)}};
  EXPECT_EQ(ToWire(step).tensors[0].raw(), step.sequences[0].ple_rows.raw());
}

TEST(MessagesWireTest, FloatsKeepTheirBits) {
  const auto back = FromWire(Flatten(ToWire(MakeSubmit())), {});
  ASSERT_TRUE(back.ok());
  const kernels::SamplingParams sent = MakeSampling();
  const kernels::SamplingParams& got = std::get<Submit>(*back).sampling;
  EXPECT_TRUE(std::isnan(got.temperature));
  EXPECT_TRUE(std::signbit(got.top_p));
  EXPECT_EQ(got.min_p, sent.min_p);
  EXPECT_EQ(got.repetition_penalty, sent.repetition_penalty);
  EXPECT_EQ(got.logit_bias, sent.logit_bias);
}

// --- Hostile ----------------------------------------------------------------

TEST(MessagesWireTest, CutAnywhereItIsRefused) {
  for (const WireMessage& message : AllMessages()) {
    const std::string bytes = Flatten(ToWire(message));
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_EQ(FromWire(bytes.substr(0, size), {}).status().code(),
                absl::StatusCode::kInvalidArgument)
          << size;
    }
    EXPECT_FALSE(FromWire(bytes + "x", {}).ok());
  }
}

TEST(MessagesWireTest, DamagedBytesAreReadOrRefused) {
  std::mt19937 random(3);
  for (const WireMessage& message : AllMessages()) {
    const std::string bytes = Flatten(ToWire(message));
    for (int round = 0; round < 2000; ++round) {
      std::string damaged = bytes;
      const int changes = 1 + static_cast<int>(random() % 4);
      for (int i = 0; i < changes; ++i) {
        damaged[random() % damaged.size()] = static_cast<char>(random());
      }
      const auto read = FromWire(damaged, {});
      if (read.ok()) Flatten(ToWire(*read));
    }
  }
}

std::string Frame(const pb::Header& header, const std::string& tensors) {
  const std::string bytes = header.SerializeAsString();
  std::string frame;
  for (int i = 0; i < 4; ++i) {
    frame.push_back(static_cast<char>(bytes.size() >> (8 * i)));
  }
  return frame + bytes + tensors;
}

void ExpectInvalid(const std::string& frame) {
  const auto read = FromWire(frame, {});
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument)
      << read.status();
}

pb::Header RowsHeader(uint32_t dtype, std::vector<int64_t> shape,
                      uint64_t bytes) {
  pb::Header header;
  header.set_version(1);
  header.mutable_ple_rows()->set_rows(1);
  auto* tensor = header.add_tensors();
  tensor->set_dtype(dtype);
  tensor->mutable_shape()->Add(shape.begin(), shape.end());
  tensor->set_bytes(bytes);
  return header;
}

TEST(MessagesWireTest, TensorsThatLieAboutTheirSize) {
  EXPECT_TRUE(FromWire(Frame(RowsHeader(1, {2}, 8), "12345678"), {}).ok());
  ExpectInvalid(Frame(RowsHeader(1, {2}, 8), "1234567"));
  ExpectInvalid(Frame(RowsHeader(1, {3}, 8), "12345678"));
  ExpectInvalid(Frame(RowsHeader(1, {1ll << 40}, 4ull << 40), "1234"));
  ExpectInvalid(Frame(RowsHeader(1, {1ll << 62, 4}, 0), ""));  // overflows
  ExpectInvalid(Frame(RowsHeader(1, {-1, -2}, 8), "12345678"));
  ExpectInvalid(Frame(RowsHeader(1, {0}, 0), ""));
  ExpectInvalid(Frame(RowsHeader(9, {2}, 8), "12345678"));
  ExpectInvalid(Frame(RowsHeader(257, {2}, 8), "12345678"));
  ExpectInvalid(
      Frame(RowsHeader(1, {1, 1, 1, 1, 1, 1, 1, 1, 2}, 8), "12345678"));
}

TEST(MessagesWireTest, ReferencesAndValuesOutOfRange) {
  pb::Header header = RowsHeader(1, {2}, 8);
  header.mutable_ple_rows()->set_rows(2);
  ExpectInvalid(Frame(header, "12345678"));
  header = RowsHeader(1, {2}, 8);
  header.mutable_ple_rows()->mutable_status()->set_code(99);
  ExpectInvalid(Frame(header, "12345678"));
  header.clear_tensors();
  header.mutable_submit()->set_task(5);
  ExpectInvalid(Frame(header, ""));
  header.mutable_ended()->set_reason(6);
  ExpectInvalid(Frame(header, ""));
  header.clear_body();
  ExpectInvalid(Frame(header, ""));
}

TEST(MessagesWireTest, AnotherVersionIsRefusedAsSuch) {
  pb::Header header;
  header.set_version(2);
  header.mutable_status_query();
  EXPECT_EQ(FromWire(Frame(header, ""), {}).status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(MessagesWireTest, FramesPastTheLimit) {
  const std::string bytes = Flatten(ToWire(Encode{Task::kScore, "1234"}));
  EXPECT_TRUE(FromWire(bytes, {bytes.size()}).ok());
  EXPECT_EQ(FromWire(bytes, {bytes.size() - 1}).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST(MessagesWireTest, HeaderSizeIsChecked) {
  ExpectInvalid("\xff\xff\xff\xff");
  ExpectInvalid(std::string("\xff\xff\xff\x7f", 4) + std::string(100, 'x'));
  ExpectInvalid("");
}

}  // namespace
}  // namespace lapidary
