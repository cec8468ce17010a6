#include "actors/supervisor.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

using Self = SupervisorActor::stateful_pointer<SupervisorState>;

void StartRole(Self self, size_t index);

void Report(Self self, size_t index, const std::string& reason,
            const StageGauges& gauges) {
  const SupervisorState::Role& role = self->state.roles[index];
  RoleEvent event;
  event.role = self->state.config.roles[index].name;
  event.alive = role.alive;
  event.incarnation = role.incarnation;
  event.reason = reason;
  event.gauges = gauges;
  self->send(self->state.config.directory, std::move(event),
             role.alive ? role.actor : caf::strong_actor_ptr());
}

void TakeStarted(Self self, size_t index, const Started& started) {
  SupervisorState::Role& role = self->state.roles[index];
  const std::string& name = self->state.config.roles[index].name;
  if (!started.status.ok()) {
    if (self->state.all_started.pending()) {
      self->state.all_started.deliver(started);
      self->quit(caf::exit_reason::user_shutdown);
      return;
    }
    if (role.actor == nullptr) return;  // died of it; TakeDown has seen to it
    role.failure = started.status.ToString();
    self->send_exit(caf::actor_cast<caf::actor>(role.actor),
                    caf::exit_reason::kill);  // see TakeDown
    return;
  }
  role.alive = true;
  role.alive_since = self->clock().now();
  self->state.config.log(EventLine(
      role.incarnation > 1 ? "role_restarted" : "role_started",
      {{"role", name}, {"incarnation", absl::StrCat(role.incarnation)}}));
  Report(self, index, "", started.gauges);
  if (!self->state.all_started.pending()) return;
  // A role that died and came back meanwhile has started its successor before.
  auto& roles = self->state.roles;
  if (index + 1 < roles.size() && roles[index + 1].incarnation == 0) {
    StartRole(self, index + 1);
  }
  if (std::all_of(roles.begin(), roles.end(),
                  [](const auto& each) { return each.alive; })) {
    self->state.all_started.deliver(Started{});
  }
}

void StartRole(Self self, size_t index) {
  SupervisorState::Role& role = self->state.roles[index];
  role.actor = self->state.config.roles[index].spawn(self->system());
  role.failure.clear();
  ++role.incarnation;
  self->monitor(role.actor);
  self->request(caf::actor_cast<caf::actor>(role.actor),
                self->state.config.start_timeout, Start{})
      .then(
          [=, incarnation = role.incarnation](const Started& started) {
            if (self->state.roles[index].incarnation != incarnation) return;
            TakeStarted(self, index, started);
          },
          [=, incarnation = role.incarnation](caf::error& error) {
            if (self->state.roles[index].incarnation != incarnation) return;
            TakeStarted(self, index,
                        {absl::UnavailableError(absl::StrCat(
                             self->state.config.roles[index].name,
                             " did not start: ", self->system().render(error))),
                         {}});
          });
}

// The pause before the next start of a role: short for one that had settled.
std::chrono::milliseconds NextPause(const SupervisorConfig& config,
                                    SupervisorState::Role& role,
                                    SupervisorState::Time now) {
  const bool settled =
      role.alive && now - role.alive_since >= config.settled_after;
  const auto pause = settled || role.pause.count() == 0
                         ? config.first_pause
                         : std::min(2 * role.pause, config.longest_pause);
  role.pause = pause;
  return pause;
}

void TakeDown(Self self, const caf::down_msg& down) {
  auto& roles = self->state.roles;
  auto it = std::find_if(roles.begin(), roles.end(), [&](const auto& role) {
    return role.actor != nullptr && role.actor->address() == down.source;
  });
  if (it == roles.end()) return;
  const auto index = static_cast<size_t>(it - roles.begin());
  const std::string reason =
      it->failure.empty() ? self->system().render(down.reason) : it->failure;
  const auto pause = NextPause(self->state.config, *it, self->clock().now());
  it->alive = false;
  it->actor = nullptr;
  self->state.config.log(
      EventLine("role_lost", {{"role", self->state.config.roles[index].name},
                              {"reason", reason},
                              {"restart_in_ms", absl::StrCat(pause.count())}}));
  Report(self, index, reason, {});
  self->delayed_send(self, pause, Restart{index});
}

absl::Status Kill(Self self, const std::string& name) {
  for (size_t i = 0; i < self->state.roles.size(); ++i) {
    if (self->state.config.roles[i].name != name) continue;
    if (self->state.roles[i].actor == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat(name, " is not alive"));
    }
    self->send_exit(caf::actor_cast<caf::actor>(self->state.roles[i].actor),
                    caf::exit_reason::kill);
    return absl::OkStatus();
  }
  return absl::NotFoundError(absl::StrCat("no role is called ", name));
}

}  // namespace

SupervisorState::~SupervisorState() {
  for (auto role = roles.rbegin(); role != roles.rend(); ++role) {
    if (role->actor == nullptr) continue;
    caf::anon_send_exit(caf::actor_cast<caf::actor>(role->actor),
                        caf::exit_reason::user_shutdown);
  }
}

SupervisorActor::behavior_type Supervisor(Self self, SupervisorConfig config) {
  self->state.config = std::move(config);
  self->state.roles.resize(self->state.config.roles.size());
  self->set_down_handler([self](caf::down_msg& down) { TakeDown(self, down); });
  return {
      [self](const Start&) -> caf::result<Started> {
        self->state.all_started = self->make_response_promise<Started>();
        StartRole(self, 0);
        return self->state.all_started;
      },
      [self](const KillRole& kill) -> caf::result<Started> {
        return Started{Kill(self, kill.role), {}};
      },
      [self](const Restart& restart) {
        if (self->state.roles[restart.role].actor == nullptr) {
          StartRole(self, restart.role);
        }
      },
  };
}

}  // namespace lapidary
