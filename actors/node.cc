#include "actors/node.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "actors/directory.h"
#include "actors/event_log.h"
#include "actors/foreign_thread.h"
#include "actors/gateway.h"
#include "actors/listen_address.h"
#include "actors/memory_plan.h"
#include "actors/model_description.h"
#include "actors/node_roles.h"
#include "actors/peer_service.h"
#include "actors/ple_server.h"
#include "actors/process_memory.h"
#include "actors/sound_plan.h"
#include "actors/supervisor.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "kernels/kernel_names.h"
#include "kernels/parallel.h"
#include "kernels/text/kv_layout.h"
#include "storage/packed_model.h"
#include "storage/tokenizer.h"

namespace lapidary {
namespace {

// What calls may be open beside those that run and wait: being encoded, or
// asking for something else.
constexpr int kOtherCalls = 256;
// Light actors do next to nothing; two threads keep a busy one from holding up
// the others.
constexpr size_t kLightThreads = 2;

struct SystemConfig : caf::actor_system_config {
  SystemConfig() {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", kLightThreads);
  }
};

}  // namespace

struct Node::Impl : NodeFacts {
  EventLog log;
  absl::Time started = absl::Now();

  SystemConfig system_config;
  std::unique_ptr<caf::actor_system> system;
  DirectoryActor directory;
  SupervisorActor supervisor;
  GatewayActor gateway;

  std::unique_ptr<GatewayService> service;
  std::unique_ptr<PeerService> peers;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
  std::mutex shutdown_mutex;

  absl::Status OpenModel();
  absl::Status DivideMemory();
  void ClipDefaultTokens();
  absl::Status StartActors();
  absl::Status StartServer();
  void Shutdown(absl::Duration grace);

  v1::StatusResponse OwnStatus() const;
  PeerServiceConfig PeerServiceFor() const;
  size_t MaxMessageBytes() const;
  ImageMemory MemoryOfImages() const;
  absl::StatusOr<MemoryPlan> PlanWithSounds(MemoryFacts facts,
                                            const MemoryWishes& wishes,
                                            bool least);
};

absl::Status Node::Impl::OpenModel() {
  auto packed =
      PackedModel::Open(options.model_folder, {options.verify_weights});
  if (!packed.ok()) return packed.status();
  model = *std::move(packed);
  auto tokenizer = Tokenizer::Load(model->folder());
  // A model without one is served by token ids alone.
  const bool has_tokenizer = !absl::IsNotFound(tokenizer.status());
  if (has_tokenizer && !tokenizer.ok()) return tokenizer.status();
  auto facts = std::make_shared<ServedModel>();
  facts->name = model->name();
  facts->folder = model->folder();
  facts->config = model->config();
  if (has_tokenizer) facts->tokenizer = *std::move(tokenizer);
  facts->no_images =
      WhyNoImages(*model, facts->tokenizer.get(),
                  options.vision.mode == VisionOptions::Mode::kOff);
  facts->no_sounds = WhyNoSounds(*model, facts->tokenizer.get(),
                                 options.audio.mode == AudioOptions::Mode::kOff,
                                 options.audio.flag);
  facts->media = options.media;
  facts->max_text_bytes = options.max_text_bytes;
  facts->default_max_tokens = options.default_max_tokens;
  served = std::move(facts);

  const kernels::text::TextConfig& text = model->config().text;
  kv_layout = kernels::text::KvLayoutFor(text, {0, text.num_hidden_layers},
                                         options.kv_dtype);
  return absl::OkStatus();
}

// What images may come to take.
ImageMemory Node::Impl::MemoryOfImages() const {
  ImageMemory images;
  if (!sees()) return images;
  images.cache_bytes = options.vision.cache_bytes;
  if (!holds_tower()) return images;
  // The 300M tower's activations at 768 x 768 take 108 MB.
  constexpr int64_t kBytesOfPixel = 190;
  const ModelConfig& config = model->config();
  images.tower_bytes = model->vision_bytes() + kBytesOfPixel *
                                                   config.vision_image_height *
                                                   config.vision_image_width;
  images.decodes = true;
  return images;
}

// `least`: with sounds that take as little as can be.
absl::StatusOr<MemoryPlan> Node::Impl::PlanWithSounds(
    MemoryFacts facts, const MemoryWishes& wishes, bool least) {
  if (hears()) {
    sounds = PlanSounds(model->config(),
                        holds_audio_tower() ? model->audio_bytes() : 0,
                        options.audio.cache_bytes, wishes.limit, least);
    facts.sound_bytes = sounds.bytes;
  }
  return PlanMemoryWithImages(facts, wishes, MemoryOfImages(), &image_limits);
}

absl::Status Node::Impl::DivideMemory() {
  MemoryFacts facts{model->config().text,  kv_layout, model->ple_shape(),
                    model->weight_bytes(), 0,         0};
  MemoryWishes wishes;
  wishes.flag = "--memory-limit";
  wishes.limit = options.memory_limit.value_or(0);
  if (!options.memory_limit.has_value()) {
    wishes.flag =
        "the control group's memory limit (--memory-limit=none serves in spite "
        "of it)";
    const uint64_t group = CgroupMemoryLimit();
    // The kernel keeps page tables and sockets in the group's account.
    wishes.limit = group - group / 32;
  }
  if (wishes.limit > 0) {
    // Known images are the first to make room: eight of them are kept.
    const size_t image = model->config().image_rows() *
                         model->config().text.hidden_size * sizeof(float);
    options.vision.cache_bytes =
        std::min(options.vision.cache_bytes, 8 * image);
  }
  wishes.kv_bytes = options.kv_memory_bytes;
  wishes.ple_cache = options.ple.block_cache_bytes;
  wishes.max_batch_rows = options.max_batch_rows;
  wishes.max_running = options.max_running;
  wishes.threads = ThreadsOf(options);
  absl::StatusOr<MemoryPlan> plan = PlanWithSounds(facts, wishes, false);
  if (!plan.ok() && hears()) plan = PlanWithSounds(facts, wishes, true);
  if (!plan.ok()) return plan.status();
  memory = *std::move(plan);
  if (memory.limit > 0) {
    log(absl::StrCat("event=memory ", MemoryPlanText(memory)));
  }
  options.ple.block_cache_bytes = memory.ple_cache;
  options.max_batch_rows = memory.max_batch_rows;
  options.max_running = static_cast<int>(memory.max_running);
  kv_pages = static_cast<int64_t>(memory.kv_bytes / kv_layout.PageBytes());
  // A page's number has 31 bits, and takes memory of its own.
  constexpr int64_t kMostPages = int64_t{1} << 26;
  if (kv_pages < kv_layout.PagesFor(1) || kv_pages > kMostPages) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--kv-memory is ", options.kv_memory_bytes,
        " bytes; one short sequence takes ",
        kv_layout.PagesFor(1) * kv_layout.PageBytes(), ", and more than ",
        kMostPages * kv_layout.PageBytes(), " cannot be managed"));
  }
  ClipDefaultTokens();
  return absl::OkStatus();
}

// An answer whose length nobody asked for takes no more than half of what keys
// and values there is room for.
void Node::Impl::ClipDefaultTokens() {
  int64_t fits = 1;
  int64_t above = model->config().text.max_position_embeddings + 1;
  while (above - fits > 1) {
    const int64_t middle = fits + (above - fits) / 2;
    (kv_layout.PagesFor(middle) <= kv_pages ? fits : above) = middle;
  }
  auto clipped = std::make_shared<ServedModel>(*served);
  clipped->default_max_tokens = static_cast<int32_t>(
      std::clamp<int64_t>(fits / 2, 1, served->default_max_tokens));
  served = std::move(clipped);
}

absl::Status Node::Impl::StartActors() {
  const ForeignThread thread;
  system = std::make_unique<caf::actor_system>(system_config);
  directory = system->spawn(Directory);
  SupervisorConfig config;
  config.directory = directory;
  config.roles = NodeRoles(*this, directory);
  config.log = log;
  supervisor = system->spawn(Supervisor, config);
  absl::Status status;
  caf::scoped_actor self{*system};
  self->request(supervisor, std::chrono::minutes(10), lapidary::Start{})
      .receive([&](const Started& started) { status = started.status; },
               [&](caf::error& error) {
                 status = absl::InternalError(absl::StrCat(
                     "the actors did not start: ", system->render(error)));
               });
  return status;
}

v1::StatusResponse Node::Impl::OwnStatus() const {
  v1::StatusResponse status;
  status.set_uptime_seconds(absl::ToDoubleSeconds(absl::Now() - started));
  status.mutable_memory()->set_weights_mapped(model->weight_bytes());
  const kernels::KernelNames names = kernels::KernelsInUse();
  v1::Kernels* kernels = status.mutable_kernels();
  kernels->set_integer_products(names.integer_products);
  kernels->set_vectors(names.vectors);
  kernels->set_float_products(names.float_products);
  kernels->set_threads(ThreadsOf(options));
  v1::MemoryPlan* plan = status.mutable_memory()->mutable_plan();
  plan->set_limit(memory.limit);
  plan->set_weights(memory.weights);
  plan->set_images(memory.images);
  plan->set_sounds(memory.sounds);
  plan->set_kv(memory.kv_bytes);
  plan->set_ple_cache(memory.ple_cache);
  plan->set_ple_rows(memory.ple_rows);
  plan->set_work_space(memory.work_space);
  plan->set_runtime(memory.runtime);
  plan->set_max_batch_rows(memory.max_batch_rows);
  return status;
}

PeerServiceConfig Node::Impl::PeerServiceFor() const {
  PeerServiceConfig config;
  config.directory = directory;
  config.vision = board;
  config.audio = audio_board;
  config.max_live = sounds.max_live;
  if (!hears()) {
    config.no_audio = served->no_sounds;
  } else if (!holds_audio_tower()) {
    config.no_audio =
        absl::StrCat("this node holds no tower itself, it was started with --",
                     options.audio.flag, "=remote");
  }
  if (!sees()) {
    config.no_vision = served->no_images;
  } else if (!holds_tower()) {
    config.no_vision =
        "this node holds no tower itself, it was started with --vision=remote";
  }
  return config;
}

size_t Node::Impl::MaxMessageBytes() const {
  constexpr size_t kMiB = size_t{1} << 20;
  const size_t media = sees() || hears() ? image_limits.max_bytes : 3 * kMiB;
  return options.max_message_bytes.value_or(media + kMiB);
}

absl::Status Node::Impl::StartServer() {
  if (!options.listen_address.empty()) {
    absl::Status status = CheckCanListen(options.listen_address);
    if (!status.ok()) return status;
  }
  auto context = std::make_shared<CallContext>();
  context->directory = directory;
  context->model = served;
  if (holds_tower()) context->vision = board;
  if (holds_audio_tower()) context->audio = audio_board;
  context->conversation_bytes = sounds.conversation_bytes;
  v1::ListModelsResponse models;
  *models.add_models() = DescribeModel(*model);
  service = std::make_unique<GatewayService>(
      *system, std::move(context),
      options.max_running + options.max_queued + kOtherCalls, sounds.max_live,
      models, [this] { return OwnStatus(); });

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  // Without it a second server could share the port in silence.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(static_cast<int>(MaxMessageBytes()));
  if (!options.listen_address.empty()) {
    builder.AddListeningPort(options.listen_address,
                             grpc::InsecureServerCredentials(), &port);
  }
  builder.RegisterService(service.get());
  // Peers ask whether this node is there more often than gRPC likes.
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
      kPeerKeepaliveMs / 2);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  peers = std::make_unique<PeerService>(*system, PeerServiceFor());
  builder.RegisterService(peers.get());
  server = builder.BuildAndStart();
  if (server == nullptr || (!options.listen_address.empty() && port == 0)) {
    return absl::UnavailableError(
        absl::StrCat("gRPC cannot listen on ", options.listen_address));
  }
  const ForeignThread thread;
  gateway = system->spawn(
      Gateway, directory,
      std::set<std::string>{"encoder", "ple_server", "stage", "sequencer"},
      [server = server.get()](bool serving) {
        auto* health = server->GetHealthCheckService();
        health->SetServingStatus("", serving);
        health->SetServingStatus(v1::Lapidary::service_full_name(), serving);
      });
  caf::anon_send(gateway, lapidary::Start{});
  return absl::OkStatus();
}

// gRPC first, so that no call is without an actor; then the actors, then the
// system, which waits for them.
void Node::Impl::Shutdown(absl::Duration grace) {
  std::lock_guard<std::mutex> lock(shutdown_mutex);
  if (server != nullptr) {
    service->ShutDown();
    server->Shutdown(absl::ToChronoTime(absl::Now() + grace));
    server->Wait();
  }
  if (system != nullptr) {
    for (const caf::actor& actor : {caf::actor_cast<caf::actor>(gateway),
                                    caf::actor_cast<caf::actor>(supervisor),
                                    caf::actor_cast<caf::actor>(directory)}) {
      if (actor) caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    }
    gateway = nullptr;
    supervisor = nullptr;
    directory = nullptr;
    system->await_all_actors_done();
  }
  server.reset();
  service.reset();  // holds the directory's handle, as the next does
  peers.reset();
  system.reset();
}

Node::Node(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Node::~Node() { Shutdown(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<Node>> Node::Start(const NodeOptions& options) {
  absl::Status status = CheckNodeOptions(options);
  if (!status.ok()) return status;
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->log = options.log ? options.log : StderrEventLog();
  std::unique_ptr<Node> node(new Node(std::move(impl)));
  for (auto step : {&Impl::OpenModel, &Impl::DivideMemory, &Impl::StartActors,
                    &Impl::StartServer}) {
    status = (node->impl_.get()->*step)();
    if (!status.ok()) return status;
  }
  node->impl_->log(
      EventLine("serving", {{"model", node->impl_->model->name()},
                            {"address", options.listen_address},
                            {"port", absl::StrCat(node->port())}}));
  return node;
}

int Node::port() const { return impl_->port; }

std::shared_ptr<grpc::Channel> Node::InProcessChannel() {
  return impl_->server->InProcessChannel(grpc::ChannelArguments());
}

void Node::Shutdown(absl::Duration grace) { impl_->Shutdown(grace); }

absl::Status Node::KillRole(absl::string_view role) {
  const ForeignThread thread;
  absl::Status status;
  caf::scoped_actor self{*impl_->system};
  self->request(impl_->supervisor, std::chrono::seconds(5),
                lapidary::KillRole{std::string(role)})
      .receive([&](const Started& answer) { status = answer.status; },
               [&](caf::error& error) {
                 status = absl::UnavailableError(impl_->system->render(error));
               });
  return status;
}

}  // namespace lapidary
